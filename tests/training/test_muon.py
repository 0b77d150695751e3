"""Steps of Muon on kernels, against matrices whose nearest ones are known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hierkeras.models import grafting
from hierkeras.models.registry import ModelConfig, build_model
from hierkeras.recipe.training import Training
from hierkeras.training import schedules
from hierkeras.training.muon import Muon, is_matrix

# The iteration takes singular values near 1, no closer.
NEAR = {"rtol": 0.35}


def variable(values, path="hidden/kernel"):
    layer, name = path.split("/")
    with keras.name_scope(layer):
        return keras.Variable(np.asarray(values, "float32"), name=name)


def stepped(weights, gradients, path="hidden/kernel", momentum=0.0, decay=None):
    """The weights after a step for each of the gradients, at a rate of 0.1."""
    changed = variable(weights, path)
    optimizer = Muon(0.1, momentum, decay)
    for gradient in gradients:
        optimizer.apply([np.asarray(gradient, "float32")], [changed])
    return np.asarray(changed)


def test_a_step_is_as_long_in_every_direction():
    # A rotation's singular values are 1; whatever they are multiplied by.
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    gradient = turn @ np.diag([100.0, 1.0])
    start = np.array([[3.0, 0.0], [0.0, 4.0]])

    step = start - stepped(start, [gradient])

    # As long as a hundredth of the kernel: 5 / 100.
    np.testing.assert_allclose(step, 0.05 * turn / np.sqrt(2), atol=0.35 * 0.05)
    np.testing.assert_allclose(np.linalg.norm(step), 0.05, **NEAR)
    values = np.linalg.svd(step, compute_uv=False)
    assert values[0] / values[1] < 2


@pytest.mark.parametrize(
    "shape", [(3, 3, 4, 6), (3, 3, 1, 16), (5, 20), (20, 5)]
)
def test_its_length_is_a_part_of_the_kernels(shape):
    random = np.random.default_rng(0)
    start, gradient = random.normal(size=(2, *shape))

    step = start - stepped(start, [gradient])
    tenfold = 10 * start - stepped(10 * start, [7 * gradient])

    np.testing.assert_allclose(
        np.linalg.norm(step), 0.01 * np.linalg.norm(start), **NEAR
    )
    np.testing.assert_allclose(tenfold, 10 * step, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("logits/kernel", (4, 3)),
        ("hidden/bias", (4,)),
        ("norm/gamma", (4,)),
        ("depthwise/kernel", (3, 3, 4, 1)),
    ],
)
def test_what_is_no_matrix_learns_by_gradient_descent(path, shape):
    random = np.random.default_rng(0)
    start, first, second = random.normal(size=(3, *shape)).astype("float32")
    plain = variable(start, path)
    descent = keras.optimizers.SGD(
        0.1, momentum=0.9, nesterov=True, weight_decay=0.01
    )
    for gradient in (first, second):
        descent.apply([gradient], [plain])

    found = stepped(start, [first, second], path, momentum=0.9, decay=0.01)

    assert not is_matrix(plain)
    np.testing.assert_allclose(found, np.asarray(plain), rtol=1e-4, atol=1e-6)


def test_a_step_follows_the_momentum():
    # One gradient and then nothing: half of it is left to go on with.
    start, gradient = np.eye(3), np.diag([1.0, 2.0, 3.0])

    once = stepped(start, [gradient], momentum=0.5)
    twice = stepped(start, [gradient, np.zeros((3, 3))], momentum=0.5)

    np.testing.assert_allclose(np.diag(start - once), [0.01] * 3, **NEAR)
    np.testing.assert_allclose(np.diag(once - twice), [0.01] * 3, **NEAR)


def test_weight_decay_is_beside_the_step():
    start = np.eye(3)

    plain = stepped(start, [np.diag([1.0, 2.0, 3.0])])
    decayed = stepped(start, [np.diag([1.0, 2.0, 3.0])], decay=0.2)

    # 1 - 0.1 * 0.2 of the kernel, from which the step takes its length.
    np.testing.assert_allclose(decayed, 0.98 * plain, rtol=1e-4, atol=1e-7)


def test_matrices_are_the_convolutions_of_a_branch_and_its_leaves():
    config = ModelConfig("small_cnn", image_size=8, width_multiplier=0.5)
    branch, first, second = (build_model(config, n) for n in (4, 2, 2))

    joint = grafting.with_leaves(branch, [first, second], leaf_layers=2)

    paths = [v.path for v in joint.trainable_variables if is_matrix(v)]
    # The branch's three, and the last of each leaf.
    assert sorted(paths) == sorted(
        ["stem_conv/kernel", "stage1_1_conv/kernel"]
        + 3 * ["stage1_2_conv/kernel"]
    )


def three_steps(compiled):
    kernel = variable(np.arange(12.0).reshape(3, 4) - 5)
    optimizer = Muon(0.1, 0.9, 0.01)
    optimizer.build([kernel])
    gradient = np.cos(np.arange(12.0)).reshape(3, 4).astype("float32")
    step = tf.function(
        lambda: optimizer.apply([tf.constant(gradient)], [kernel]),
        jit_compile=compiled,
    )
    for _ in range(3):
        step()
    return np.asarray(kernel)


def test_a_step_compiled_by_xla_is_the_same():
    np.testing.assert_allclose(three_steps(True), three_steps(False), rtol=1e-4)


def test_the_recipe_asks_for_it():
    recipe = Training(optimizer="muon", momentum=0.8, weight_decay=0.01)
    made = schedules.optimizer(recipe, 10)

    assert isinstance(made, Muon)
    assert (made.momentum, made.weight_decay) == (0.8, 0.01)
    none = Training(optimizer="muon", weight_decay=0.0)
    assert schedules.optimizer(none, 10).weight_decay is None


def test_a_network_learns_which_way_stripes_run():
    keras.utils.set_random_seed(0)
    down = np.tile(np.array([[0.0, 1.0]]), (8, 4))
    stripes = np.stack([down, down.T])[..., None].repeat(16, axis=0)
    labels = np.repeat([0, 1], 16)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, name="logits"),
        ]
    )
    network.compile(
        schedules.optimizer(
            Training(optimizer="muon", initial_learning_rate=0.1), 1
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    kernel = np.asarray(network.layers[0].kernel)

    fitted = network.fit(stripes, labels, epochs=20, verbose=0)

    assert fitted.history["loss"][-1] < 0.1 * fitted.history["loss"][0]
    assert np.abs(np.asarray(network.layers[0].kernel) - kernel).max() > 0.01
