"""Spectral clustering of a sparse affinity, whatever the number of classes.

The normalised affinity is an operator: what is sparse stays so, and the floor
that connects all classes is a matrix of rank one. Its first eigenvectors are
found once; how many clusters there are, and every division into some, follow
from them (von Luxburg 2007, "A Tutorial on Spectral Clustering", sections 4
and 8.3, https://arxiv.org/abs/0711.0189).
"""

from __future__ import annotations

import warnings
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

Affinity: TypeAlias = sparse.csr_array
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Connects classes that are never confused: a pair far below one confused
# image, and all pairs of a class together far below what it is confused with,
# however many classes there are.
_FLOOR_OF_PAIR, _FLOOR_OF_CLASS = 1e-4, 0.1
# Up to here every eigenvector is found at once.
_DENSE = 512
_KMEANS_RUNS = 10


class Spectrum:
    """The first eigenvectors of a normalised affinity.

    Args:
        affinity: Sparse array of shape (n, n), symmetric, at least 0, with a
            zero diagonal.
        most: Most clusters that will be asked for, in [1, n].
        seed: Of every random choice.
    """

    def __init__(self, affinity: Affinity, most: int, seed: int = 0) -> None:
        self._most, self._seed = most, seed
        size = affinity.shape[0]
        floor = min(_FLOOR_OF_PAIR, _FLOOR_OF_CLASS / size)
        degrees = np.asarray(affinity.sum(axis=1)).ravel() + floor * size
        self._scale = 1 / np.sqrt(degrees)
        if size <= max(_DENSE, most + 1):
            found = self._all(affinity, floor)
        else:
            found = self._some(affinity, floor)
        self._values, self._vectors = found

    def gap(self) -> int:
        """The number of clusters before the widest gap, from 2 to `most`.

        The gap is between successive eigenvalues of the normalised Laplacian;
        the first of equals is taken. 1 if `most` allows no division.
        """
        if self._most < 2:
            return 1
        # gaps[k - 1] follows the k-th smallest eigenvalue: k clusters.
        gaps = np.diff(1 - self._values)[1 : self._most]
        return 2 + int(np.argmax(gaps)) if gaps.size else 2

    def clusters(self, count: int) -> IntArray:
        """Divides into clusters: k-means of the rows of the eigenvectors.

        Args:
            count: Number of clusters, in [1, `most`].

        Returns:
            int64 array of shape (n,), in [0, count).
        """
        size = len(self._scale)
        if count == 1:
            return np.zeros(size, np.int64)
        if count == size:
            return np.arange(size)
        rows = self._vectors[:, :count] * self._scale[:, None]
        kmeans = KMeans(count, n_init=_KMEANS_RUNS, random_state=self._seed)
        with warnings.catch_warnings():
            # There may be fewer different rows than clusters.
            warnings.simplefilter("ignore", ConvergenceWarning)
            labels: IntArray = kmeans.fit_predict(rows)
        return labels.astype(np.int64)

    def _all(
        self, affinity: Affinity, floor: float
    ) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues, largest first, and eigenvectors as columns."""
        dense = affinity.toarray() + floor
        values, vectors = linalg.eigh(
            dense * self._scale[:, None] * self._scale[None, :]
        )
        return values[::-1], vectors[:, ::-1]

    def _some(
        self, affinity: Affinity, floor: float
    ) -> tuple[FloatArray, FloatArray]:
        size = len(self._scale)

        def times(vector: FloatArray) -> FloatArray:
            scaled = self._scale * vector.ravel()
            product = affinity @ scaled + floor * scaled.sum()
            result: FloatArray = self._scale * product
            return result

        operator = LinearOperator((size, size), matvec=times, dtype=np.float64)
        start = np.random.default_rng(self._seed).uniform(-1, 1, size)
        wanted = self._most + 1
        try:
            # A wide basis: eigenvalues of many clusters lie close together.
            values, vectors = eigsh(
                operator, wanted, which="LA", v0=start, ncv=8 * wanted, tol=1e-6
            )
        except ArpackNoConvergence as error:
            # Where many divisions are as good, those found so far will do.
            values, vectors = error.eigenvalues, error.eigenvectors
            if len(values) < wanted:
                return self._all(affinity, floor)
        order = np.argsort(-values, kind="stable")
        return values[order], vectors[:, order]
