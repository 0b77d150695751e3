"""Heads of nodes: what is new is added to what the parent knows."""

import keras
import numpy as np
import pytest
from scipy import special

from hierkeras.features import curves, heads
from hierkeras.features.curves import Point
from hierkeras.features.statistics import summed
from hierkeras.features.views import View
from hierkeras.training import models, results, solutions, solving
from hierkeras.training.predictor import Predictor
from hierkeras.training.run_job import run_job
from hierkeras.training.spec import JobSpec, Solved
from tests import builders
from tests.training import solved
from tests.training.solved import CLASSES


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    return solved.ground(tmp_path_factory.mktemp("solving"))


@pytest.fixture(scope="module")
def parent(ground):
    """A job of two classes, with crops."""
    return run_job(ground.spec("01", crops=1), "root first", ground.context)


def solve(ground, spec, context=None):
    return solving.solve(spec, spec.start, context or ground.context)


def assert_same(found, expected):
    one, other = found.solution, expected.solution
    np.testing.assert_allclose(
        one.head.kernel, other.head.kernel, rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(one.head.bias, other.head.bias, rtol=1e-5)
    assert one.fingerprints == other.fingerprints
    assert found.choice.shrinkage == expected.choice.shrinkage


def test_it_is_the_head_of_the_features_of_the_training_images(ground):
    spec = ground.spec(shrinkage=0.25)
    found = solve(ground, spec)
    indices, labels = ground.context.samples("train", CLASSES)
    features = ground.context.embedding(ground.network).of(indices)
    expected = heads.solve(summed(features, labels, CLASSES), 0.25)
    np.testing.assert_allclose(
        found.solution.head.kernel * found.choice.temperature,
        expected.kernel,
        rtol=1e-6,
    )
    assert found.images_swept == len(indices)
    assert found.solution.statistics.counts.sum() == len(indices)


def test_crops_count_beside_the_images(ground):
    found = solve(ground, ground.spec(crops=2, shrinkage=0.5))
    indices, labels = ground.context.samples("train", CLASSES)
    embedding = ground.context.embedding(ground.network)
    views = [embedding.of(indices, View(k)) for k in (0, 1, 2)]
    expected = summed(np.concatenate(views), np.tile(labels, 3), CLASSES)
    statistics = found.solution.statistics
    assert statistics.counts.tolist() == expected.counts.tolist()
    np.testing.assert_allclose(statistics.scatter, expected.scatter, rtol=1e-6)
    assert found.images_swept == len(indices)


@pytest.mark.parametrize("classes", ["0123", "2301", "3210"])
def test_a_parents_classes_are_not_added_up_again(ground, parent, classes):
    at_once = solve(ground, ground.spec(classes, crops=1))
    grown = solve(ground, ground.spec(classes, parent.job, crops=1))
    assert_same(grown, at_once)
    assert grown.solution.statistics.classes == tuple(classes)
    new, _ = ground.context.samples("train", "23")
    assert grown.images_swept == len(new)


def test_a_parent_that_knows_all_gives_the_head_again(ground, parent):
    again = solve(ground, ground.spec("10", parent.job, crops=1))
    assert again.images_swept == 0
    assert_same(again, solve(ground, ground.spec("10", crops=1)))


@pytest.mark.parametrize(
    ("classes", "training"),
    [
        ("012", {"crops": 0}),
        ("012", {"crops": 2}),
        ("012", {"crops": 1, "augment": "mirror"}),
        ("12", {"crops": 1}),  # it lacks one of the parent's
    ],
)
def test_sums_over_other_images_are_not_gone_on_from(
    ground, parent, classes, training
):
    grown = solve(ground, ground.spec(classes, parent.job, **training))
    assert_same(grown, solve(ground, ground.spec(classes, **training)))
    every, _ = ground.context.samples("train", classes)
    assert grown.images_swept == len(every)


def test_a_class_whose_images_changed_is_added_up_again(ground, parent):
    less = builders.less(ground.context, "train", "1", 3)
    spec = ground.spec("012", parent.job, less, crops=1)
    grown = solve(ground, spec, less)
    alone = ground.spec("012", context=less, crops=1)
    assert_same(grown, solve(ground, alone, less))
    every, _ = less.samples("train", "012")
    assert grown.images_swept == len(every)


def test_a_parent_that_was_trained_has_no_sums(ground):
    spec = builders.recipe(max_epochs=0)
    trained = run_job(
        JobSpec(
            tuple("01"),
            spec.network,
            spec.training,
            ground.context.catalogue.fingerprint("01"),
        ),
        "root first",
        ground.context,
    )
    grown = solve(ground, ground.spec("012", trained.job))
    assert_same(grown, solve(ground, ground.spec("012")))


def test_a_job_is_finished_once_and_read_again(ground, parent):
    again = run_job(ground.spec("01", crops=1), "another", ground.context)
    assert again == parent
    store = ground.context.store
    names = {path.name for path in store.job_folder(parent.job).iterdir()}
    assert names == {
        *("job.json", "history.json", "head.npz", "sums.npz"),
        *("classes.json", "SHA256SUMS"),
    }
    assert parent.epochs == 0
    (choice,) = results.read_history(store, parent.job)
    assert choice["shrinkage"] in (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
    assert 0 <= choice["error"] < 0.2
    # It tells zeros and ones apart on images that it has not seen.
    assert parent.measured.top1_error < 0.1


def test_the_predictor_and_the_model_answer_alike(ground, parent):
    context = ground.context
    indices, labels = context.samples("validation", "01")
    predictor = Predictor(context)

    found = predictor.probabilities(parent.job, indices)

    assert (found.shape, found.dtype) == ((len(indices), 2), np.float32)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert (found.argmax(axis=1) == labels).mean() > 0.9
    model = models.load(context, parent.job)
    batches = context.images.evaluation_batches(indices, 64)
    logits = model.predict(batches, verbose=0)
    # Features of the one are float16.
    np.testing.assert_allclose(special.softmax(logits, 1), found, atol=5e-3)
    head = solutions.read_head(context.store, parent.job)
    logits = head.logits(context.embedding(parent.spec.network).of(indices))
    np.testing.assert_allclose(special.softmax(logits, 1), found, rtol=1e-5)
    none = np.zeros(0, np.int64)
    assert predictor.probabilities(parent.job, none).shape == (0, 2)


def test_what_goes_into_the_head_is_the_features(ground, parent):
    context = ground.context
    indices = np.arange(9)
    found = Predictor(context).features(parent.job, indices)
    batches = context.images.evaluation_batches(indices, 9)
    expected = context.trunk(ground.network).predict(batches, verbose=0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_network_above_the_trunk_is_trained_from_its_weights(ground):
    made = models.build(ground.context, ground.network, 3)
    assert made.output_shape == (None, 3)
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3))
    trunk = ground.context.trunk(ground.network)
    below = made.get_layer("logits").input
    inside = keras.Model(made.input, below)
    np.testing.assert_allclose(inside(images), trunk(images), rtol=1e-5)
    # A copy: the trunk stays as it is, whatever is trained.
    ours = {id(weight) for weight in trunk.weights}
    assert not ours & {id(weight) for weight in made.weights}


def test_solved_begins_as_nothing(ground):
    assert ground.spec().start == Solved(None)
    assert ground.spec(parent="0" * 16).job != ground.spec().job


def telling(ground, **runtime):
    """The same work directory and images, where something is told."""
    config = ground.context.config
    return builders.open_context(config.workdir, data=config.data, **runtime)


def told(capsys):
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("[root first]")]


@pytest.mark.parametrize("progress", ["lines", "bar"])
def test_what_error_to_expect_is_told(ground, capsys, progress):
    # Another job for each: one that is there is not solved again.
    shrinkage = {"lines": 0.25, "bar": 0.35}[progress]
    spec = ground.spec(crops=1, shrinkage=shrinkage)
    run_job(spec, "root first", telling(ground, progress=progress))
    (chosen,) = results.read_history(ground.context.store, spec.job)
    count = len(ground.context.samples("train", CLASSES)[0])
    assert told(capsys)[:1] == [
        f"[root first] solved from {count} images: shrinkage {shrinkage}; of "
        "images that look unlike those it is solved from, "
        f"{chosen['error']:.1%} are not named right (groups of {count} images "
        "held out)"
    ]


def test_what_more_photos_would_bring_is_told_if_it_is_known(
    ground, capsys, monkeypatch
):
    curve = [Point(n, 0.8 / n**0.5) for n in (4.0, 9.0, 16.0)]
    monkeypatch.setattr(curves, "curve", lambda *_: curve)
    spec = ground.spec(shrinkage=0.15)
    run_job(spec, "root first", telling(ground, progress="lines"))
    count = len(ground.context.samples("train", CLASSES)[0]) / len(CLASSES)
    now, twice = (0.8 / (n * count) ** 0.5 for n in (1, 2))
    assert told(capsys)[1:] == [
        "[root first] by photos of a class, 4, 9, 16: 40.0%, 26.7%, 20.0% of "
        f"such images are not named right; {now:.1%} is what that leads to "
        f"with the {count:.0f} that there are, {twice:.1%} with twice as many"
    ]
    (chosen,) = results.read_history(ground.context.store, spec.job)
    assert [Point(**point) for point in chosen["curve"]] == curve


def test_a_head_that_goes_on_from_sums_has_no_curve(ground, parent):
    spec = ground.spec("012", parent.job, crops=1)
    run_job(spec, "root flat", ground.context)
    (chosen,) = results.read_history(ground.context.store, spec.job)
    assert chosen["curve"] == []


def test_nothing_is_told_without_progress(ground, capsys):
    run_job(ground.spec(shrinkage=0.45), "root first", telling(ground))
    assert told(capsys) == []


def test_where_nothing_was_held_out_nothing_is_told(ground, capsys):
    here = telling(ground, progress="lines")
    for name in "01":
        count = len(here.catalogue.indices("train", [name]))
        here = builders.less(here, "train", name, count - 1)
    spec = ground.spec("01", context=here)
    run_job(spec, "root first", here)
    (chosen,) = results.read_history(here.store, spec.job)
    assert chosen["num_images"] == 0
    assert told(capsys) == []


def test_a_node_without_validation_images_is_solved(ground):
    here = ground.context
    for name in "01":
        count = len(here.catalogue.indices("validation", [name]))
        here = builders.less(here, "validation", name, count)
    spec = ground.spec("01", context=here, shrinkage=0.55)
    found = run_job(spec, "root.1 leaf", here)
    assert found.measured is None
    assert results.read(here.store, spec.job) == found
    indices, labels = ground.context.samples("validation", "01")
    answers = Predictor(ground.context).probabilities(spec.job, indices)
    assert (answers.argmax(axis=1) == labels).mean() > 0.9
