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

from hierkeras.growth.spectral import Affinity, FloatArray, IntArray


def predicted_gain(affinity: Affinity, labels: IntArray) -> float:
    """How much of the error leaves are predicted to take off, at most.

    Args:
        affinity: Sparse array of shape (n, n), symmetric, at least 0, with a
            zero diagonal: the mean rate at which class `i` is taken for class
            `j` and the other way round.
        labels: int array of shape (n,): the superclass of each class.

    Returns:
        A share in [0, 1) of the images of all classes.
    """
    size, count = len(labels), int(labels.max()) + 1
    towards = affinity @ np.eye(count)[labels]
    within = np.bincount(labels, towards[np.arange(size), labels], count)
    alone = 1 - np.bincount(labels, minlength=count) / size
    return float((within * alone).sum() / size)


def best_partition(
    affinity: Affinity, candidates: Iterable[IntArray], smallest: int
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


def _improved(affinity: Affinity, labels: IntArray, smallest: int) -> IntArray:
    labels = labels.copy()
    count = int(labels.max()) + 1
    # Of shape (count, n): its rows are what moves change.
    towards: FloatArray = (affinity @ np.eye(count)[labels]).T.copy()
    while True:
        move = _best_move(towards, labels, smallest)
        if move is None:
            return labels
        moved, to = move
        # Only those that it is confused with see it go.
        start, end = affinity.indptr[moved : moved + 2]
        near, rates = affinity.indices[start:end], affinity.data[start:end]
        towards[labels[moved], near] -= rates
        towards[to, near] += rates
        labels[moved] = to


def _best_move(
    towards: FloatArray, labels: IntArray, smallest: int
) -> tuple[int, int] | None:
    """The class whose move gains most, and where to; None: none gains."""
    count, n = towards.shape
    classes = np.arange(n)
    own = towards[labels, classes]
    sizes = np.bincount(labels, minlength=count)
    within = np.bincount(labels, own, count)
    now = within * (1 - sizes / n)
    # A class that leaves takes both directions of its confusion along.
    left = (within[labels] - 2 * own) * (1 - (sizes[labels] - 1) / n)
    left -= now[labels]
    left[sizes[labels] <= smallest] = -np.inf
    change = (within[:, None] + 2 * towards) * (1 - (sizes + 1) / n)[:, None]
    change -= now[:, None]
    change += left
    change[labels, classes] = 0.0
    to, moved = divmod(int(change.argmax()), n)
    # Rounding must not make it go round in circles.
    if change[to, moved] <= 1e-12 * n:
        return None
    return moved, to
