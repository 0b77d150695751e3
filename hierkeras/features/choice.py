"""What a solved head leaves open: how far it is shrunk, and how sure it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from hierkeras.features import heads
from hierkeras.features.heads import Head
from hierkeras.features.shards import Keys
from hierkeras.features.statistics import FloatArray, Statistics, summed

SHRINKAGES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)

_FOLDS = 3
# With more, one fold of so many tells as much.
_MOST_HELD_OUT = 5_000
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
        num_images: How many were held out, each view of them counted. Those
            of a class that has no other images tell nothing, and count not.
    """

    shrinkage: float
    temperature: float
    error: float | None
    num_images: int


def choose(
    statistics: Statistics, examples: Examples, shrinkage: float | None
) -> Choice:
    """Chooses by images that are taken out of the sums.

    Which ones follows from what they are alone: neither the order in which
    they came nor what else there is plays a part.

    Of the shrinkages whose error is within a standard error of the least, the
    largest is taken (Breiman et al. 1984, "Classification and Regression
    Trees", section 3.4.3). Photos come in series, and what tells two photos of
    a series together is not what tells products apart: held-out photos of
    the same series flatter heads that are shrunk too little.

    Args:
        statistics: Sums over `examples`, among others.
        examples: The images that may be held out.
        shrinkage: The only candidate; None: `SHRINKAGES` are.
    """
    candidates = SHRINKAGES if shrinkage is None else (shrinkage,)
    held = [
        fold
        for rows in _folds(examples.keys)
        if len(rows) and len((fold := _Held(statistics, examples, rows)).labels)
    ]
    num_images = sum(len(fold.labels) for fold in held)
    if not num_images:
        middle = candidates[len(candidates) // 2]
        return Choice(middle, 1.0, None, 0)
    logits = {each: [fold.logits(each) for fold in held] for each in candidates}
    labels = [fold.labels for fold in held]
    errors = {
        each: _error(found, labels, num_images)
        for each, found in logits.items()
    }
    least = min(errors.values())
    margin = math.sqrt(least * (1 - least) / num_images)
    chosen = max(s for s in candidates if errors[s] <= least + margin)
    temperature = _temperature(logits[chosen], labels)
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
        features = examples.read(rows)
        views = len(features) // len(rows)
        labels = np.tile(examples.labels[rows], views)
        here = np.unique(labels)
        names = [statistics.classes[label] for label in here.tolist()]
        taken_out = summed(features, np.searchsorted(here, labels), names)
        self._others = statistics.minus(taken_out)
        # A class whose images are all held out is named by nobody.
        column = {name: k for k, name in enumerate(self._others.classes)}
        places = [column.get(name, -1) for name in statistics.classes]
        there = np.array(places)[labels]
        self.labels = there[there >= 0]
        self._features = features[there >= 0]

    def logits(self, shrinkage: float) -> FloatArray:
        return heads.solve(self._others, shrinkage).logits(self._features)


def _folds(keys: Keys) -> Iterator[npt.NDArray[np.int64]]:
    digits = np.frombuffer(keys.astype(f"S{keys.itemsize}").tobytes(), np.uint8)
    last = digits.reshape(len(keys), keys.itemsize)[:, -4:].astype(np.int64)
    numbers = last @ (256 ** np.arange(4))
    if len(keys) > _FOLDS * _MOST_HELD_OUT:
        yield np.sort(np.argsort(numbers, kind="stable")[:_MOST_HELD_OUT])
        return
    for fold in range(_FOLDS):
        yield np.flatnonzero(numbers % _FOLDS == fold)


def _error(
    logits: list[FloatArray], labels: list[npt.NDArray[np.int64]], count: int
) -> float:
    wrong = sum(
        int((each.argmax(axis=1) != true).sum())
        for each, true in zip(logits, labels, strict=True)
    )
    return wrong / count


def _temperature(
    logits: list[FloatArray], labels: list[npt.NDArray[np.int64]]
) -> float:
    """The temperature of the least cross-entropy (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        total = 0.0
        for each, true in zip(logits, labels, strict=True):
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
