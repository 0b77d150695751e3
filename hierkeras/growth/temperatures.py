"""Chooses temperatures, so that a probability is the share that is right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import optimize

from hierkeras.tree.routing import temper

# Of the logarithm of a temperature: where it is searched, and the standard
# deviation of a normal prior, which keeps it near 1 where few images tell.
_BOUNDS = (-np.log(4.0), np.log(4.0))
_PRIOR = 0.5
# Keeps the logarithm of a probability that underflowed finite.
_TINY = 1e-12


def of_answers(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int32]
) -> float:
    """The temperature of a tree's whole answer.

    It minimises the negative log-likelihood of whether the class that is
    named is the true one (top-label calibration, Gupta & Ramdas 2022,
    https://arxiv.org/abs/2107.08425). That of the labels would not do: hard
    routing gives a probability of 0 to all classes but those of one leaf.

    Args:
        probabilities: float array of shape (n, c), the tree's answers.
        labels: int array of shape (n,), the true classes.

    Returns:
        A temperature in [1/4, 4].
    """
    is_right = probabilities.argmax(axis=1) == labels

    def loss(temperature: float) -> float:
        named = temper(probabilities, temperature).max(axis=1)
        own = np.where(is_right, named, 1.0 - named)
        return float(-np.log(np.maximum(own, _TINY)).sum())

    return _least(loss)


def _least(loss: Callable[[float], float]) -> float:
    found = optimize.minimize_scalar(
        lambda log: loss(np.exp(log)) + 0.5 * (log / _PRIOR) ** 2,
        bounds=_BOUNDS,
        method="bounded",
        options={"xatol": 1e-4},
    )
    return round(float(np.exp(found.x)), 4)
