"""Precision against recall of classes, in TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorboard.plugins.pr_curve import summary as pr_curve

# Those that are least often named right: a curve takes 3 kB.
_MOST_CLASSES = 100
_THRESHOLDS = 101


def write(
    probabilities: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int32],
    classes: Sequence[str],
    step: int,
) -> None:
    """Writes a curve of each class, into the default writer.

    Args:
        probabilities: float array of shape (n, classes).
        labels: int32 array of shape (n,).
        classes: The classes.
        step: TensorBoard's.
    """
    for column in hardest(probabilities, labels, _MOST_CLASSES):
        curve = pr_curve.pb(
            f"precision_recall/{classes[column]}",
            labels == column,
            # Sums of a softmax may round to more.
            np.clip(probabilities[:, column], 0.0, 1.0),
            num_thresholds=_THRESHOLDS,
        )
        raw = curve.SerializeToString()
        tf.summary.experimental.write_raw_pb(raw, step)


def hardest(
    probabilities: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int32],
    most: int,
) -> list[int]:
    """The classes whose images are least often named right.

    Args:
        probabilities: float array of shape (n, classes).
        labels: int32 array of shape (n,).
        most: How many of them; classes without images are left out.

    Returns:
        Columns, the hardest first.
    """
    size = probabilities.shape[1]
    right = labels[probabilities.argmax(axis=1) == labels]
    counts = np.bincount(labels, minlength=size)
    recall = np.bincount(right, minlength=size) / np.maximum(counts, 1)
    order = np.argsort(recall, kind="stable")
    return order[counts[order] > 0][:most].tolist()
