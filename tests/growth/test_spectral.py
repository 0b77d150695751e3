"""The sparse operator against dense algebra, and clusters against a library."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from hierkeras.growth import spectral
from hierkeras.growth.partition import partition
from hierkeras.growth.spectral import Spectrum

pytestmark = pytest.mark.usefixtures("one_thread")


def planted(sizes, seed=0, density=0.3):
    """A random affinity that is denser within blocks, and the blocks."""
    random = np.random.default_rng(seed)
    block = np.repeat(np.arange(len(sizes)), sizes)
    is_near = block[:, None] == block
    there = random.random(is_near.shape) < np.where(is_near, density, 0.02)
    upper = np.triu(there * random.uniform(0.02, 0.2, there.shape), 1)
    return sparse.csr_array(upper + upper.T), block


@pytest.fixture
def as_if_large(monkeypatch):
    """Has few eigenvectors found, as of many classes."""
    monkeypatch.setattr(spectral, "_DENSE", 0)


def test_few_eigenvectors_are_those_of_dense_algebra(monkeypatch):
    affinity, _ = planted((30, 40, 50))
    dense = Spectrum(affinity, 4)
    monkeypatch.setattr(spectral, "_DENSE", 0)
    few = Spectrum(affinity, 4)

    np.testing.assert_allclose(few._values, dense._values[:5], atol=1e-6)
    # A vector's sign means nothing.
    overlap = np.abs((few._vectors[:, :3] * dense._vectors[:, :3]).sum(axis=0))
    np.testing.assert_allclose(overlap, 1, atol=1e-4)


@pytest.mark.parametrize("sizes", [(30, 40), (20, 30, 40), (20, 20, 25, 30)])
def test_many_classes_are_divided_as_planted(as_if_large, sizes):
    affinity, block = planted(sizes, density=0.6)
    spectrum = Spectrum(affinity, 8)

    assert spectrum.gap() == len(sizes)
    found = spectrum.clusters(len(sizes))
    assert adjusted_rand_score(block, found) == 1


@pytest.mark.parametrize("count", [2, 3, 4])
def test_clusters_are_those_of_scikit_learn(count):
    affinity, _ = planted((20, 25, 30), seed=count)
    theirs = SpectralClustering(
        count, affinity="precomputed", random_state=0, n_init=10
    ).fit_predict(affinity.toarray() + 1e-4)

    found = Spectrum(affinity, count).clusters(count)

    assert adjusted_rand_score(theirs, found) == 1


def test_the_floor_of_many_classes_does_not_outweigh_what_is_confused():
    # Ten images of each, five of them named wrong: 1e-4 for each of 6,000
    # pairs would be as much as all of a class's mistakes.
    size, random = 6000, np.random.default_rng(0)
    block = np.repeat([0, 1, 2], size // 3)
    true = np.repeat(np.arange(size), 5)
    near = block[true] * (size // 3) + random.integers(0, size // 3, len(true))
    far = random.integers(0, size, len(true))
    named = np.where(random.random(len(true)) < 0.9, near, far)
    rates = sparse.coo_array(
        (np.full(len(true), 0.1), (true, named)), (size, size)
    )

    found = partition(rates.tocsr(), sparse.csr_array((0, size)), 0)

    assert found.max() == 2
    assert adjusted_rand_score(block, found) > 0.95


def test_as_many_clusters_as_classes_and_one_need_no_spectrum():
    affinity, _ = planted((3, 3))
    spectrum = Spectrum(affinity, 6)

    assert spectrum.clusters(6).tolist() == list(range(6))
    assert spectrum.clusters(1).tolist() == [0] * 6


def test_where_nothing_is_confused_there_are_clusters_all_the_same(as_if_large):
    nothing = sparse.csr_array((40, 40))

    assert set(Spectrum(nothing, 2).clusters(2)) <= {0, 1}


def test_many_clusters_may_be_asked_for(as_if_large):
    affinity, _ = planted((3,) * 30, density=0.9)

    assert set(Spectrum(affinity, 30).clusters(30)) == set(range(30))
