"""Each image goes through each model once."""

import keras
import numpy as np
import pytest
from scipy import special

from hierkeras.training import results
from hierkeras.training.predictor import Predictor
from hierkeras.training.run_job import run_job
from tests.training import solved


@pytest.fixture
def counted(trained, monkeypatch):
    """A predictor, its job, and the images that it ran, in order."""
    context, result = trained
    images = context.images
    ran = []
    batches = images.evaluation_batches

    def counting(indices, batch_size):
        ran.extend(indices.tolist())
        return batches(indices, batch_size)

    monkeypatch.setattr(images, "evaluation_batches", counting)
    return Predictor(context, batch_size=16), result.job, ran


def test_probabilities_are_the_softmax_of_the_model(counted, trained):
    predictor, job, _ = counted
    context, _ = trained
    indices = np.array([30, 2, 11, 2])

    found = predictor.probabilities(job, indices)

    model = results.load_model(context.store, job)
    pixels = np.concatenate(
        list(context.source.read(indices).batch(1).as_numpy_iterator())
    )
    logits = model.predict(pixels.astype(np.float32), verbose=0)
    wanted = keras.ops.softmax(logits).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert found.shape == (4, 4) and found.dtype == np.float32


def test_an_image_is_computed_once(counted):
    predictor, job, ran = counted

    first = predictor.probabilities(job, np.array([5, 3, 5]))
    more = predictor.probabilities(job, np.array([3, 8, 5]))

    assert ran == [3, 5, 8]
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(more[[2, 0]], first[:2])
    predictor.forget_outputs()
    predictor.probabilities(job, np.array([8]))
    assert ran == [3, 5, 8, 8]


def test_no_image_runs_nothing(counted):
    predictor, job, ran = counted

    found = predictor.probabilities(job, np.array([], np.int64))

    assert found.shape == (0, 4) and ran == []


def test_a_solved_head_answers_by_features_or_as_it_is_served(tmp_path):
    ground = solved.ground(tmp_path)
    job = run_job(ground.spec("01"), "root first", ground.context).job
    indices, _ = ground.context.samples("validation", "01")
    by_features = Predictor(ground.context)
    as_served = by_features.through_networks()
    logits = by_features.model(job).predict(
        ground.context.images.evaluation_batches(indices, 64), verbose=0
    )

    found = as_served.probabilities(job, indices)

    np.testing.assert_allclose(found, special.softmax(logits, 1), atol=1e-6)
    rounded = by_features.probabilities(job, indices)
    np.testing.assert_allclose(found, rounded, atol=5e-3)
    assert (found != rounded).any()
    assert as_served.model(job) is by_features.model(job)
