"""Which images of a class are held out together."""

import numpy as np

from hierkeras.features import groups
from hierkeras.features.shards import KEY_TYPE


def keys_of(count):
    random = np.random.default_rng(0)
    return np.array([random.bytes(16) for _ in range(count)], KEY_TYPE)


def test_what_looks_alike_is_one_group():
    random = np.random.default_rng(0)
    centres = random.normal(0, 10, (4, 8))
    series = random.permutation(np.repeat(np.arange(4), 7))
    features = centres[series] + random.normal(0, 0.1, (28, 8))
    found = groups.groups(features, np.zeros(28, np.int32))
    assert sorted(set(found.tolist())) == [0, 1, 2, 3]
    assert len(set(zip(series.tolist(), found.tolist(), strict=True))) == 4


def test_each_class_is_divided_by_itself():
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (40, 5))
    labels = np.repeat([0, 1], 20).astype(np.int32)
    both = groups.groups(features, labels)
    for label in (0, 1):
        alone = groups.groups(features[labels == label], np.zeros(20, np.int32))
        np.testing.assert_array_equal(both[labels == label], alone)


def test_no_group_is_all_of_a_class():
    random = np.random.default_rng(0)
    for count in range(2, 9):
        for features in (
            random.normal(size=(count, 3)),
            np.ones((count, 3)),
            np.full((count, 3), 0.1),  # the mean of which is not 0.1
            np.eye(count),  # all equally far apart
        ):
            found = groups.groups(features, np.zeros(count, np.int32)).tolist()
            assert 2 <= len(set(found)) <= 4
            assert set(found) <= {0, 1, 2, 3}


def test_the_same_image_is_in_one_group_where_there_are_others():
    features = np.repeat(np.eye(2), [5, 4], axis=0)
    found = groups.groups(features, np.zeros(9, np.int32))
    assert found.tolist() in ([0] * 5 + [1] * 4, [1] * 5 + [0] * 4)


def test_an_image_alone_is_never_held_out():
    labels = np.array([0, 1, 1, 2], np.int32)
    rows, count = groups.held_out(keys_of(4), labels, ("a", "b", "c"))
    assert (sorted(rows.tolist()), count) == ([1, 2], 4)
    rows, _ = groups.held_out(keys_of(1), labels[:1], ("a",))
    assert not len(rows)


def test_of_many_images_some_classes_tell_whatever_the_order(monkeypatch):
    monkeypatch.setattr(groups, "_MOST_IMAGES", 10)
    names = ("ant", "bee", "cow", "dog")
    labels = np.repeat(np.arange(4), 4).astype(np.int32)
    keys = keys_of(16)
    rows, count = groups.held_out(keys, labels, names)
    assert (len(rows), count) == (8, 1)
    order = np.random.default_rng(1).permutation(16)
    again, _ = groups.held_out(keys[order], labels[order], names)
    assert keys[order][again].tolist() == keys[rows].tolist()
    # The classes came in another order.
    other, _ = groups.held_out(keys, 3 - labels, names[::-1])
    assert keys[other].tolist() == keys[rows].tolist()


def test_a_class_of_very_many_images_is_told_by_some(monkeypatch):
    monkeypatch.setattr(groups, "_MOST_OF_A_CLASS", 5)
    keys, labels = keys_of(20), np.repeat([0, 1], [17, 3]).astype(np.int32)
    rows, _ = groups.held_out(keys, labels, ("a", "b"))
    assert np.bincount(labels[rows]).tolist() == [5, 3]
    kept = sorted(keys[:17].tolist())[:5]
    assert sorted(keys[rows][labels[rows] == 0].tolist()) == kept
