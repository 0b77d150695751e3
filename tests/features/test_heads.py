"""Solved heads: closed forms, scikit-learn's LDA, and any order of arrival."""

import functools

import numpy as np
import pytest
from scipy import special
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from hierkeras.features import heads
from hierkeras.features.statistics import Statistics, summed

CLASSES = tuple("abcde")


@pytest.fixture(scope="module")
def data():
    """Features of classes that overlap, unequal in number and in scale."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), (20, 30, 40, 15, 60))
    mixing = random.normal(0, 1, (12, 12))
    means = random.normal(0, 2, (5, 12))
    noise = random.normal(0, 1, (len(labels), 12)) @ mixing
    return (means[labels] + noise).astype(np.float16), labels


def solved(features, labels, classes=CLASSES, shrinkage=0.1):
    return heads.solve(summed(features, labels, classes), shrinkage)


def probabilities(head, features):
    return special.softmax(head.logits(features), axis=1)


def test_two_classes_by_hand():
    # Means 0 and 2, within variance (1 + 1 + 1 + 1) / (4 - 2) = 2 of one
    # feature: kernel = ∓1 / 2 about the centre 1.
    features = np.array([[-1.0], [1.0], [1.0], [3.0]])
    head = solved(features, np.array([0, 0, 1, 1]), "ab", 0.0)
    np.testing.assert_allclose(head.kernel, [[-0.5, 0.5]], rtol=1e-5)
    logits = head.logits(np.array([[1.0], [2.0]]))
    np.testing.assert_allclose(logits[0, 0], logits[0, 1], atol=1e-6)
    # log p(b) - log p(a) at 2 is (2 - 1) * (2 - 0) / 2.
    np.testing.assert_allclose(logits[1, 1] - logits[1, 0], 1, rtol=1e-5)


@pytest.mark.parametrize("shrinkage", [0.01, 0.1, 0.5, 0.9])
def test_it_is_scikit_learns_lda(data, shrinkage):
    features, labels = data
    wide = features.astype(np.float64)
    # The pooled deviation of each feature, by which scikit-learn divides
    # before it shrinks: with 1 for all, both shrink towards the same.
    apart = (
        wide - np.stack([wide[labels == k].mean(0) for k in range(5)])[labels]
    )
    wide = wide / apart.std(axis=0)
    # It weights each class's covariance by its prior, and divides by n.
    balanced = np.concatenate(
        [np.flatnonzero(labels == k)[:15] for k in range(5)]
    )
    wide, labels = wide[balanced], labels[balanced]
    apart = (
        wide - np.stack([wide[labels == k].mean(0) for k in range(5)])[labels]
    )
    wide = wide / apart.std(axis=0)
    lda = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage=shrinkage, priors=[0.2] * 5
    ).fit(wide, labels)

    head = solved(wide, labels, shrinkage=shrinkage)

    # Ours divides by n - c: its logits are as much smaller.
    spare = (len(labels) - 5) / len(labels)
    expected = lda.decision_function(wide)
    found = head.logits(wide) / spare
    np.testing.assert_allclose(
        found - found.mean(1, keepdims=True),
        expected - expected.mean(1, keepdims=True),
        rtol=1e-6,
        atol=1e-6,
    )


def test_fully_shrunk_it_is_the_nearest_mean(data):
    features, labels = data
    head = solved(features, labels, shrinkage=1.0)
    assert_nearest_mean(head, features, labels)


def assert_nearest_mean(head, features, labels):
    wide = features.astype(np.float64)
    means = np.stack([wide[labels == k].mean(0) for k in range(5)])
    random = np.random.default_rng(1).normal(0, 3, (200, wide.shape[1]))
    distances = ((random[:, None] - means) ** 2).sum(-1)
    nearest = distances.argmin(axis=1)
    np.testing.assert_array_equal(head.logits(random).argmax(axis=1), nearest)


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 1.0])
def test_one_image_a_class_gives_the_nearest_mean(data, shrinkage):
    features, labels = data
    _, first = np.unique(labels, return_index=True)
    one = features[first], labels[first]
    head = solved(*one, shrinkage=shrinkage)
    assert_nearest_mean(head, *one)


def test_what_rounding_left_within_classes_counts_not(data):
    features, labels = data
    _, first = np.unique(labels, return_index=True)
    one = summed(features[first], labels[first], CLASSES)
    # The same image twice in each class has no variance within either.
    others = np.setdiff1d(np.arange(len(labels)), first)
    rest = summed(features[others], labels[others], CLASSES)
    for left in (one, one.plus(one)):
        back = left.plus(rest).minus(rest)
        assert np.abs(back.scatter).max() > 0  # rounding
        head = heads.solve(back, 0.1)
        assert_nearest_mean(head, features[first], labels[first])


def test_features_that_never_change_are_no_trouble(data):
    features, labels = data
    constant = np.full((len(labels), 2), 7, np.float16)
    wider = np.hstack([features, constant])
    found = probabilities(solved(wider, labels), wider)
    assert np.isfinite(found).all()
    same = np.ones_like(features)
    even = probabilities(solved(same, labels), same)
    np.testing.assert_allclose(even, 0.2)


def test_a_class_is_as_likely_as_another_however_many_images(data):
    features, labels = data
    few = np.concatenate(
        [np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[:3]]
    )
    head = solved(features[few], labels[few], "ab")
    means = summed(features[few], labels[few], "ab").means
    # Half way between two means neither class is more likely.
    middle = probabilities(head, means.mean(axis=0, keepdims=True))
    np.testing.assert_allclose(middle, 0.5, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_any_stream_of_classes_gives_the_head_of_all_at_once(data, seed):
    features, labels = data
    random = np.random.default_rng(seed)
    order = random.permutation(5).tolist()
    cuts = np.sort(random.choice(np.arange(1, 5), 2, replace=False))
    batch = solved(features, labels)

    def sums(classes):
        rows = np.isin(labels, classes)
        own = np.searchsorted(np.sort(classes), labels[rows])
        names = [CLASSES[k] for k in np.sort(classes)]
        return summed(features[rows], own, names)

    steps = [sums(part) for part in np.split(np.array(order), cuts)]
    stream = functools.reduce(Statistics.plus, steps).of(CLASSES)
    head = heads.solve(stream, 0.1)

    np.testing.assert_allclose(head.kernel, batch.kernel, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(head.bias, batch.bias, rtol=1e-5)


def test_a_class_and_an_image_are_taken_out_exactly(data):
    features, labels = data
    whole = summed(features, labels, CLASSES)
    last = labels == 4
    without_class = whole.minus(summed(features[last], labels[last] * 0, "e"))
    without_image = whole.minus(summed(features[:1], labels[:1], "a"))
    rest = slice(1, None)

    for found, expected in (
        (without_class, summed(features[~last], labels[~last], CLASSES[:4])),
        (without_image, summed(features[rest], labels[rest], CLASSES)),
    ):
        ours, theirs = (heads.solve(each, 0.1) for each in (found, expected))
        np.testing.assert_allclose(ours.kernel, theirs.kernel, rtol=1e-8)
        np.testing.assert_allclose(ours.bias, theirs.bias, rtol=1e-8)


def test_a_temperature_changes_no_answer(data):
    features, labels = data
    head = solved(features, labels)
    warm = head.at(4.0)
    np.testing.assert_allclose(warm.logits(features) * 4, head.logits(features))
