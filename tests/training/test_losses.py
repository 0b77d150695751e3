"""What a training minimises, against hand-worked sums."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from hierkeras.training.losses import (
    BalancedLoss,
    JointLoss,
    Objective,
    TaughtLoss,
    Teaching,
    Together,
)

LOG2, LOG3 = np.log(2), np.log(3)
# Softmax 1/4, 1/4, 1/2.
LOGITS = np.log(np.array([[1.0, 1.0, 2.0]], "f"))
LABELS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize(("label", "unit"), [(0, 1), (1, 3), (2, 6)])
def test_a_frequent_class_needs_less_of_a_logit(label, unit):
    # With the log of 1 (none counts as one), 3 and 3 the units go as 1:3:6.
    loss = BalancedLoss(LABELS, [0, 3, 3])

    for labels in ([label], [[label]]):
        found = float(loss(np.array(labels), LOGITS))
        assert found == pytest.approx(np.log(10 / unit), rel=1e-6)


def test_equal_counts_change_nothing():
    found = float(BalancedLoss(LABELS, [7, 7, 7])(np.array([2]), LOGITS))

    assert found == pytest.approx(LOG2, rel=1e-6)


def test_balance_weighs_the_labels_and_leaves_a_teacher_alone():
    teaching = Teaching(network(2), [(0, 0), (1, 1)], 1.0)
    objective = Objective(network(3), class_counts=[1, 3, 3], teaching=teaching)
    # The teacher says a half each of the first two; so does the student.
    both = np.concatenate([LOGITS, [[0.0, 0.0]]], axis=1)

    found = float(objective.loss()(np.array([0]), both))

    # Four times, the square of the temperature.
    assert found == pytest.approx(np.log(10) + 4 * LOG2, rel=1e-6)


def test_balance_reaches_each_leaf():
    student = network(3)
    together = Together(keras.Model(student.input, student.output), [[2, 1]])
    objective = Objective(student, class_counts=[1, 3, 6], together=together)
    # The leaf says 2/3 of class 2 and 1/3 of class 1.
    logits = np.concatenate([LOGITS, LOGITS[:, :0:-1]], axis=1)

    found = float(objective.loss()(np.array([1]), logits))

    # The branch's units go as 1:3:12, the leaf's as 12:3.
    assert found == pytest.approx(np.log(16 / 3) + np.log(15 / 3), rel=1e-6)


@pytest.mark.parametrize("labels", [[2], [[2]]])
def test_a_teacher_counts_over_the_classes_that_both_know(labels):
    # It knows the student's classes 2 and 0, in this order, and a third.
    teacher = np.log(np.array([[9.0, 1.0, 81.0]], "f"))
    student = 2 * LOGITS  # softmax 1/6, 1/6, 2/3
    both = np.concatenate([student, teacher], axis=1)

    loss = TaughtLoss(LABELS, 3, [0, 2], [1, 0], weight=0.5)

    # Softened it says 1/4 and 3/4 of these two, the student 1/3 and 2/3.
    kept = 0.25 * LOG3 + 0.75 * (LOG3 - LOG2)
    assert float(loss(np.array(labels), both)) == pytest.approx(
        LOG3 - LOG2 + 0.5 * 4 * kept, rel=1e-6
    )


def test_temperature_softens_both_and_keeps_the_weight():
    teacher = np.log(np.array([[16.0, 1.0]], "f"))
    student = np.log(np.array([[1.0, 1.0]], "f"))
    both = np.concatenate([student, teacher], axis=1)

    loss = TaughtLoss(LABELS, 2, [0, 1], [0, 1], weight=1.0)

    # Softened it says 4/5 and 1/5; the student stays at a half each.
    assert float(loss(np.array([0]), both)) == pytest.approx(LOG2 + 4 * LOG2)


# The branch as above; one leaf has class 1, the other 2 and 0: 1/4 and 3/4.
TOGETHER = np.concatenate([LOGITS, np.log([[7.0, 1.0, 3.0]])], axis=1)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (0, 2 * LOG2 + 2 * LOG2 - LOG3),
        (1, 2 * LOG2),  # nothing to tell it apart from
        (2, LOG2 + 2 * LOG2),
    ],
)
def test_an_image_teaches_the_branch_and_its_own_leaf(label, expected):
    loss = JointLoss(LABELS, 3, [[1], [2, 0]])

    for labels in ([label], [[label]], [float(label)]):
        found = float(loss(np.array(labels), TOGETHER))
        assert found == pytest.approx(expected, rel=1e-6)


def test_an_image_teaches_no_other_leaf():
    logits = tf.Variable(np.tile(TOGETHER, (2, 1)).astype("f"))
    with tf.GradientTape() as tape:
        loss = JointLoss(LABELS, 3, [[1], [2, 0]]).call([1, 2], logits)

    gradient = tape.gradient(loss, logits).numpy()[:, 3:]

    np.testing.assert_allclose(
        gradient, [[0, 0, 0], [0, -3 / 4, 3 / 4]], atol=1e-6
    )


def test_an_objective_of_a_branch_and_its_leaves():
    student = network(3)
    images = keras.Input((2, 2, 3))
    together = Together(
        keras.Model(images, keras.layers.Concatenate()([student(images)] * 2)),
        [[0, 1, 2]],
    )
    objective = Objective(student, together=together)

    assert objective.model is together.network
    twice = np.tile(LOGITS, 2)
    found = float(objective.loss()(np.array([1]), twice))
    assert found == pytest.approx(2 * 2 * LOG2)
    accuracy = objective.accuracy()
    accuracy.update_state(np.array([1, 2]), np.tile(TOGETHER, (2, 1)))
    assert float(accuracy.result()) == 0.5  # the branch's


def test_a_teacher_and_leaves_exclude_each_other():
    student = network(3)
    together = Together(keras.Model(student.input, student.output), [])
    teaching = Teaching(network(2), [(0, 0)], 1.0)

    with pytest.raises(ValueError, match="Received: both"):
        Objective(student, teaching=teaching, together=together)


def network(num_classes):
    images = keras.Input((2, 2, 3))
    features = keras.layers.Flatten()(images)
    features = keras.layers.BatchNormalization(momentum=0.5)(features)
    features = keras.layers.Dropout(0.1)(features)
    return keras.Model(
        images, keras.layers.Dense(num_classes, name="logits")(features)
    )


def test_a_teacher_stays_as_it_is_and_the_student_learns_from_it():
    keras.utils.set_random_seed(0)
    student, teacher = network(3), network(2)
    before = [np.array(w) for w in teacher.weights]
    own = [np.array(w) for w in student.weights]
    teaching = Teaching(teacher, [(0, 1), (1, 0)], 100.0)
    objective = Objective(student, teaching=teaching)
    model = objective.model
    model.compile(
        keras.optimizers.SGD(0.003),
        objective.loss(),
        metrics=[objective.accuracy()],
    )
    images = np.random.default_rng(0).normal(size=(64, 2, 2, 3)).astype("f")

    def opinions():
        theirs, ours = (
            np.asarray(m(images, training=False)) for m in (teacher, student)
        )
        return theirs[:, 1] - theirs[:, 0], ours[:, 0] - ours[:, 1]

    start = np.corrcoef(*opinions())[0, 1]
    history = model.fit(
        images, np.zeros(64, int), epochs=30, batch_size=16, verbose=0
    )

    for one, other in zip(before, teacher.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(
        (a != np.asarray(b)).any()
        for a, b in zip(own, student.weights, strict=True)
    )
    assert np.corrcoef(*opinions())[0, 1] > max(0.9, start)
    assert set(history.history) == {"accuracy", "loss"}
