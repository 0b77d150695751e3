"""Error-driven preview: what the current model takes the images for.

Section 4.1 of the paper: before anything is trained, validation images of
the old and of the new classes go through the current model; whom they are
confused with tells which classes belong together.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from hierkeras.recipe.growth import ConfusionCounts

# Dense or sparse: most pairs of many classes are never confused.
Rates: TypeAlias = "npt.NDArray[np.float64] | sparse.csr_array"


def confusion_rates(
    probabilities: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    num_classes: int,
    counts: ConfusionCounts = "hard",
) -> Rates:
    """How often each class is taken for each of the model's outputs.

    Args:
        probabilities: float array of shape (n, c), the model's outputs.
        labels: int array of shape (n,), the true classes in
            [0, num_classes); they need not be classes of the model.
        num_classes: Number of true classes.
        counts: `hard` counts the most probable output of an image, the
            first of equals; `soft` its probabilities.

    Returns:
        Float array of shape (num_classes, c), sparse where images are counted:
        the probability that an image of class `i` is taken for output `j`. A
        row without images is zero.
    """
    size = probabilities.shape[1]
    images = np.maximum(np.bincount(labels, minlength=num_classes), 1)
    if counts == "hard":
        named = probabilities.argmax(axis=1)
        # What is there twice is added up.
        pairs = sparse.coo_array(
            (1.0 / images[labels], (labels, named)), (num_classes, size)
        )
        return pairs.tocsr()
    totals = np.zeros((num_classes, size))
    np.add.at(totals, labels, probabilities)
    rates: npt.NDArray[np.float64] = totals / images[:, None]
    return rates
