"""Divides the classes of a leaf into superclasses.

Section 4.1 of the paper: the old classes are clustered by spectral
clustering of their confusion matrix; each new class joins the superclass
that it is confused with most.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from hierkeras.growth.predicted_error import best_partition
from hierkeras.growth.preview import Rates
from hierkeras.growth.spectral import Affinity, IntArray, Spectrum

# A superclass of one class has nothing left to decide.
_MIN_SIZE = 2
_MAX_SUPERCLASSES = 8


def partition(
    old: Rates, new: Rates, num_superclasses: int, seed: int = 0
) -> IntArray:
    """Divides old and new classes into superclasses.

    No superclass is empty, and none has a single class: where clustering
    leaves one too small, it is given the class most confused with it from a
    superclass that can spare one. If there are fewer than two classes to a
    superclass, fewer superclasses are made.

    Args:
        old: Array of shape (n, n), dense or sparse: the rate at which
            old class `i` is taken for old class `j`, in [0, 1]; what is
            beyond is brought there, and what is not finite counts as 0.
        new: Array of shape (m, n): the same of the new classes.
        num_superclasses: K, at least 1; 0: chosen by the widest gap between
            eigenvalues, see `hierkeras.growth.spectral`.
        seed: Of the clustering.

    Returns:
        int array of shape (n + m,): the superclass of each class, old ones
        first. They are numbered from 0 in order of their first class; a
        single superclass means that there is nothing to divide.
    """
    affinity = symmetrised(old)
    confusion = _rates(new)
    classes = affinity.shape[0] + confusion.shape[0]
    most = min(affinity.shape[0], classes // _MIN_SIZE)
    few = num_superclasses or min(most, _MAX_SUPERCLASSES)
    spectrum = Spectrum(affinity, max(1, min(few, most)), seed)
    count = num_superclasses or spectrum.gap()
    count = max(1, min(count, most))
    return _renumbered(_clustered(spectrum, affinity, confusion, count))


def partition_by_gain(
    rates: Rates, num_superclasses: int, seed: int = 0
) -> IntArray:
    """Divides classes so that the whole tree's predicted error is least.

    See `hierkeras.growth.predicted_error`. The clusters of `partition` are
    where the search begins.

    Args:
        rates: Array of shape (n, n), dense or sparse: the rate at which
            class `i` is taken for class `j`; cleaned as `partition` does.
        num_superclasses: K, at least 1; 0: that of 2 to 8 with the least
            predicted error.
        seed: Of the clustering.

    Returns:
        As `partition` does.
    """
    affinity = symmetrised(rates)
    most = max(1, affinity.shape[0] // _MIN_SIZE)
    counts = (
        [min(num_superclasses, most)]
        if num_superclasses
        else range(min(2, most), min(most, _MAX_SUPERCLASSES) + 1)
    )
    none_new = sparse.csr_array((0, affinity.shape[0]))
    spectrum = Spectrum(affinity, max(counts), seed)
    candidates = (
        _clustered(spectrum, affinity, none_new, count) for count in counts
    )
    return _renumbered(best_partition(affinity, candidates, _MIN_SIZE))


def symmetrised(confusion: Rates) -> Affinity:
    """The similarity of classes: the mean of both directions of confusion.

    Args:
        confusion: Array of shape (n, n), dense or sparse.

    Returns:
        Sparse array of shape (n, n), symmetric, at least 0, finite, with a
        zero diagonal: being right says nothing about others.
    """
    clean = _rates(confusion)
    # A subtraction leaves exact zeros, which are dropped.
    similar = ((clean + clean.T) / 2).tocsr()
    similar = (similar - sparse.diags_array(similar.diagonal())).tocsr()
    similar.eliminate_zeros()
    return similar


def _rates(confusion: Rates) -> sparse.csr_array:
    found = sparse.csr_array(confusion, dtype=np.float64, copy=True)
    finite = np.nan_to_num(found.data, nan=0.0, posinf=0.0, neginf=0.0)
    found.data = np.clip(finite, 0.0, 1.0)
    return found


def _clustered(
    spectrum: Spectrum,
    affinity: Affinity,
    confusion: sparse.csr_array,
    count: int,
) -> IntArray:
    clusters = spectrum.clusters(count)
    members = np.eye(count)[clusters]
    everything = np.concatenate(
        [clusters, (confusion @ members).argmax(axis=1)]
    )
    towards = sparse.vstack([affinity, confusion]).tocsr()
    return _balanced(everything, towards, count)


def _balanced(
    labels: IntArray, towards: sparse.csr_array, count: int
) -> IntArray:
    """Fills superclasses that are too small from those that can spare.

    Args:
        labels: int array of shape (n + m,), the superclass of each class.
        towards: Sparse array of shape (n + m, n), how much each class is
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
        near = towards @ (labels[:num_old] == small).astype(np.float64)
        spare = sizes[labels] > _MIN_SIZE
        labels[np.where(spare, near, -1.0).argmax()] = small


def _renumbered(labels: IntArray) -> IntArray:
    _, first, inverse = np.unique(
        labels, return_index=True, return_inverse=True
    )
    order = np.argsort(np.argsort(first))
    return order[inverse].astype(np.int64)
