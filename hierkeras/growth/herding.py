"""Which images of a class stand for all of them.

Herding is Algorithm 4 of Rebuffi et al. 2017, "iCaRL: Incremental Classifier
and Representation Learning" (https://arxiv.org/abs/1611.07725): exemplars are
taken one by one, each so that the mean feature of those taken comes nearest
to the mean feature of the class. So the first of them are the best few, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_TINY = 1e-12  # a feature of zeros has no direction


def herd(features: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """Chooses exemplars of one class.

    Features are brought to length 1, and so are means, as in section 2.1 of
    the paper. No image is taken twice; of equals the first is.

    Args:
        features: float array of shape (n, f), of the images of the class.
        count: How many to choose, at least 0.

    Returns:
        int64 array of shape (min(n, count),): rows, the best one first.
    """
    directions = _normalised(np.asarray(features, np.float64))
    target = _normalised(directions.sum(axis=0))  # the mean's direction
    total = np.zeros(directions.shape[1])
    free = np.ones(len(directions), bool)
    chosen = []
    for _ in range(min(count, len(directions))):
        # Of vectors of length 1 the nearest has the greatest product.
        nearness = _normalised(total + directions) @ target
        best = int(np.where(free, nearness, -np.inf).argmax())
        free[best] = False
        total += directions[best]
        chosen.append(best)
    return np.array(chosen, np.int64)


def _normalised(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: npt.NDArray[np.float64] = vectors / np.maximum(lengths, _TINY)
    return scaled
