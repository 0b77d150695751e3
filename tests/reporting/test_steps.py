"""Rows of steps, against what was written."""

import pytest

from hierkeras.growth.specs import Specs
from hierkeras.reporting.steps import step_rows
from hierkeras.training import results
from hierkeras.tree.generation import JobUse
from hierkeras.tree.nodes import Leaf, Tree
from tests import builders


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return builders.open_context(tmp_path_factory.mktemp("workdir"))


def written(context, classes, epochs):
    """A job's folder of 1,000 bytes beside what tells its result."""
    spec = Specs(builders.recipe(), context.catalogue).scratch(classes)
    done = results.JobResult(spec, "a test's", None, 7, epochs, 0.0, {})
    with context.store.new_job(spec.job) as folder:
        (folder / "weights").write_bytes(bytes(1000))
        results.write(folder, done, [])
    return spec.job


def test_a_step_is_what_it_swept_and_what_all_anew_would_sweep(context):
    job = written(context, "01", 3)
    after = Tree(Leaf("root", ("0", "1"), job))
    generation = builders.generation(
        after,
        jobs=(
            JobUse(job, "root first", 40, False),
            JobUse("gone", "preview", 2, False),
        ),
        error_after=0.25,
        seconds=90.0,
    )
    [row] = step_rows([generation], context, 10.0)
    images = len(context.catalogue.indices("train", ["0", "1"]))
    assert (row.number, row.new_classes, row.error) == (1, 2, 0.25)
    assert (row.swept, row.anew) == (42, 3 * images)
    assert row.operations == 3 * 42 * 10  # forward and backward
    assert row.minutes == 1.5
    # The weights, and some hundred bytes of JSON and check sums.
    assert 0.001 < row.megabytes < 0.01


def test_a_head_that_was_solved_swept_its_images_once(context):
    job = written(context, "23", 0)
    generation = builders.generation(
        Tree(Leaf("root", ("2", "3"), job)),
        jobs=(JobUse(job, "root first", 40, False),),
    )
    [row] = step_rows([generation], context, 10.0)
    assert row.anew == len(context.catalogue.indices("train", ["2", "3"]))
    assert row.operations == 40 * 10


def test_a_class_that_the_data_lack_by_now_has_no_images(context):
    after = Tree(Leaf("root", ("0", "cat"), "gone"))
    [row] = step_rows([builders.generation(after)], context, 10.0)
    assert row.anew == len(context.catalogue.indices("train", ["0"]))
    assert row.megabytes == 0
