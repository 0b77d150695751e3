"""What a training minimises."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import keras
from keras import ops

# Divides the logits of a teacher and its student, which softens both.
_TEMPERATURE = 2.0


class BalancedLoss(keras.losses.Loss):
    """A loss of logits to which the log of each class's count is added.

    Balanced softmax: a model that leaves them out afterwards answers as if
    every class had been as frequent (Ren et al. 2020, equation 4,
    https://arxiv.org/abs/2007.10740; for classes of which few exemplars are
    kept, Jodelet et al. 2021, https://arxiv.org/abs/2103.12532). In nats.

    Args:
        loss: Of logits of shape (n, c).
        counts: For each column, how many training images its class has; none
            counts as one.
    """

    def __init__(self, loss: keras.losses.Loss, counts: Sequence[int]) -> None:
        super().__init__(name="balanced")
        self.loss = loss
        self.log_counts = [math.log(max(count, 1)) for count in counts]

    def call(
        self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The loss of each image.

        Args:
            y_true: int tensor of shape (n,) or (n, 1), the labels.
            y_pred: float tensor of shape (n, c), logits.

        Returns:
            float tensor of shape (n,).
        """
        log_counts = ops.convert_to_tensor(self.log_counts, dtype=y_pred.dtype)
        return self.loss.call(y_true, y_pred + log_counts)


class TaughtLoss(keras.losses.Loss):
    """A loss on labels, and on a teacher's opinion of some classes, in nats.

    Li & Hoiem 2017, "Learning without Forgetting", equation 2, with the factor
    T^2 of Hinton et al. 2015, section 2, which keeps the weight's meaning.

    Args:
        labels_loss: Of the student's logits.
        num_classes: Of the student.
        student_columns: Its columns of the classes that both know.
        teacher_columns: The teacher's, in the same order.
        weight: Of the teacher's opinion, at a temperature of 2.
    """

    def __init__(
        self,
        labels_loss: keras.losses.Loss,
        num_classes: int,
        student_columns: Sequence[int],
        teacher_columns: Sequence[int],
        weight: float,
    ) -> None:
        super().__init__(name="taught")
        self.labels_loss = labels_loss
        self.num_classes = num_classes
        self.student_columns = list(student_columns)
        # Among the logits of both.
        self.teacher_columns = [num_classes + k for k in teacher_columns]
        self.weight = weight

    def call(
        self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The loss of each image.

        Args:
            y_true: int tensor of shape (n,) or (n, 1), the labels.
            y_pred: float tensor of shape (n, c + t): the student's logits,
                then the teacher's.

        Returns:
            float tensor of shape (n,).
        """
        own = ops.take(y_pred, self.student_columns, axis=-1)
        taught = ops.take(y_pred, self.teacher_columns, axis=-1)
        opinion = ops.softmax(taught / _TEMPERATURE, axis=-1)
        kept = -ops.sum(
            opinion * ops.log_softmax(own / _TEMPERATURE, axis=-1), axis=-1
        )
        logits = y_pred[..., : self.num_classes]
        on_labels = self.labels_loss.call(y_true, logits)
        return on_labels + self.weight * _TEMPERATURE**2 * kept


class JointLoss(keras.losses.Loss):
    """The sum of the losses of a branch and of an image's own leaf, in nats.

    Args:
        labels_loss: Of the logits of each.
        num_classes: Of the branch.
        columns: For each leaf its classes, as columns of the branch.
    """

    def __init__(
        self,
        labels_loss: keras.losses.Loss,
        num_classes: int,
        columns: Sequence[Sequence[int]],
    ) -> None:
        super().__init__(name="joint")
        self.labels_loss = labels_loss
        self.num_classes = num_classes
        self.columns = [list(own) for own in columns]

    def call(
        self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The loss of each image.

        Args:
            y_true: int tensor of shape (n,) or (n, 1), the labels.
            y_pred: float tensor of shape (n, c + c): the branch's logits,
                then those of one leaf after the other.

        Returns:
            float tensor of shape (n,).
        """
        # Keras hands labels over in the type of the logits.
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        total = self.labels_loss.call(labels, y_pred[..., : self.num_classes])
        first = self.num_classes
        for own in self.columns:
            # For each of the branch's columns its place in the leaf; 0 where
            # it has none, which the mask hides.
            place, is_own = [0] * self.num_classes, [False] * self.num_classes
            for number, column in enumerate(own):
                place[column], is_own[column] = number, True
            loss = self.labels_loss.call(
                ops.take(ops.convert_to_tensor(place, dtype="int32"), labels),
                y_pred[..., first : first + len(own)],
            )
            mask = ops.take(ops.convert_to_tensor(is_own), labels)
            total = total + ops.where(mask, loss, 0.0)
            first += len(own)
        return total


class FirstColumnsAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Accuracy of a model whose logits come before those of others.

    Args:
        num_classes: Of the model.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__(name="accuracy")
        self.num_classes = num_classes

    def update_state(
        self,
        y_true: keras.KerasTensor,
        y_pred: keras.KerasTensor,
        sample_weight: keras.KerasTensor | None = None,
    ) -> None:
        """As `SparseCategoricalAccuracy`."""
        logits = y_pred[..., : self.num_classes]
        super().update_state(y_true, logits, sample_weight)


@dataclasses.dataclass(frozen=True)
class Teaching:
    """A model whose opinion of some classes a training keeps to.

    Args:
        model: The teacher, from the same images to logits.
        columns: For each class that both know, the student's column and the
            teacher's.
        weight: Of the teacher's opinion beside the labels.
    """

    model: keras.Model
    columns: Sequence[tuple[int, int]]
    weight: float


@dataclasses.dataclass(frozen=True)
class Together:
    """The leaves that a branch is trained together with.

    Args:
        network: From images to the branch's logits, followed by each leaf's;
            it shares its weights with them.
        columns: For each leaf its classes, as columns of the branch.
    """

    network: keras.Model
    columns: Sequence[Sequence[int]]


class Objective:
    """What a training minimises, and of which network.

    Args:
        student: The network to train, from images to logits.
        class_counts: For each class, how many training images it has, which
            the loss makes up for; None: it does not.
        teaching: A teacher; None: there is none.
        together: Leaves to train with it; None: there are none.

    Attributes:
        student: The network to train.
        model: What to compile and fit: the student, or a network that shares
            its weights and answers with other models' logits too.

    Raises:
        ValueError: If there are both a teacher and leaves.
    """

    def __init__(
        self,
        student: keras.Model,
        class_counts: Sequence[int] | None = None,
        teaching: Teaching | None = None,
        together: Together | None = None,
    ) -> None:
        if teaching is not None and together is not None:
            raise ValueError(
                "Expected a teacher or leaves. Received: both, whose losses "
                "cannot be added up."
            )
        self.student = student
        self._together = together
        self._num_classes = student.output_shape[-1]
        self._class_counts = class_counts
        self._teaching = teaching
        self.model = student if together is None else together.network
        if teaching is not None:
            with student.distribute_strategy.scope():
                self.model = _beside(student, teaching.model)

    def loss(self) -> keras.losses.Loss:
        """The loss, which Keras reports as `loss`."""
        on_labels: keras.losses.Loss = (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        own = list(range(self._num_classes))
        if self._together is not None:
            leaves = self._together.columns
            return self._balanced(
                JointLoss(on_labels, self._num_classes, leaves),
                [*own, *itertools.chain(*leaves)],
            )
        on_labels = self._balanced(on_labels, own)
        if self._teaching is None:
            return on_labels
        return TaughtLoss(
            on_labels,
            self._num_classes,
            [own for own, _ in self._teaching.columns],
            [its for _, its in self._teaching.columns],
            self._teaching.weight,
        )

    def network_with(self, tensors: Sequence[keras.KerasTensor]) -> keras.Model:
        """A network that tells what is inside the student.

        Args:
            tensors: Of the student's graph.

        Returns:
            The model from images to these tensors and, last, what the loss
            takes; it shares all weights.
        """
        images, answers = self.model.input, self.model.output
        with self.student.distribute_strategy.scope():
            if self._teaching is not None:
                # Beside a teacher, the student is one layer of the model.
                images = self.student.input
                opinion = self._teaching.model(images, training=False)
                both = [self.student.output, opinion]
                answers = ops.concatenate(both, axis=-1)
            return keras.Model(images, [*tensors, answers], name="tapped")

    def _balanced(
        self, loss: keras.losses.Loss, columns: Sequence[int]
    ) -> keras.losses.Loss:
        """A loss of logits that are those of these classes."""
        if self._class_counts is None:
            return loss
        return BalancedLoss(loss, [self._class_counts[k] for k in columns])

    def accuracy(self) -> keras.metrics.Metric:
        """The metric, which Keras reports as `accuracy`."""
        if self._teaching is None and self._together is None:
            return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        return FirstColumnsAccuracy(self._num_classes)


def _beside(student: keras.Model, teacher: keras.Model) -> keras.Model:
    # Keras wants the names of the two to differ.
    teacher = keras.Model(teacher.input, teacher.output, name="teacher")
    teacher.trainable = False
    images = keras.Input(student.input_shape[1:], dtype="float32")
    both = [student(images), teacher(images, training=False)]
    return keras.Model(images, ops.concatenate(both, axis=-1))
