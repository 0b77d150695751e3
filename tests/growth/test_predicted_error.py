import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from hierkeras.growth.partition import partition_by_gain, symmetrised
from hierkeras.growth.predicted_error import best_partition, predicted_gain


def pairs(*confused, size):
    """The affinity of classes that are confused in pairs: (i, j, rate)."""
    affinity = np.zeros((size, size))
    for i, j, rate in confused:
        affinity[i, j] = affinity[j, i] = rate
    return sparse.csr_array(affinity)


def test_the_gain_of_four_classes_by_hand():
    # 0 and 1 are taken for each other in 20 % of their images, 2 and 3 in
    # 10 %, 1 and 2 in 5 %.
    affinity = pairs((0, 1, 0.2), (2, 3, 0.1), (1, 2, 0.05), size=4)

    # Of the images of 4 classes (2 * 0.2 + 2 * 0.1) / 4 = 15 % are confused
    # within halves, which have to tell half of the classes apart.
    assert predicted_gain(affinity, np.array([0, 0, 1, 1])) == pytest.approx(
        0.15 / 2
    )
    assert predicted_gain(affinity, np.array([0, 1, 1, 0])) == pytest.approx(
        2 * 0.05 / 4 / 2
    )
    assert predicted_gain(affinity, np.zeros(4, int)) == 0
    assert predicted_gain(affinity, np.arange(4)) == 0


def test_sizes_weigh():
    """A large superclass has more confusions, but takes less of them off."""
    affinity = np.full((8, 8), 0.02)
    np.fill_diagonal(affinity, 0)
    affinity = sparse.csr_array(affinity)

    halves = predicted_gain(affinity, np.repeat([0, 1], 4))

    # 6 * 5 and 2 * 1 ordered pairs are confused, against 2 * 4 * 3.
    lopsided = predicted_gain(affinity, np.repeat([0, 1], [6, 2]))
    assert halves == pytest.approx(24 * 0.02 / 8 * (1 / 2))
    assert lopsided == pytest.approx((30 * (1 / 4) + 2 * (3 / 4)) * 0.02 / 8)
    found = partition_by_gain(affinity, 2)
    assert np.bincount(found).tolist() == [4, 4]


@given(
    rates=hnp.arrays(float, (6, 6), elements=st.floats(0, 0.2)),
    count=st.integers(2, 3),
)
@settings(max_examples=25, deadline=None)
def test_no_move_of_a_class_is_better(rates, count):
    affinity = symmetrised(rates)

    found = partition_by_gain(rates, count)

    gain = predicted_gain(affinity, found)
    assert np.bincount(found, minlength=count).min() >= 2
    for one, to in itertools.product(range(6), range(count)):
        moved = found.copy()
        moved[one] = to
        if np.bincount(moved, minlength=count).min() >= 2:
            assert predicted_gain(affinity, moved) <= gain + 1e-9


@pytest.mark.parametrize("count", [2, 3, 4])
def test_it_finds_the_blocks_and_how_many_there_are(count):
    block = np.repeat(np.arange(count), 4)
    rates = np.where(block[:, None] == block, 0.1, 0.001)
    order = np.random.default_rng(0).permutation(len(block))

    found = partition_by_gain(rates[order][:, order], 0)

    same = found[:, None] == found
    np.testing.assert_array_equal(same, block[order][:, None] == block[order])


def test_the_best_of_the_candidates_is_improved():
    affinity = pairs((0, 1, 0.2), (2, 3, 0.1), (4, 5, 0.1), size=6)
    bad, good = np.array([0, 1, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 2])

    found = best_partition(affinity, [bad, good], smallest=2)

    assert found.tolist() == good.tolist()
    assert bad.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 2, 5])
def test_too_few_classes_stay_together(size, count):
    assert partition_by_gain(np.eye(size), count).tolist() == [0] * size
