"""Whether classes are mirror images of each other, as left and right arrows.

Where they are, an image that is mirrored while it is learnt teaches the wrong
class.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from hierkeras.data.source import Source

_SIDE = 16
# A photo of 12 megapixels takes 20 ms.
_MOST_IMAGES, _MOST_OF_A_CLASS = 1_000, 40
# A nearer image counts if its squared distance is so much less: photos of one
# series change theirs together, by a little.
_NEARER = 0.8
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
            f"{self.closer} of {self.looked_at} images of {self.name!r} come "
            f"closer to {self.other!r} or others by it"
        )


def look(source: Source) -> Mirrored | None:
    """Looks at training images of a source; see `find`.

    Args:
        source: The images; it may have none that are seen without TensorFlow.

    Returns:
        The class of the clearest sign; None if there is none, or no image
        could be looked at.
    """
    catalogue = source.catalogue
    classes = catalogue.class_names
    rows = catalogue.indices("train", classes)
    few = min(_MOST_OF_A_CLASS, _MOST_IMAGES // max(1, len(classes)) + 1)
    order = np.random.default_rng(0).permutation(rows)
    order = order[np.argsort(catalogue.labels[order], kind="stable")]
    labels = catalogue.labels[order]
    nth = np.arange(len(order)) - np.searchsorted(labels, labels)
    chosen = np.sort(order[nth < few][:_MOST_IMAGES])
    seen, images = source.thumbnails(chosen, _SIDE)
    return find(images, catalogue.labels[seen], classes) if len(seen) else None


def find(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int32],
    class_names: tuple[str, ...],
) -> Mirrored | None:
    """Looks for a class that others are mirror images of.

    Of each image the distance to the nearest one of another class is compared
    with that of its mirror image. Where mirroring changes nothing, one is as
    often less as the other, whatever the classes have in common: a sign test,
    of each class, corrected for their number (Bonferroni), and of all.

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
    if own.all():
        return None
    before = np.where(own, np.inf, _distances(flat, flat))
    after = np.where(own, np.inf, _distances(mirrored, flat))
    nearest = labels[after.argmin(axis=1)]
    before, after = before.min(axis=1), after.min(axis=1)
    closer, farther = after < _NEARER * before, before < _NEARER * after

    def about(here: npt.NDArray[np.bool_]) -> Mirrored:
        counts = np.bincount(nearest[here & closer], minlength=1)
        return Mirrored(
            class_names[int(labels[here][0])],
            class_names[int(counts.argmax())],
            int(closer[here].sum()),
            int(here.sum()),
        )

    members = [labels == label for label in np.unique(labels)]
    chances = [_chance(closer[here], farther[here]) for here in members]
    clearest = int(np.argmin(chances))
    # Either of one class, or of all together where each has few images.
    least = min(chances[clearest] * len(members), _chance(closer, farther))
    return about(members[clearest]) if 2 * least <= _LEVEL else None


def _chance(
    closer: npt.NDArray[np.bool_], farther: npt.NDArray[np.bool_]
) -> float:
    """How likely it is that so many are closer by chance: a sign test."""
    count, differing = int(closer.sum()), int((closer | farther).sum())
    if not differing:
        return 1.0
    return float(binomtest(count, differing, alternative="greater").pvalue)


def _contrasts(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Grey images as vectors, without their brightness and contrast."""
    flat: npt.NDArray[np.float64] = images.mean(axis=3).reshape(len(images), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    flat /= np.maximum(length, 1e-9)  # an image of one colour has no length
    return flat


def _distances(
    some: npt.NDArray[np.float64], others: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Squared distances of each to each, of vectors of length 1."""
    return np.subtract(2.0, 2.0 * (some @ others.T))
