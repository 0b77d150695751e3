"""What a network makes of old and of new classes: Figures 10, 12 and 13."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hierkeras.data.features import Features
from hierkeras.data.images import Images
from hierkeras.models import surgery
from hierkeras.training.probes.arrivals import Columns

# Of each kind of classes, for their errors.
_ERROR_IMAGES = 64
# Of new classes, once: what is each taken for?
_FIRST_IMAGES, _FIRST_IMAGES_PER_CLASS = 1024, 16
# Of which distances are measured, on so many images of each class.
_PAIRS, _PAIR_IMAGES = 4, 8
_SHOWN = 4
_BATCH = 64

Rows = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Taken:
    """A new class, and the old one that its images are taken for.

    Args:
        new: The class, as a column of the network.
        old: The column of the other.
        share: The part of its images that are, in (0, 1].
        images: How many were looked at.
        shown: A few that are, as examples of the catalogue.
    """

    new: int
    old: int
    share: float
    images: int
    shown: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Sight:
    """What a network makes of the images that are looked at.

    Args:
        error: Share that is not named right, in [0, 1]; each class counts as
            much.
        old_error: Of images of old classes; None if there are none, as for
        new_error: those of new ones.
        distances: For each pair, between the mean features of its classes.
        products: The inner product of these.
    """

    error: float
    old_error: float | None
    new_error: float | None
    distances: tuple[float, ...]
    products: tuple[float, ...]


class Seen:
    """Looks at the same validation images each time; changes nothing.

    Args:
        student: The network, which is as it begins.
        images: The images, or their features.
        indices: int64 array of shape (n,), the validation images, and
        labels: int32 array of shape (n,), their classes, as columns.
        columns: Which of them are old.

    Attributes:
        taken: What the new classes are taken for, the clearest first.
        pairs: Those of which distances are measured.
        old_images: Number of images of old classes that errors are of.
        new_images: The same of new ones.
    """

    def __init__(
        self,
        student: keras.Model,
        images: Images | Features,
        indices: Rows,
        labels: npt.NDArray[np.int32],
        columns: Columns,
    ) -> None:
        order = np.argsort(indices, kind="stable")  # as sources are read
        self._indices, self._labels = indices[order], labels[order]
        self._images = images
        self._answer = _answering(student)
        self._columns = columns
        self.taken = self._first_taken() if columns.is_incremental else ()
        self.pairs = self.taken[:_PAIRS]
        most = _ERROR_IMAGES if columns.is_incremental else 2 * _ERROR_IMAGES
        some = functools.partial(some_of_each, self._labels, most=most)
        old, new = some(columns.old), some(columns.new)
        self.old_images, self.new_images = len(old), len(new)
        named = [column for t in self.pairs for column in (t.new, t.old)]
        confused = some_of_each(
            self._labels, np.array(named, np.int64), None, _PAIR_IMAGES
        )
        rows = np.unique(np.concatenate([old, new, confused]))
        self._watched = self._labels[rows]
        self._is_old = np.isin(rows, old)
        self._is_new = np.isin(rows, new)
        self._batches = list(self._read(rows))

    def __call__(self) -> Sight:
        """Looks as the network is now."""
        features, logits = _run(self._answer, self._batches)
        wrong = logits.argmax(axis=1) != self._watched
        old_error = _mean(wrong[self._is_old])
        new_error = _mean(wrong[self._is_new])
        old, new = (
            mean_features(features, self._watched, columns)
            for columns in (
                [pair.old for pair in self.pairs],
                [pair.new for pair in self.pairs],
            )
        )
        return Sight(
            self._overall(old_error, new_error),
            old_error,
            new_error,
            tuple(np.linalg.norm(new - old, axis=1).tolist()),
            tuple((new * old).sum(axis=1).tolist()),
        )

    def _overall(self, old: float | None, new: float | None) -> float:
        """An error of all classes from those of either kind."""
        known = [
            (len(columns), error)
            for columns, error in (
                (self._columns.old, old),
                (self._columns.new, new),
            )
            if error is not None
        ]
        classes = sum(count for count, _ in known)
        return sum(count * error for count, error in known) / classes

    def _first_taken(self) -> tuple[Taken, ...]:
        """What the network, as it begins, takes each new class for."""
        old, new = self._columns.old, self._columns.new
        # Nothing could be compared with a class that has no image.
        old = old[np.isin(old, self._labels)]
        if not old.size:
            return ()
        rows = some_of_each(
            self._labels, new, _FIRST_IMAGES, _FIRST_IMAGES_PER_CLASS
        )
        _, logits = _run(self._answer, self._read(rows))
        named = old[logits[:, old].argmax(axis=1)]
        found = []
        for column in np.unique(self._labels[rows]).tolist():
            own = self._labels[rows] == column
            likeliest = int(np.bincount(named[own]).argmax())
            hits = own & (named == likeliest)
            found.append(
                Taken(
                    column,
                    likeliest,
                    float(hits.sum() / own.sum()),
                    int(own.sum()),
                    tuple(self._indices[rows][hits][:_SHOWN].tolist()),
                )
            )
        return tuple(sorted(found, key=lambda t: (-t.share, -t.images, t.new)))

    def _read(self, rows: Rows) -> tf.data.Dataset:
        return self._images.evaluation_batches(self._indices[rows], _BATCH)


def some_of_each(
    labels: npt.NDArray[np.int32],
    classes: npt.NDArray[np.int64],
    most: int | None = None,
    most_each: int | None = None,
) -> Rows:
    """Chooses as many images of each class as there are, or are wanted.

    Args:
        labels: int32 array of shape (n,).
        classes: The labels to choose from.
        most: How many images; None: all. Every class has its first before
            one has its second.
        most_each: How many of a class; None: all.

    Returns:
        int64 array of shape (m,), sorted: places in `labels`.
    """
    rows = np.flatnonzero(np.isin(labels, classes))
    rows = rows[np.argsort(labels[rows], kind="stable")]
    _, first, counts = np.unique(
        labels[rows], return_index=True, return_counts=True
    )
    turn = np.arange(len(rows)) - np.repeat(first, counts)
    if most_each is not None:
        rows, turn = rows[turn < most_each], turn[turn < most_each]
    return np.sort(rows[np.argsort(turn, kind="stable")][:most])


def mean_features(
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int32],
    columns: list[int],
) -> npt.NDArray[np.float32]:
    """Mean features of some classes.

    Args:
        features: float32 array of shape (n, f).
        labels: int32 array of shape (n,).
        columns: k labels.

    Returns:
        float32 array of shape (k, f).
    """
    means = [features[labels == column].mean(axis=0) for column in columns]
    return np.array(means, np.float32).reshape(len(columns), features.shape[1])


_Answer = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def _answering(student: keras.Model) -> _Answer:
    """From images to features and logits, as in inference."""
    head = student.get_layer(surgery.HEAD)
    with student.distribute_strategy.scope():
        model = keras.Model(
            student.input, [head.input, student.output], name="seen"
        )
    shape = [None, *student.input_shape[1:]]

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
    def answer(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features, logits = model(images, training=False)
        return tf.cast(features, tf.float32), tf.cast(logits, tf.float32)

    return answer


def _run(
    answer: _Answer, batches: list[tf.Tensor] | tf.data.Dataset
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    answers = [answer(batch) for batch in batches]
    features, logits = zip(*answers, strict=True)
    return np.concatenate(features), np.concatenate(logits)


def _mean(wrong: npt.NDArray[np.bool_]) -> float | None:
    return float(wrong.mean()) if wrong.size else None
