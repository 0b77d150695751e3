"""Sums that add and subtract, by hand and in any order."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierkeras.features import statistics
from hierkeras.features.statistics import Statistics, summed

FLOATS = st.floats(-100, 100, allow_nan=False, width=16)


def assert_same(found: Statistics, expected: Statistics, atol=1e-8) -> None:
    assert set(found.classes) == set(expected.classes)
    found = found.of(expected.classes)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_allclose(found.means, expected.means, atol=atol)
    scale = max(1.0, float(np.abs(expected.scatter).max(initial=0)))
    np.testing.assert_allclose(
        found.scatter / scale, expected.scatter / scale, atol=atol
    )


def drawn(seed: int, count: int, classes: str, num_features: int = 5):
    random = np.random.default_rng(seed)
    labels = np.concatenate(
        [
            np.arange(len(classes)),
            random.integers(0, len(classes), count - len(classes)),
        ]
    )
    features = random.normal(0, 1, (count, num_features)) + labels[:, None]
    return features.astype(np.float16), labels


def test_worked_by_hand():
    features = np.array([[1.0, 0.0], [3.0, 4.0], [5.0, 5.0]])
    found = summed(features, np.array([0, 0, 1]), ("a", "b"))
    assert found.classes == ("a", "b")
    assert found.counts.tolist() == [2, 1]
    assert found.means.tolist() == [[2, 2], [5, 5]]
    # Deviations of a: (-1, -2) and (1, 2); b is its own mean.
    assert found.scatter.tolist() == [[2, 4], [4, 8]]
    assert found.num_features == 2


def test_a_class_in_both_is_pooled_by_hand():
    one = summed(np.array([[0.0]]), np.array([0]), "a")
    other = summed(np.array([[2.0], [4.0]]), np.array([0, 0]), "a")
    both = one.plus(other)
    assert (both.counts.tolist(), both.means.tolist()) == ([3], [[2]])
    assert both.scatter.tolist() == [[8]]  # 4 + 0 + 4
    back = both.minus(other)
    assert (back.counts.tolist(), back.means.tolist()) == ([1], [[0]])
    assert back.scatter.tolist() == [[0]]


@given(st.data())
def test_any_parts_in_any_order_are_the_sums_of_all(data):
    count = data.draw(st.integers(1, 20))
    features = np.array(
        data.draw(
            st.lists(
                st.tuples(FLOATS, FLOATS, FLOATS),
                min_size=count,
                max_size=count,
            )
        )
    )
    labels = np.array(
        data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    )
    part = np.array(
        data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    )

    def of(rows):
        here, own = np.unique(labels[rows], return_inverse=True)
        return summed(features[rows], own, [f"c{k}" for k in here])

    parts = data.draw(st.permutations(np.unique(part).tolist()))
    pieces = [of(np.flatnonzero(part == number)) for number in parts]
    whole = of(np.arange(count))

    assert_same(functools.reduce(Statistics.plus, pieces), whole)
    left = functools.reduce(Statistics.minus, pieces[1:], whole)
    assert_same(left, pieces[0])


def test_a_class_of_which_nothing_is_left_is_gone():
    features, labels = drawn(0, 30, "abc")
    whole = summed(features, labels, "abc")
    of_b = summed(features[labels == 1], labels[labels == 1] * 0, "b")
    kept = labels != 1
    expected = summed(features[kept], labels[kept] // 2, "ac")

    assert_same(whole.minus(of_b), expected, 1e-12)
    nothing = whole.minus(whole)
    assert (nothing.classes, len(nothing.counts)) == ((), 0)
    assert nothing.means.shape == (0, 5)


def test_what_is_not_in_them_cannot_be_taken_out():
    features, labels = drawn(0, 10, "ab")
    whole = summed(features, labels, "ab")
    for other in (
        summed(features, labels, "ac"),  # another class
        whole.plus(whole),  # more images than there are
    ):
        with pytest.raises(ValueError, match="images that are in these"):
            whole.minus(other)


def test_another_order_of_the_classes():
    features, labels = drawn(0, 30, "abc")
    found = summed(features, labels, "abc").of("cab")
    swapped = np.array([1, 2, 0])[labels]
    assert_same(found, summed(features, swapped, "cab"), 1e-12)
    assert found.classes == tuple("cab")
    for others in ("ab", "abd", "abcc"):
        with pytest.raises(ValueError, match="the 3 classes that the sums"):
            found.of(others)


def test_a_class_without_a_row_is_refused():
    with pytest.raises(ValueError, match="Class 'b' has no features"):
        summed(np.zeros((1, 2)), np.array([0]), ("a", "b"))


def test_many_rows_go_in_blocks(monkeypatch):
    features, labels = drawn(0, 100, "abc")
    whole = summed(features, labels, "abc")
    monkeypatch.setattr(statistics, "_BLOCK", 7)
    assert_same(summed(features, labels, "abc"), whole, 1e-12)


def test_narrow_classes_far_from_zero_keep_their_scatter():
    random = np.random.default_rng(0)
    near = random.normal(0, 1e-4, (1000, 2))
    found = summed(1e4 + near, np.zeros(1000, int), "a")
    np.testing.assert_allclose(
        found.scatter, summed(near, np.zeros(1000, int), "a").scatter, rtol=1e-4
    )


def test_sums_of_parts_leave_their_parts_as_they_were():
    features, labels = drawn(0, 30, "abc")
    one, other = (summed(features, labels, "abc") for _ in range(2))
    kept = [one.counts.copy(), one.means.copy(), one.scatter.copy()]
    one.plus(other)
    one.minus(other)
    for now, before in zip(
        (one.counts, one.means, one.scatter), kept, strict=True
    ):
        np.testing.assert_array_equal(now, before)
