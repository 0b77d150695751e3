"""Learning curves: what more photos of the same classes would bring.

Above a frozen trunk they cost a few solves. What more photos bring is what
more *series* bring: a class's images are divided into groups that look alike
(see `groups`), a group of each class is held out, and the head is solved from
one, two and three of the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hierkeras.features import groups, heads
from hierkeras.features.choice import Examples
from hierkeras.features.statistics import summed

Rows = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Point:
    """A head of fewer photos.

    Args:
        images: Mean number of photos of a class that it is solved from.
        error: Top-1 error in [0, 1] of the images that were held out.
    """

    images: float
    error: float


def curve(
    examples: Examples, classes: Sequence[str], shrinkage: float
) -> list[Point]:
    """Errors with one, two and three groups of each class.

    A class that has no image in these keeps what it has beyond the group that
    is held out: what is new is more of a class, not another class.

    Args:
        examples: The images.
        classes: Names of their classes.
        shrinkage: As of `heads.solve`.

    Returns:
        A point a number of groups, from few images to many; none where there
        are too many images to hold out all groups.
    """
    rows, count = groups.held_out(examples.keys, examples.labels, classes)
    if count < groups.COUNT or not len(rows):
        return []
    whole = examples.read(rows)[: len(rows)]
    number = groups.groups(whole, examples.labels[rows])
    return [
        _point(examples, rows, number, size, shrinkage)
        for size in range(1, groups.COUNT)
    ]


def tells(points: Sequence[Point]) -> bool:
    """Whether a curve leads anywhere: errors above 0 that fell, and images."""
    images = [point.images for point in points]
    errors = [point.error for point in points]
    return (
        len(points) > 1
        and min(errors) > 0
        and errors[-1] < errors[0]
        and all(np.diff(images) > 0)
    )


def expected(points: Sequence[Point], images: float) -> float:
    """The error that a curve leads one to expect of a number of photos.

    Errors fall as a power of the number of examples (Hestness et al. 2017,
    https://arxiv.org/abs/1712.00409): a line through the logarithms of the
    points, by least squares.

    Args:
        points: Which `tells`.
        images: Photos of a class, on average.

    Returns:
        In [0, 1].
    """
    x = np.log([point.images for point in points])
    y = np.log([point.error for point in points])
    slope, start = np.polyfit(x, y, 1)
    return float(min(1.0, np.exp(start + slope * np.log(images))))


def _point(
    examples: Examples,
    rows: Rows,
    number: Rows,
    size: int,
    shrinkage: float,
) -> Point:
    """The error of heads that are solved from so many groups of each class."""
    labels, wrong, learnt = examples.labels[rows], 0, 0
    for fold in range(groups.COUNT):
        own = number == fold
        if not own.any():
            continue
        rest = _chosen(number, labels, fold, size)
        learnt += int(rest.sum()) * int(own.sum())
        logits, names = _logits(examples, rows[rest], rows[own], shrinkage)
        wrong += int((names[logits] != labels[own]).sum())
    classes = len(np.unique(labels))
    return Point(learnt / len(rows) / classes, wrong / len(rows))


def _chosen(
    number: Rows, labels: npt.NDArray[np.int32], fold: int, size: int
) -> npt.NDArray[np.bool_]:
    """The images of the groups that follow the one that is held out."""
    place = (number - fold) % groups.COUNT  # 0: held out
    chosen = (place >= 1) & (place <= size)
    without = np.setdiff1d(labels, labels[chosen])
    chosen |= np.isin(labels, without) & (place >= 1)
    return chosen


def _logits(
    examples: Examples, learnt: Rows, held: Rows, shrinkage: float
) -> tuple[Rows, npt.NDArray[np.int32]]:
    """Columns of the best answers of what is held out, and their labels."""
    here = np.unique(examples.labels[learnt])
    features = examples.read(learnt)
    views = len(features) // len(learnt)
    labels = np.searchsorted(here, np.tile(examples.labels[learnt], views))
    names = [str(label) for label in here.tolist()]
    head = heads.solve(summed(features, labels, names), shrinkage)
    answers = head.logits(examples.read(held)[: len(held)])
    return answers.argmax(axis=1), here
