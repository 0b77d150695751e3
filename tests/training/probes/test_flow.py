"""Norms of what flows, against sums that are written out."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hierkeras.models import surgery
from hierkeras.training.losses import Objective, Teaching, Together
from hierkeras.training.probes.flow import Flow

LABELS = np.array([0, 2, 1, 1, 0], np.int32)


@pytest.fixture
def batch(images):
    return images[:5].astype("f")


def objective(model, **others):
    return Objective(model, **others)


def measured(model, images, **others):
    return Flow(Objective(model, **others), tf.constant(images), LABELS)()


def two_layers():
    """ReLU within the first layer, as in the paper's network."""
    images = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 64, offset=-2)(images)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(7, activation="relu", name="hidden")(x)
    return keras.Model(images, keras.layers.Dense(3, name="logits")(x))


def softmax(logits):
    units = np.exp(logits - logits.max(axis=1, keepdims=True))
    return units / units.sum(axis=1, keepdims=True)


def test_norms_are_those_of_back_propagation_by_hand(batch):
    model = two_layers()
    lower, lower_bias, upper, upper_bias = (
        w.astype(np.float64) for w in model.get_weights()
    )
    count = len(batch)
    x0 = (batch.astype(np.float64) / 64 - 2).reshape(count, -1)
    z1 = x0 @ lower + lower_bias
    x1 = np.maximum(z1, 0)
    outputs = softmax(x1 @ upper + upper_bias)
    # The gap between output and label; equation 2; the outer products.
    e2 = outputs - np.eye(3)[LABELS]
    e1 = (z1 > 0) * (e2 @ upper.T)
    g2, g1 = x1.T @ e2 / count, x0.T @ e1 / count
    assert 0 < (z1 > 0).mean() < 1

    found = Flow(Objective(model), tf.constant(batch), LABELS)

    assert found.layers == ("hidden", "logits")
    norms = found()
    loss = -np.log(outputs[np.arange(count), LABELS]).mean()
    assert norms.loss == pytest.approx(loss, rel=1e-5)
    gradients = [np.sqrt((g**2).sum()) for g in (g1, g2)]
    assert norms.gradients == pytest.approx(gradients, rel=1e-5)
    activations = [np.abs(x).sum(axis=1).mean() for x in (x0, x1)]
    assert norms.activations == pytest.approx(activations, rel=1e-5)
    derivatives = [np.abs(e).sum(axis=1).mean() for e in (e1, e2)]
    assert norms.derivatives == pytest.approx(derivatives, rel=1e-5)


def normalising():
    """Convolutions, whose normalisation looks at the whole batch."""
    images = keras.Input((8, 8, 3))
    x = images
    for number in range(2):
        x = keras.layers.Conv2D(4, 3, name=f"conv{number}")(x)
        x = keras.layers.BatchNormalization(momentum=0.5)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(3, name="logits")(x))


def test_norms_are_those_of_a_training_step(batch):
    model = normalising()
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    with tf.GradientTape(persistent=True) as tape:
        x, entering, leaving = tf.constant(batch), [], []
        tape.watch(x)
        for layer in copy.layers[1:]:
            entering.append(x)
            x = layer(x, training=True)
            leaving.append(x)
        loss = objective(copy).loss()(LABELS, x)
    places = [
        k for k, layer in enumerate(copy.layers[1:]) if hasattr(layer, "kernel")
    ]
    kernels = [copy.layers[1 + k].kernel.value for k in places]

    norms = measured(model, batch)

    assert len(places) == 3
    assert norms.loss == pytest.approx(float(loss), rel=1e-5)
    assert norms.gradients == pytest.approx(
        [np.linalg.norm(g) for g in tape.gradient(loss, kernels)], rel=1e-4
    )
    assert norms.activations == pytest.approx(
        [np.abs(entering[k]).sum() / 5 for k in places], rel=1e-5
    )
    by_outputs = tape.gradient(loss, [leaving[k] for k in places])
    assert norms.derivatives == pytest.approx(
        [np.abs(d).sum() for d in by_outputs], rel=1e-4
    )


def test_a_look_leaves_no_trace(batch, make_model):
    model = make_model(3, seed=1)  # with dropout and normalisation
    before = [v.numpy().copy() for v in model.variables]
    assert len(before) > len(model.weights)  # the state of dropout, too
    flow = Flow(Objective(model), tf.constant(batch), LABELS)

    first, second = flow(), flow()

    assert first == second
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(variable, old)


def test_a_look_sees_what_was_learnt_since(batch):
    model = two_layers()
    flow = Flow(Objective(model), tf.constant(batch), LABELS)
    before = flow()

    model.get_layer("logits").kernel.assign(np.zeros((7, 3)))
    model.get_layer("logits").bias.assign([0.0, 0.0, 0.0])

    after = flow()
    assert after.loss == pytest.approx(np.log(3), rel=1e-6) != before.loss
    assert after.derivatives[1] == pytest.approx(4 / 3, rel=1e-6)
    assert after.gradients[0] == after.derivatives[0] == 0.0


def test_what_is_not_trained_has_no_gradient(batch):
    model = normalising()
    whole = measured(model, batch)
    surgery.set_trainable(model, "all", leaf_layers=1)

    norms = measured(model, batch)

    assert norms.gradients[:2] == (None, None)
    assert norms.gradients[2] > 0
    assert min(norms.derivatives) > 0
    # Normalisation that is not trained looks at no batch.
    assert norms.activations[2] != whole.activations[2]


def test_a_teacher_counts(batch):
    student, teacher = two_layers(), two_layers()
    teaching = Teaching(teacher, [(0, 1), (1, 0)], 2.0)
    taught = objective(student, teaching=teaching)
    expected = float(taught.loss()(LABELS, taught.model(batch)))

    norms = measured(student, batch, teaching=teaching)

    assert norms.loss == pytest.approx(expected, rel=1e-5)
    assert norms.loss > measured(student, batch).loss
    assert len(norms.gradients) == 2 and min(norms.gradients) > 0


def test_leaves_that_learn_with_their_branch_count(batch):
    branch = two_layers()
    below = branch.get_layer("hidden").output
    leaf = keras.layers.Dense(2, name="leaf")(below)
    network = keras.Model(
        branch.input, keras.ops.concatenate([branch.output, leaf], axis=-1)
    )
    together = Together(network, [[0, 1]])
    joint = objective(branch, together=together)
    expected = float(joint.loss()(LABELS, network(batch)))

    norms = measured(branch, batch, together=together)

    alone = measured(branch, batch)
    assert norms.loss == pytest.approx(expected, rel=1e-5)
    assert norms.loss > alone.loss
    # The leaf pulls at the layer below, not at the branch's logits.
    assert norms.gradients[1] == pytest.approx(alone.gradients[1], rel=1e-5)
    assert norms.gradients[0] != pytest.approx(alone.gradients[0], rel=1e-2)
