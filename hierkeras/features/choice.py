"""What a solved head leaves open: how far it is shrunk, and how sure it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from hierkeras.features import groups, heads
from hierkeras.features.heads import Head
from hierkeras.features.shards import Keys
from hierkeras.features.statistics import FloatArray, Statistics, summed

SHRINKAGES = (0.05, 0.1, 0.2, 0.4, 0.8)

_TEMPERATURES = (0.05, 100.0)


@dataclasses.dataclass(frozen=True)
class Examples:
    """Images of the classes of a head.

    Args:
        keys: Array of shape (n,): what each image is, in 16 bytes.
        labels: int array of shape (n,): the place of its class.
        read: From places in `keys`, int64 of shape (m,), to features of shape
            (v * m, f): v views of each image, one view after the other.
    """

    keys: Keys
    labels: npt.NDArray[np.int32]
    read: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.floating]]


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was chosen, and on what.

    Args:
        shrinkage: In [0, 1].
        temperature: What logits are divided by.
        error: Top-1 error in [0, 1] of the images that were held out; None
            where there were none to hold out.
        num_images: How many were held out.
    """

    shrinkage: float
    temperature: float
    error: float | None
    num_images: int


def choose(
    statistics: Statistics, examples: Examples, shrinkage: float | None
) -> Choice:
    """Chooses by images that are taken out of the sums.

    A group of each class is held out at a time, of images that look alike (see
    `groups`). Which ones follows from the images and classes alone: the order
    in which they came plays no part. Of equals the larger shrinkage is taken.

    Args:
        statistics: Sums over `examples`, among others.
        examples: The images that may be held out.
        shrinkage: The only candidate; None: `SHRINKAGES` are.
    """
    candidates = SHRINKAGES if shrinkage is None else (shrinkage,)
    held = [
        _Held(statistics, examples, rows)
        for rows in _folds(examples, statistics.classes)
        if len(rows)
    ]
    # Views of an image are right or wrong together: they count as one.
    num_images = sum(fold.num_images for fold in held)
    if not num_images:
        middle = candidates[len(candidates) // 2]
        return Choice(middle, 1.0, None, 0)
    errors = {each: _error(held, each) for each in candidates}
    chosen = min(candidates, key=lambda each: (errors[each], -each))
    temperature = _temperature(held, chosen)
    return Choice(chosen, temperature, errors[chosen], num_images)


class _Held:
    """Images that are held out, and the sums of the others.

    Attributes:
        labels: Place of each image's class in those sums.
    """

    def __init__(
        self,
        statistics: Statistics,
        examples: Examples,
        rows: npt.NDArray[np.int64],
    ) -> None:
        self.num_images = len(rows)
        features = examples.read(rows)
        views = len(features) // len(rows)
        labels = np.tile(examples.labels[rows], views)
        here = np.unique(labels)
        names = [statistics.classes[label] for label in here.tolist()]
        taken_out = summed(features, np.searchsorted(here, labels), names)
        self._others = statistics.minus(taken_out)
        # No group is all of a class: the others are of the same classes.
        self.labels = labels
        self._features = features.astype(np.float64)

    def logits(self, shrinkage: float) -> FloatArray:
        return heads.solve(self._others, shrinkage).logits(self._features)


def _folds(
    examples: Examples, classes: Sequence[str]
) -> Iterator[npt.NDArray[np.int64]]:
    rows, count = groups.held_out(examples.keys, examples.labels, classes)
    if not len(rows):
        return
    # The views come one after the other, whole images first.
    whole = examples.read(rows)[: len(rows)]
    number = groups.groups(whole, examples.labels[rows])
    for fold in range(count):
        yield rows[number == fold]


def _error(held: list[_Held], shrinkage: float) -> float:
    """The share of what is held out that is not named right."""
    wrong = 0
    for fold in held:
        logits = fold.logits(shrinkage)  # of one fold at a time: they are large
        right = logits.argmax(axis=1) == fold.labels
        wrong += len(fold.labels) - int(np.sum(right))
    return wrong / sum(len(fold.labels) for fold in held)


def _temperature(held: list[_Held], shrinkage: float) -> float:
    """The temperature of the least cross-entropy (Guo et al. 2017)."""
    known = [(fold.logits(shrinkage), fold.labels) for fold in held]

    def loss(log_temperature: float) -> float:
        total = 0.0
        for each, true in known:
            scaled = special.log_softmax(
                each / math.exp(log_temperature), axis=1
            )
            total -= float(scaled[np.arange(len(true)), true].sum())
        return total

    low, high = map(math.log, _TEMPERATURES)
    found = optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3}
    )
    return math.exp(float(found.x))


def solved(statistics: Statistics, choice: Choice) -> Head:
    """The head that was chosen, over all of the sums."""
    return heads.solve(statistics, choice.shrinkage).at(choice.temperature)
