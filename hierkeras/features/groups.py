"""Divides the images of a class into groups of such as look alike.

Photos come in series: of one shelf, one day, one animal. What tells two photos
of a series apart from all others need not tell the class, so that photos which
are held out at random flatter a head: on 2,504 groceries they said 3 % of
error where photos of other visits gave 18.6 % (docs/pretrained.md). Held out
by groups they say 20.9 %.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.cluster import hierarchy

from hierkeras.features.shards import Keys

COUNT = 4
# With more images some of the classes tell enough, and one group of each.
_MOST_IMAGES = 8_000
# Clustering takes the square of their number.
_MOST_OF_A_CLASS = 500


def held_out(
    keys: Keys,
    labels: npt.NDArray[np.int32],
    classes: Sequence[str],
) -> tuple[npt.NDArray[np.int64], int]:
    """Which images are divided into groups, and how many groups are held out.

    Args:
        keys: Array of shape (n,): what the images are.
        labels: int array of shape (n,): the place of each one's class.
        classes: Names of the classes.

    Returns:
        int64 array: rows of the images; and the number of groups, one after
        the other, to hold out. Neither depends on the order of the images or
        the classes.
    """
    by_class = np.lexsort((keys, labels))
    places = _places_in_class(labels[by_class])
    rows = by_class[places < _MOST_OF_A_CLASS]
    counts = np.bincount(labels[rows], minlength=len(classes))
    # An image alone is all that its class has to be learnt from.
    usable = counts >= 2
    order = np.argsort([_place(name) for name in classes], kind="stable")
    order = order[usable[order]]
    ends = np.cumsum(counts[order])
    taken = order[: max(1, int((ends <= _MOST_IMAGES).sum()))]
    rows = rows[np.isin(labels[rows], taken)]
    rows = rows[np.argsort(keys[rows], kind="stable")]
    return rows, COUNT if len(taken) == len(order) else 1


def groups(
    features: npt.NDArray[np.floating], labels: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64]:
    """Divides each class by Ward's clustering of its features.

    Args:
        features: float array of shape (n, f), finite.
        labels: int array of shape (n,).

    Returns:
        int64 array of shape (n,): each image's group in its class, in [0, 4);
        a class of two images or more has two groups or more.
    """
    found = np.zeros(len(labels), np.int64)
    for members in _members(labels):
        if len(members) <= COUNT:
            found[members] = np.arange(len(members))
            continue
        tree = hierarchy.linkage(features[members].astype(np.float64), "ward")
        own = hierarchy.fcluster(tree, COUNT, "maxclust") - 1
        if not own.any():
            # All are equally far apart, as the same image over and over is:
            # no tree divides them, and a class is never held out whole.
            own = np.arange(len(members)) % COUNT
        found[members] = own
    return found


def _places_in_class(
    labels: npt.NDArray[np.int32],
) -> npt.NDArray[np.int64]:
    """Of sorted labels, the number of each among its equals."""
    places: npt.NDArray[np.int64] = np.arange(len(labels)) - np.searchsorted(
        labels, labels
    )
    return places


def _members(
    labels: npt.NDArray[np.int32],
) -> Iterator[npt.NDArray[np.int64]]:
    order = np.argsort(labels, kind="stable")
    borders = np.flatnonzero(np.diff(labels[order])) + 1
    yield from np.split(order, borders)


def _place(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()
