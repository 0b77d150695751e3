"""Sums over the features of classes, which add and subtract.

A head that is solved from them does not depend on the order in which classes
and images arrived: any stream gives the sums of all at once, and a class or an
image can be taken out exactly.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

FloatArray = npt.NDArray[np.float64]

# Rows of features that are in memory as float64 at a time.
_BLOCK = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """Counts, means and scatter of the features of some classes.

    Args:
        classes: Names, each once.
        counts: int64 array of shape (c,): images of each class, at least 1.
        means: float64 array of shape (c, f): mean features of each class.
        scatter: float64 array of shape (f, f): the sum, over all images, of
            the outer product of an image's deviation from its class's mean.
    """

    classes: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    means: FloatArray
    scatter: FloatArray

    @property
    def num_features(self) -> int:
        """The number of features, f."""
        return int(self.means.shape[1])

    def of(self, classes: Sequence[str]) -> Statistics:
        """The same sums, with the classes in another order.

        Args:
            classes: The same names.

        Raises:
            ValueError: They are others.
        """
        if set(classes) != set(self.classes) or len(classes) != len(
            self.classes
        ):
            raise ValueError(
                f"Expected the {len(self.classes)} classes that the sums are "
                f"of. Received: {len(classes)} names."
            )
        place = {name: row for row, name in enumerate(self.classes)}
        rows = [place[name] for name in classes]
        return Statistics(
            tuple(classes), self.counts[rows], self.means[rows], self.scatter
        )

    def plus(self, other: Statistics) -> Statistics:
        """The sums of the images of both.

        A class that both have images of is pooled (Chan et al. 1983,
        https://doi.org/10.1080/00031305.1983.10483115).

        Args:
            other: Sums of other images.
        """
        return self._pooled(other, 1)

    def minus(self, other: Statistics) -> Statistics:
        """The sums without some of the images; the reverse of `plus`.

        A class of which no image is left is gone.

        Args:
            other: Sums of images that are in these.

        Raises:
            ValueError: They cannot be.
        """
        return self._pooled(other, -1)

    def _pooled(self, other: Statistics, sign: int) -> Statistics:
        place = {name: row for row, name in enumerate(self.classes)}
        rows = np.array([place.get(n, -1) for n in other.classes], np.int64)
        shared, there = rows >= 0, rows[rows >= 0]
        counts, means = self.counts.copy(), self.means.copy()
        added, before = other.counts[shared], counts[there]
        counts[there] += sign * added
        if sign < 0 and (not shared.all() or (counts < 0).any()):
            raise ValueError("Expected sums of images that are in these.")
        # A class of which nothing is left has nothing between.
        left = np.maximum(counts[there], 1)
        weights = np.where(counts[there] > 0, added * before / left, 0)
        apart = other.means[shared] - means[there]
        means[there] += sign * (added / left)[:, None] * apart
        between = (weights[:, None] * apart).T @ apart
        is_left, is_new = counts > 0, ~shared
        return Statistics(
            (
                *itertools.compress(self.classes, is_left),
                *itertools.compress(other.classes, is_new),
            ),
            np.concatenate([counts[is_left], other.counts[is_new]]),
            np.concatenate([means[is_left], other.means[is_new]]),
            self.scatter + sign * (other.scatter + between),
        )


def summed(
    features: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    classes: Sequence[str],
) -> Statistics:
    """The sums of some images.

    Args:
        features: Array of shape (n, f), of any float dtype; blocks of rows
            are read, so that it may be mapped from a file.
        labels: int array of shape (n,): the place of each row's class.
        classes: Names of the classes, each of which has a row at least.

    Raises:
        ValueError: A class has none.
    """
    num_features = features.shape[1]
    counts = np.bincount(labels, minlength=len(classes)).astype(np.int64)
    if not counts.all():
        raise ValueError(
            f"Class {classes[int(counts.argmin())]!r} has no features."
        )
    totals = np.zeros((len(classes), num_features))
    for rows in _blocks(len(labels)):
        here = labels[rows]
        places = np.arange(len(here))
        chosen = sparse.csr_array(
            (np.ones(len(here)), (here, places)), (len(classes), len(here))
        )
        totals += chosen @ features[rows].astype(np.float64)
    means = totals / counts[:, None]
    # Deviations, not squares less squared means: what is left of such a
    # difference is rounding where classes are narrow.
    scatter = np.zeros((num_features, num_features))
    for rows in _blocks(len(labels)):
        apart = features[rows].astype(np.float64) - means[labels[rows]]
        scatter += apart.T @ apart
    return Statistics(tuple(classes), counts, means, scatter)


def _blocks(length: int) -> list[slice]:
    return [slice(i, i + _BLOCK) for i in range(0, length, _BLOCK)]
