"""Layers below the softmax layer learn later, and at a part of the rate."""

import keras
import msgspec
import numpy as np
import pytest

from hierkeras.training import schedules
from hierkeras.training.spec import Recipe


@pytest.fixture
def model():
    return keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(1, use_bias=False, kernel_initializer="ones"),
            keras.layers.Dense(
                1,
                use_bias=False,
                kernel_initializer="ones",
                name="logits",
            ),
        ]
    )


def steps(model, optimizer, count):
    """The body's weight and the head's after each step."""
    model.compile(optimizer, "mse", jit_compile=False)
    found = []
    for _ in range(count):
        model.train_on_batch(np.ones((4, 1)), np.zeros((4, 1)))
        found.append([float(np.asarray(w).item()) for w in model.weights])
    return found


def gentle(model, recipe, **options):
    head = model.get_layer("logits").trainable_variables
    start = schedules.GentleStart(head, **options)
    return schedules.optimizer(recipe, 2, start)


SGD = Recipe(initial_learning_rate=0.1, momentum=0.0, weight_decay=0.0)


# A kernel of one column is no matrix: Muon's steps on it are those of SGD.
@pytest.mark.parametrize("name", ["sgd", "muon"])
def test_the_body_waits_and_then_takes_smaller_steps(model, name):
    recipe = msgspec.structs.replace(SGD, optimizer=name)
    optimizer = gentle(model, recipe, head_epochs=1, body_rate=0.5)

    found = steps(model, optimizer, 3)

    # d/da (ab)^2 = 2ab^2, and so for b; an epoch has two steps.
    first = 1 - 0.1 * 2
    second = first - 0.1 * 2 * first
    third = [1 - 0.5 * 0.1 * 2 * second**2, second - 0.1 * 2 * second]
    np.testing.assert_allclose(
        found, [[1, first], [1, second], third], rtol=1e-6
    )


def test_without_gentleness_it_is_the_plain_optimizer(model):
    before = model.get_weights()
    plain = steps(model, schedules.optimizer(SGD, 2), 3)
    model.set_weights(before)

    same = gentle(model, SGD, head_epochs=0, body_rate=1.0)
    np.testing.assert_array_equal(steps(model, same, 3), plain)


def test_muon_gathers_nothing_while_it_waits():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4,)), keras.layers.Dense(4, use_bias=False)]
    model = keras.Sequential([*layers, keras.layers.Dense(1, name="logits")])
    recipe = Recipe(
        optimizer="muon", initial_learning_rate=0.1, weight_decay=0.0
    )
    optimizer = gentle(model, recipe, head_epochs=1, body_rate=1.0)
    model.compile(optimizer, "mse", jit_compile=False)

    kernel = np.asarray(model.layers[0].kernel)
    for _ in range(2):
        model.train_on_batch(np.ones((4, 4)), np.ones((4, 1)))

    assert not np.asarray(optimizer.momentums[0]).any()
    assert np.asarray(optimizer.momentums[1]).any()
    np.testing.assert_array_equal(model.layers[0].kernel, kernel)
    model.train_on_batch(np.ones((4, 4)), np.ones((4, 1)))
    assert np.asarray(optimizer.momentums[0]).any()
    assert (np.asarray(model.layers[0].kernel) != kernel).any()


def test_adamw_is_gentle_too(model):
    recipe = Recipe(optimizer="adamw", initial_learning_rate=0.1)
    optimizer = gentle(model, recipe, head_epochs=0.5, body_rate=0.1)

    (body, head), (later, _) = steps(model, optimizer, 2)

    decay = 1 - 0.1 * recipe.weight_decay
    assert body == pytest.approx(decay)
    assert head == pytest.approx(decay - 0.1, rel=1e-3)
    # Adam's step is about the rate, whatever the gradient.
    assert later == pytest.approx(decay**2 - 0.01, rel=1e-3)
