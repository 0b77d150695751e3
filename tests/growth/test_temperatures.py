"""Temperatures that are known, and scores that are too sure."""

import numpy as np
import pytest
from scipy import special

from hierkeras.analysis.calibration import expected_calibration_error
from hierkeras.growth.temperatures import of_answers
from hierkeras.tree.routing import temper

COUNT, CLASSES = 20_000, 10


@pytest.fixture(scope="module")
def honest():
    """Logits, and labels drawn from their softmax: their temperature is 1."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (COUNT, CLASSES))
    probabilities = special.softmax(logits, axis=1)
    drawn = random.random((COUNT, 1))
    return logits, (probabilities.cumsum(axis=1) > drawn).argmax(axis=1)


def error(probabilities, labels):
    named = probabilities.argmax(axis=1)
    return expected_calibration_error(
        probabilities.max(axis=1), named == labels
    )


@pytest.mark.parametrize("wanted", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found(honest, wanted):
    logits, labels = honest
    outputs = special.softmax(wanted * logits, axis=1).astype(np.float32)

    chosen = of_answers(outputs, labels)

    assert chosen == pytest.approx(wanted, rel=0.05)
    # On the first half it is chosen as well, and holds for the second.
    half = COUNT // 2
    chosen = of_answers(outputs[:half], labels[:half])
    after = error(temper(outputs[half:], chosen), labels[half:])
    assert after < 0.02
    if wanted != 1.0:
        assert after < error(outputs[half:], labels[half:]) / 3


def test_answers_that_are_0_for_the_true_class_are_calibrated(honest):
    """As under hard routing, where half of the classes are out of reach."""
    logits, labels = honest
    is_left = np.arange(CLASSES) < CLASSES // 2
    goes_left = logits.argmax(axis=1) < CLASSES // 2
    reached = np.where(goes_left[:, None], is_left, ~is_left)
    outputs = special.softmax(2 * logits, axis=1) * reached
    outputs = (outputs / outputs.sum(axis=1, keepdims=True)).astype(np.float32)
    assert (outputs[np.arange(COUNT), labels] == 0).mean() > 0.15
    half = COUNT // 2

    chosen = of_answers(outputs[:half], labels[:half])

    before = error(outputs[half:], labels[half:])
    after = error(temper(outputs[half:], chosen), labels[half:])
    assert before > 0.2
    assert after < before / 4


def test_few_images_tell_little():
    sure = np.array([[0.99, 0.01]] * 3, np.float32)

    right = of_answers(sure, np.zeros(3, int))
    wrong = of_answers(sure, np.ones(3, int))

    assert 0.8 < right <= 1.0
    assert 1.0 < wrong <= 4.0
    assert of_answers(sure[:0], np.zeros(0, int)) == pytest.approx(
        1.0, abs=1e-3
    )


def test_probabilities_of_0_and_1_have_a_temperature():
    outputs = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]

    chosen = of_answers(outputs, np.array([0, 1, 1, 1]))

    assert 0.25 <= chosen <= 4.0
