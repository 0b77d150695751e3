"""The partition with the least predicted error of the whole tree.

What a leaf can take off is what is confused within its superclass, and the
fewer classes it has to tell apart, the larger the part of it. So of the
errors of the model that is divided

    gain = sum over superclasses k of  within_k * (1 - n_k / n)

is predicted to go, or a constant part of it, where `within_k` is the share of
images of all classes that are confused within superclass k, and n_k of the n
classes are in it. What is confused across superclasses stays. A single
superclass gains nothing, and neither do superclasses of one class; between
them sizes and their number are weighed against each other. Ours; what it does
to real classes is in docs/results.md.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from hierkeras.growth.preview import FloatArray

IntArray = npt.NDArray[np.int64]


def predicted_gain(affinity: FloatArray, labels: IntArray) -> float:
    """How much of the error leaves are predicted to take off, at most.

    Args:
        affinity: float array of shape (n, n), symmetric, at least 0, with a
            zero diagonal: the mean rate at which class `i` is taken for class
            `j` and the other way round.
        labels: int array of shape (n,): the superclass of each class.

    Returns:
        A share in [0, 1) of the images of all classes.
    """
    size = len(labels)
    members = np.eye(int(labels.max()) + 1)[labels]
    within = np.einsum("ik,ij,jk->k", members, affinity, members, optimize=True)
    alone = 1 - members.sum(axis=0) / size
    return float((within * alone).sum() / size)


def best_partition(
    affinity: FloatArray, candidates: Iterable[IntArray], smallest: int
) -> IntArray:
    """The best partition that moving classes one by one leads to.

    Each candidate is improved until no class can move to another superclass
    with a gain; the best of them all is taken, the first of equals.

    Args:
        affinity: As `predicted_gain` takes it.
        candidates: int arrays of shape (n,), at least one; their superclasses
            are not made smaller than `smallest`, nor are there fewer.
        smallest: Fewest classes of a superclass.
    """
    improved = [_improved(affinity, labels, smallest) for labels in candidates]
    return max(improved, key=lambda labels: predicted_gain(affinity, labels))


def _improved(
    affinity: FloatArray, labels: IntArray, smallest: int
) -> IntArray:
    labels = labels.copy()
    n, count = len(labels), int(labels.max()) + 1
    rows = np.arange(n)
    while True:
        members = np.eye(count)[labels]
        sizes = members.sum(axis=0)
        towards = affinity @ members  # (n, count)
        within = (members * towards).sum(axis=0)
        own = towards[rows, labels]
        # A class that leaves takes both directions of its confusion along.
        left = (within[labels] - 2 * own) * (1 - (sizes[labels] - 1) / n)
        joined = (within + 2 * towards) * (1 - (sizes + 1) / n)
        now = within * (1 - sizes / n)
        change = (left - now[labels])[:, None] + (joined - now)
        change[rows, labels] = 0.0
        change[sizes[labels] <= smallest] = 0.0
        best = int(change.argmax())
        # Rounding must not make it go round in circles.
        if change.flat[best] <= 1e-12 * n:
            return labels
        labels[best // count] = best % count
