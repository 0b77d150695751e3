"""The paper's learning-rate rule and the cosine, against hand-worked rates."""

import keras
import numpy as np
import pytest

from hierkeras.training.schedules import (
    AdaptiveSchedule,
    learning_rate,
    optimizer,
)
from hierkeras.training.spec import Recipe


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1))
    model.stop_training = False
    return model


def watch(model, errors, **options):
    """The rate after each validation error, and whether training goes on."""
    schedule = AdaptiveSchedule(**options)
    schedule.set_model(model)
    seen = []
    for epoch, error in enumerate(errors):
        # Keras hands over what a float32 metric holds.
        accuracy = float(np.float32(1.0 - error))
        schedule.on_epoch_end(epoch, {"val_accuracy": accuracy})
        rate = float(model.optimizer.learning_rate)
        seen.append((round(rate, 6), not model.stop_training))
    return seen


def test_the_papers_rule_step_by_step(model):
    story = [
        (0.5000, 0.1, True),  # the first look
        (0.4985, 0.1, True),  # progress: 0.15 % less than the best
        (0.4980, 0.1, True),  # standstill 1
        (0.4975, 0.1, True),  # standstill 2: exactly 0.1 % is no progress
        (0.4990, 0.01, True),  # standstill 3: first cut
        (0.4970, 0.01, True),  # progress, and the count begins anew
        (0.4965, 0.01, True),  # standstill 1
        (0.4970, 0.01, True),  # standstill 2
        (0.4960, 0.001, True),  # standstill 3, exactly 0.1 %: second cut
        (0.4966, 0.001, True),  # standstill 1
        (0.4966, 0.001, True),  # standstill 2
        (0.4966, 0.001, False),  # standstill 3: the end
    ]

    assert watch(model, [error for error, _, _ in story]) == [
        (rate, goes_on) for _, rate, goes_on in story
    ]


def test_one_image_in_a_thousand_is_no_progress_wherever_it_happens(model):
    # In floating point 0.3 - 0.001 may be above or below 0.299.
    cut = (0.05, True)
    for wrong in range(1, 1000):
        model.optimizer.learning_rate = 0.1
        looks = watch(
            model,
            [wrong / 1000, (wrong - 1) / 1000],
            patience=1,
            cut_factor=2.0,
        )
        assert looks[1] == cut, wrong


def test_two_images_in_a_thousand_are_progress_wherever_they_happen(model):
    for wrong in range(2, 1000):
        looks = watch(model, [wrong / 1000, (wrong - 2) / 1000], patience=1)
        assert looks[1] == (0.1, True), wrong


def test_without_a_validation_accuracy_there_is_no_rule(model):
    schedule = AdaptiveSchedule()
    schedule.set_model(model)

    with pytest.raises(ValueError, match=r"'val_accuracy'.*\['loss'\]"):
        schedule.on_epoch_end(0, {"loss": 1.0})


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.0), (10, 0.2), (20, 0.4), (60, 0.2), (80, 0.0585786), (100, 0.0)],
)
def test_cosine_after_a_warm_up(step, rate):
    recipe = Recipe(
        schedule="cosine",
        initial_learning_rate=0.4,
        max_epochs=10,
        warmup_epochs=2.0,
    )

    found = learning_rate(recipe, steps_per_epoch=10)(step)

    assert float(found) == pytest.approx(rate, abs=1e-6)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.4), (25, 0.3414214), (50, 0.2), (100, 0.0)]
)
def test_cosine_without_a_warm_up(step, rate):
    recipe = Recipe(schedule="cosine", initial_learning_rate=0.4, max_epochs=10)

    found = learning_rate(recipe, steps_per_epoch=10)(step)

    assert float(found) == pytest.approx(rate, abs=1e-6)


@pytest.mark.parametrize("name", ["sgd", "muon"])
def test_weight_decay_spares_biases_and_normalisation(name):
    recipe = Recipe(optimizer=name, initial_learning_rate=0.5, weight_decay=0.1)
    variables = [
        keras.Variable([1.0], name=name)
        for name in ("kernel", "bias", "gamma", "beta")
    ]
    zeros = [keras.ops.zeros(1) for _ in variables]

    optimizer(recipe, steps_per_epoch=1).apply(zeros, variables)

    # Without a gradient only the decay is left: 1 - 0.5 * 0.1.
    values = [float(variable.numpy()[0]) for variable in variables]
    assert values == pytest.approx([0.95, 1.0, 1.0, 1.0])
