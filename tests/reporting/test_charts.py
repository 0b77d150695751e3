"""Which diagrams there are, and what they are of."""

import numpy as np
import pytest

from hierkeras.analysis.answers import Answered
from hierkeras.growth.specs import Specs
from hierkeras.reporting import charts
from hierkeras.training import results
from hierkeras.tree.generation import JobUse
from tests import builders


def answered(number):
    rows = np.arange(number)
    return Answered("test", rows, rows * 0, rows % 2, np.full(number, 0.5))


def titles(found):
    return [chart.title for chart in found]


def test_scores_of_no_image_are_not_drawn():
    assert charts.of_scores(answered(0)) == []


def test_scores_say_of_how_many_images_they_are():
    found = charts.of_scores(answered(10))
    assert titles(found) == ["Calibration", "Risk and coverage"]
    assert all("10 test images" in chart.about for chart in found)


def test_steps_are_drawn_from_two_on():
    one = builders.generation(builders.tree("ab"), error_after=0.5)
    two = builders.generation(
        builders.tree("abc"), 2, error_after=0.25, old_error_after=0.125
    )
    assert charts.of_steps([one]) == []
    [chart] = charts.of_steps([one, two])
    assert "all classes" in chart.svg and "old classes" in chart.svg


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return builders.open_context(tmp_path_factory.mktemp("workdir")).store


def written(store, context, classes, history):
    spec = Specs(builders.recipe(), context.catalogue).scratch(classes)
    with store.new_job(spec.job) as folder:
        results.write(folder, builders.result(spec), history)
    return JobUse(spec.job, f"job of {classes}", 1, False)


def test_learning_curves_are_those_of_the_steps_jobs(tmp_path):
    context = builders.open_context(tmp_path)
    trained = [
        {"epoch": epoch, "images_swept": 1, "validation_error": 1 / epoch}
        for epoch in (1, 2)
    ]
    curve = [{"images": 5.0, "error": 0.5}, {"images": 9.0, "error": 0.25}]
    jobs = (
        written(context.store, context, "01", trained),
        written(context.store, context, "23", [{"curve": curve}]),
        JobUse("gone", "preview", 1, False),
    )
    generation = builders.generation(builders.tree("0123"), jobs=jobs)
    found = charts.of_learning(generation, context.store)
    assert titles(found) == ["Learning", "What more photos would bring"]
    assert "epoch" in found[0].svg
    assert "photos of a class (mean)" in found[1].svg


def test_a_step_whose_jobs_are_gone_has_no_learning_curve(store):
    jobs = (JobUse("gone", "root first", 1, False),)
    generation = builders.generation(builders.tree("ab"), jobs=jobs)
    assert charts.of_learning(generation, store) == []
