"""Error-driven preview: what the current model takes the images for.

Section 4.1 of the paper: before anything is trained, validation images of
the old and of the new classes go through the current model; whom they are
confused with tells which classes belong together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hierkeras.recipe.growth import ConfusionCounts

FloatArray = npt.NDArray[np.float64]


def confusion_rates(
    probabilities: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    num_classes: int,
    counts: ConfusionCounts = "hard",
) -> FloatArray:
    """How often each class is taken for each of the model's outputs.

    Args:
        probabilities: float array of shape (n, c), the model's outputs.
        labels: int array of shape (n,), the true classes in
            [0, num_classes); they need not be classes of the model.
        num_classes: Number of true classes.
        counts: `hard` counts the most probable output of an image, the
            first of equals; `soft` its probabilities.

    Returns:
        float array of shape (num_classes, c): the probability that an image
        of class `i` is taken for output `j`. A row without images is zero.
    """
    taken = np.asarray(probabilities, dtype=np.float64)
    if counts == "hard":
        taken = np.eye(taken.shape[1])[taken.argmax(axis=1)]
    totals = np.zeros((num_classes, taken.shape[1]))
    np.add.at(totals, labels, taken)
    images = np.bincount(labels, minlength=num_classes)[:, None]
    rates: FloatArray = totals / np.maximum(images, 1)
    return rates
