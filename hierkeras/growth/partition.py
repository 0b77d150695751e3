"""Divides the classes of a leaf into superclasses.

Section 4.1 of the paper: the old classes are clustered by spectral
clustering of their confusion matrix; each new class joins the superclass
that it is confused with most.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import SpectralClustering

from hierkeras.growth.predicted_error import IntArray, best_partition
from hierkeras.growth.preview import FloatArray

# A superclass of one class has nothing left to decide.
_MIN_SIZE = 2
# Connects classes that are never confused; far below one confused image.
_FLOOR = 1e-4
_MAX_SUPERCLASSES = 8


def partition(
    old: FloatArray, new: FloatArray, num_superclasses: int, seed: int = 0
) -> IntArray:
    """Divides old and new classes into superclasses.

    No superclass is empty, and none has a single class: where clustering
    leaves one too small, it is given the class most confused with it from a
    superclass that can spare one. If there are fewer than two classes to a
    superclass, fewer superclasses are made.

    Args:
        old: float array of shape (n, n): the rate at which old class `i` is
            taken for old class `j`, in [0, 1]; what is beyond is brought
            there, and what is not finite counts as 0.
        new: float array of shape (m, n): the same of the new classes.
        num_superclasses: K, at least 1; 0: chosen by `eigengap`.
        seed: Of the clustering.

    Returns:
        int array of shape (n + m,): the superclass of each class, old ones
        first. They are numbered from 0 in order of their first class; a
        single superclass means that there is nothing to divide.
    """
    affinity = symmetrised(old)
    confusion = _rates(new)
    most = min(len(affinity), (len(affinity) + len(confusion)) // _MIN_SIZE)
    count = num_superclasses or eigengap(affinity, min(most, _MAX_SUPERCLASSES))
    count = max(1, min(count, most))
    return _renumbered(_clustered(affinity, confusion, count, seed))


def partition_by_gain(
    rates: FloatArray, num_superclasses: int, seed: int = 0
) -> IntArray:
    """Divides classes so that the whole tree's predicted error is least.

    See `hierkeras.growth.predicted_error`. The clusters of `partition` are
    where the search begins.

    Args:
        rates: float array of shape (n, n): the rate at which class `i` is
            taken for class `j`; cleaned as `partition` does.
        num_superclasses: K, at least 1; 0: that of 2 to 8 with the least
            predicted error.
        seed: Of the clustering.

    Returns:
        As `partition` does.
    """
    affinity = symmetrised(rates)
    most = max(1, len(affinity) // _MIN_SIZE)
    counts = (
        [min(num_superclasses, most)]
        if num_superclasses
        else range(min(2, most), min(most, _MAX_SUPERCLASSES) + 1)
    )
    none_new = np.zeros((0, len(affinity)))
    candidates = (
        _clustered(affinity, none_new, count, seed) for count in counts
    )
    return _renumbered(best_partition(affinity, candidates, _MIN_SIZE))


def symmetrised(confusion: FloatArray) -> FloatArray:
    """The similarity of classes: the mean of both directions of confusion.

    Args:
        confusion: float array of shape (n, n).

    Returns:
        float array of shape (n, n), symmetric, at least 0, finite, with a
        zero diagonal: being right says nothing about others.
    """
    clean = _rates(confusion)
    similar: FloatArray = (clean + clean.T) / 2
    np.fill_diagonal(similar, 0.0)
    return similar


def eigengap(affinity: FloatArray, most: int = _MAX_SUPERCLASSES) -> int:
    """The number of clusters that the affinity itself suggests.

    The largest gap between successive eigenvalues of the normalised
    Laplacian (von Luxburg 2007, "A Tutorial on Spectral Clustering",
    section 8.3), among 2 to `most` clusters.

    Args:
        affinity: float array of shape (n, n), symmetric, at least 0.
        most: Most clusters, at most n.

    Returns:
        The number of clusters; 1 if `most` allows no division.
    """
    if most < 2:
        return 1
    connected = affinity + _FLOOR
    root = np.sqrt(connected.sum(axis=1))
    laplacian = np.eye(len(root)) - connected / root[:, None] / root[None, :]
    # gaps[k - 1] follows the k-th smallest eigenvalue: k clusters.
    gaps = np.diff(np.linalg.eigvalsh(laplacian))[1:most]
    return 2 + int(np.argmax(gaps)) if gaps.size else 2


def _rates(confusion: FloatArray) -> FloatArray:
    finite = np.nan_to_num(confusion, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(finite, 0.0, 1.0)


def _clustered(
    affinity: FloatArray, confusion: FloatArray, count: int, seed: int
) -> IntArray:
    clusters = _cluster(affinity, count, seed)
    members = np.eye(count)[clusters]
    everything = np.concatenate(
        [clusters, (confusion @ members).argmax(axis=1)]
    )
    towards = np.concatenate([affinity, confusion])
    return _balanced(everything, towards, count)


def _cluster(affinity: FloatArray, count: int, seed: int) -> IntArray:
    if count == 1:
        return np.zeros(len(affinity), dtype=np.int64)
    if count == len(affinity):
        return np.arange(count)
    clustering = SpectralClustering(
        count, affinity="precomputed", random_state=seed, n_init=10
    )
    with warnings.catch_warnings():
        # Its solver may not converge where many divisions are as good; it
        # says so and takes another.
        warnings.simplefilter("ignore", RuntimeWarning)
        labels: IntArray = clustering.fit_predict(affinity + _FLOOR)
    return labels.astype(np.int64)


def _balanced(labels: IntArray, towards: FloatArray, count: int) -> IntArray:
    """Fills superclasses that are too small from those that can spare.

    Args:
        labels: int array of shape (n + m,), the superclass of each class.
        towards: float array of shape (n + m, n), how much each class is
            confused with each old class.
        count: Number of superclasses; at most half of the classes.
    """
    labels = labels.copy()
    num_old = towards.shape[1]
    while True:
        sizes = np.bincount(labels, minlength=count)
        small = int(sizes.argmin())
        if sizes[small] >= _MIN_SIZE or sizes.max() <= _MIN_SIZE:
            return labels
        near = towards[:, labels[:num_old] == small].sum(axis=1)
        spare = sizes[labels] > _MIN_SIZE
        labels[np.where(spare, near, -1.0).argmax()] = small


def _renumbered(labels: IntArray) -> IntArray:
    _, first, inverse = np.unique(
        labels, return_index=True, return_inverse=True
    )
    order = np.argsort(np.argsort(first))
    return order[inverse].astype(np.int64)
