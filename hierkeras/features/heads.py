"""Heads in closed form: shrinkage LDA.

A head is what a node adds to a frozen trunk: a column for each class. Linear
discriminant analysis takes each class for a Gaussian with a covariance that
all share, estimated within classes and shrunk towards a multiple of the
identity, without which few images would give a singular one (Friedman 1989,
"Regularized Discriminant Analysis", https://doi.org/10.2307/2289860, section
3, as scikit-learn's `LinearDiscriminantAnalysis` with `solver="lsqr"`). Fully
shrunk it is the nearest class mean, which is all that one image of a class can
give.

Its cost follows features and classes, not images: f^3 / 3 + f^2 c
multiply-adds.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import linalg

from hierkeras.features.statistics import FloatArray, Statistics

# Features are float16, whose steps are of a larger part than its root.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """A linear classifier of features.

    Args:
        kernel: float64 array of shape (f, c).
        bias: float64 array of shape (c,).
    """

    kernel: FloatArray
    bias: FloatArray

    def logits(self, features: npt.NDArray[np.floating]) -> FloatArray:
        """Log-probabilities, up to a constant a row, of float (n, f)."""
        found: FloatArray = (
            features.astype(np.float64, copy=False) @ self.kernel + self.bias
        )
        return found

    def at(self, temperature: float) -> Head:
        """The same answers, less sure of them where it is above 1."""
        return Head(self.kernel / temperature, self.bias / temperature)


def solve(statistics: Statistics, shrinkage: float) -> Head:
    """Solves shrinkage LDA; every class is as likely as any other.

    Rare classes are not less likely to be asked for than classes with many
    photos: how many somebody took says little of that.

    Args:
        statistics: Sums over the images of the head's classes.
        shrinkage: Part of the covariance, in [0, 1], that is the identity
            times its mean variance.
    """
    covariance = _shrunk(statistics, shrinkage)
    # Of what all classes share nothing is told apart: less of it is rounding.
    centre = statistics.means.mean(axis=0)
    means = statistics.means - centre
    # Not `linalg.solve`, which also estimates a condition number; and NumPy's,
    # for SciPy's is ten times slower where cores are busy.
    factor = np.linalg.cholesky(covariance)
    kernel = linalg.cho_solve((factor, True), means.T)
    bias = -0.5 * np.einsum("fc,cf->c", kernel, means) - centre @ kernel
    return Head(kernel, bias)


def _shrunk(statistics: Statistics, shrinkage: float) -> FloatArray:
    """The covariance within classes, shrunk; positive definite."""
    spare = int(statistics.counts.sum()) - len(statistics.classes)
    within = statistics.scatter / max(spare, 1)
    variance = float(np.trace(within)) / statistics.num_features
    between = _between(statistics)
    # One image a class: there is nothing within, or what rounding left of
    # images that were taken out again.
    if not spare or variance <= _ROUNDING * between:
        return np.eye(statistics.num_features) * between
    covariance: FloatArray = (1 - shrinkage) * within
    # A feature that never changes has no variance, whatever the others have.
    covariance.flat[:: statistics.num_features + 1] += variance * max(
        shrinkage, 1e-6
    )
    return covariance


def _between(statistics: Statistics) -> float:
    """The mean variance of the class means; 1 where they are all the same."""
    variance = float(statistics.means.var(axis=0).mean())
    return variance if variance > 0 else 1.0
