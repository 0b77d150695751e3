import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierkeras.growth.herding import herd


def at(*degrees, length=1.0):
    """Features of that length in these directions of the plane."""
    angles = np.deg2rad(degrees)
    return length * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def normalised(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def distance(features, rows):
    """Between the mean feature of some rows and that of all."""
    directions = normalised(features)
    some = normalised(directions[rows].mean(axis=0))
    return np.linalg.norm(some - normalised(directions.mean(axis=0)))


def test_an_example_worked_by_hand():
    # Unit vectors at 0, 30, 40 and 80 degrees: (1, 0), (0.8660, 0.5),
    # (0.7660, 0.6428) and (0.1736, 0.9848), of mean (0.7014, 0.5319), which is
    # at 37.2. First comes 40. With it 0, 30 and 80 have means at 20, 35 and
    # 60, of which 35 is nearest. With 30 and 40 the mean of 0 is at 23.5 and
    # that of 80 at 49.7, which is 12.5 off and not 13.7.
    features = at(80, 0, 40, 30)

    assert herd(features, 4).tolist() == [2, 3, 0, 1]


def test_the_length_of_a_feature_does_not_matter():
    features = at(80, 0, 40, 30) * np.array([[1.0], [50.0], [0.1], [3.0]])

    assert herd(features, 4).tolist() == [2, 3, 0, 1]


@pytest.mark.parametrize("count", [0, 1, 3, 9])
def test_there_are_as_many_as_there_can_be(count):
    chosen = herd(at(10, 20, 40), count)

    assert len(chosen) == min(count, 3)
    assert len(set(chosen.tolist())) == len(chosen)
    assert chosen.dtype == np.int64


def test_of_equals_and_of_zeros_each_is_taken_once():
    assert herd(np.ones((3, 2)), 3).tolist() == [0, 1, 2]
    assert sorted(herd(np.zeros((3, 2)), 3).tolist()) == [0, 1, 2]
    assert herd(np.zeros((0, 2)), 3).tolist() == []


# As they are below a softmax: not negative, no two of them alike.
FEATURES = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).exponential(size=(12, 4))
)


@given(features=FEATURES, count=st.integers(1, 12))
def test_each_comes_nearest_to_the_mean_of_all(features, count):
    chosen = herd(features, count).tolist()

    for taken, best in enumerate(chosen):
        before = chosen[:taken]
        others = set(range(len(features))) - set(before)
        least = min(distance(features, [*before, row]) for row in others)
        assert distance(features, [*before, best]) <= least + 1e-9


@given(features=FEATURES, few=st.integers(0, 12))
def test_the_first_are_what_fewer_would_be(features, few):
    assert (herd(features, 12)[:few] == herd(features, few)).all()
