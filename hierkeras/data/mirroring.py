"""Whether classes are mirror images of each other, as left and right arrows.

Where they are, an image that is mirrored while it is learnt teaches the wrong
class.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from scipy.stats import binomtest

# Chance says so once in a thousand data sets in which it makes no difference.
_LEVEL = 0.001


@dataclasses.dataclass(frozen=True)
class Mirrored:
    """A class whose mirrored images look like another's.

    Args:
        name: The class, and
        other: the one that most of its images come closest to.
        closer: How many of its images come closer to other classes when they
            are mirrored,
        looked_at: of so many.
    """

    name: str
    other: str
    closer: int
    looked_at: int

    def __str__(self) -> str:
        return (
            f"mirrored, {self.closer} of {self.looked_at} images of "
            f"{self.name!r} come closer to {self.other!r} or others"
        )


def find(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int32],
    class_names: tuple[str, ...],
) -> Mirrored | None:
    """Looks for a class that others are mirror images of.

    Of each image the distance to the nearest one of another class is compared
    with that of its mirror image. Where mirroring changes nothing, one is as
    often less as the other, whatever the classes have in common: a sign test,
    of each class, corrected for their number (Bonferroni).

    Args:
        images: Shape (n, side, side, 3), small; a few dozen of each class.
        labels: Shape (n,): positions in `class_names`.
        class_names: The names of the classes.

    Returns:
        The class of the clearest sign; None if there is no clear one.
    """
    flat = _contrasts(images)
    mirrored = _contrasts(images[:, :, ::-1])
    own = labels[:, np.newaxis] == labels
    before = np.where(own, np.inf, cdist(flat, flat))
    after = np.where(own, np.inf, cdist(mirrored, flat))
    gains = before.min(axis=1) - after.min(axis=1)
    if not np.isfinite(gains).all():  # there is but one class
        return None
    nearest = labels[after.argmin(axis=1)]

    def about(here: npt.NDArray[np.bool_]) -> Mirrored:
        counts = np.bincount(nearest[here & (gains > 0)], minlength=1)
        return Mirrored(
            class_names[int(labels[here][0])],
            class_names[int(counts.argmax())],
            int((gains[here] > 0).sum()),
            int(here.sum()),
        )

    members = [labels == label for label in np.unique(labels)]
    chances = [_chance(gains[here]) for here in members]
    clearest = int(np.argmin(chances))
    # Either of one class, or of all together where each has few images.
    p_value = 2 * min(chances[clearest] * len(members), _chance(gains))
    return about(members[clearest]) if p_value <= _LEVEL else None


def _chance(gains: npt.NDArray[np.float64]) -> float:
    """How likely it is that so many are positive by chance: a sign test."""
    differing = int((gains != 0).sum())
    if not differing:
        return 1.0
    closer = int((gains > 0).sum())
    return float(binomtest(closer, differing, alternative="greater").pvalue)


def _contrasts(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Images as vectors, without their brightness."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    return flat - flat.mean(axis=1, keepdims=True)
