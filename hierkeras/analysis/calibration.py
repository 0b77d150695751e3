"""How far a classifier's confidence is from its accuracy."""

from __future__ import annotations

import numpy as np


def expected_calibration_error(
    confidences: np.ndarray, correct: np.ndarray, num_bins: int = 15
) -> float:
    """Expected calibration error (Guo et al. 2017, equation 3).

    Args:
        confidences: float array of shape (n,), the probability in [0, 1] of
            the class that was named; n at least 1.
        correct: bool array of shape (n,), whether it was the true one.
        num_bins: Bins of equal width over [0, 1].

    Returns:
        The gap between confidence and accuracy in [0, 1], averaged over the
        bins with their share of the images.
    """
    bins = np.minimum((confidences * num_bins).astype(int), num_bins - 1)
    gaps = np.bincount(bins, confidences - correct, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(confidences))
