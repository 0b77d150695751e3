"""Batch statistics are those of the images, whatever came before."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from hierkeras.training.batch_norm import reestimate


def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(2, 3, name="conv")(inputs)
    x = layers.BatchNormalization(momentum=0.9, name="first")(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(2, 2)(x)
    x = layers.BatchNormalization(momentum=0.9, name="second")(x)
    return keras.Model(inputs, layers.Flatten()(x))


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(3, 2, (10, 4, 4, 3)).astype("f4")


def statistics(model, name):
    layer = model.get_layer(name)
    return np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)


def batches(images, size):
    return tf.data.Dataset.from_tensor_slices(images).batch(size)


@pytest.mark.parametrize("size", [3, 5, 10])
def test_the_first_layers_are_those_of_all_images(images, size):
    """Also where the last batch is smaller: 3 + 3 + 3 + 1."""
    model = network()
    kept = [np.asarray(v) for v in model.trainable_variables]

    assert reestimate(model, batches(images, size)) == 10

    seen = np.asarray(model.get_layer("conv")(images)).reshape(-1, 2)
    mean, variance = statistics(model, "first")
    np.testing.assert_allclose(mean, seen.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(variance, seen.var(axis=0), rtol=1e-4)
    for before, after in zip(kept, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(before, after)
    assert model.get_layer("first").momentum == 0.9


def test_it_then_says_in_inference_what_it_did_in_training(images):
    """With all images in one batch both normalise by the same numbers."""
    model = network()
    in_training = np.asarray(model(images, training=True))

    reestimate(model, batches(images, 10))

    np.testing.assert_allclose(
        model(images, training=False), in_training, atol=1e-4
    )


def test_later_layers_see_what_batches_made_of_the_images(images):
    model = network()
    upto = keras.Model(model.input, model.get_layer("second").input)
    halves = [
        np.asarray(upto(images[k : k + 5], training=True)) for k in (0, 5)
    ]
    seen = np.concatenate(halves).reshape(-1, 2)

    reestimate(model, batches(images, 5))

    mean, variance = statistics(model, "second")
    np.testing.assert_allclose(mean, seen.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(variance, seen.var(axis=0), rtol=1e-3)


def test_frozen_layers_keep_theirs(images):
    model = network()
    model.get_layer("first").trainable = False
    model.get_layer("second").moving_mean.assign([5.0, 5.0])

    reestimate(model, batches(images, 10))

    np.testing.assert_array_equal(statistics(model, "first"), [[0, 0], [1, 1]])
    fixed = keras.Model(model.input, model.get_layer("second").input)
    seen = np.asarray(fixed(images, training=False)).reshape(-1, 2)
    np.testing.assert_allclose(
        statistics(model, "second")[0], seen.mean(axis=0), rtol=1e-4
    )


def test_without_such_layers_nothing_is_swept(images):
    model = network()
    for name in ("first", "second"):
        model.get_layer(name).trainable = False
    assert reestimate(model, batches(images, 10)) == 0
