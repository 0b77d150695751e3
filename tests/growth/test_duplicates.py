import numpy as np
import pytest

from hierkeras.data.catalogue import Catalogue
from hierkeras.growth.duplicates import find_duplicates
from hierkeras.tree.generation import Duplicates

TRAIN, VALIDATION, TEST = range(3)
ANT, BEE = range(2)


@pytest.fixture
def find():
    """A function from (class, split, hash) of each image to what is found."""

    def find(rows, fresh=("ant", "bee")):
        labels, splits, hashes = np.array(rows).T
        keys = np.array([f"k{i}" for i in range(len(rows))])
        catalogue = Catalogue(
            ("ant", "bee"),
            keys,
            labels.astype(np.int32),
            splits.astype(np.int8),
            hashes,
        )
        indices = np.arange(len(rows))
        return find_duplicates(
            catalogue, indices, hashes.astype(np.uint64), fresh
        )

    return find


def test_images_that_differ_are_no_duplicates(find):
    assert find([(ANT, TRAIN, 1), (BEE, TRAIN, 2), (ANT, TEST, 3)]) == ()


def test_twice_in_one_class_and_split_does_no_harm(find):
    assert find([(ANT, TRAIN, 1), (ANT, TRAIN, 1)]) == ()


def test_each_place_is_told_with_its_first_pairs(find):
    rows = [
        (ANT, TRAIN, 7),
        (ANT, TEST, 8),
        (BEE, TRAIN, 7),
        (BEE, TRAIN, 7),
        (ANT, TRAIN, 8),
        (ANT, VALIDATION, 8),
        (BEE, TEST, 9),
        (BEE, TRAIN, 9),
    ]

    assert find(rows) == (
        Duplicates("train and test", 2, (("k4", "k1"), ("k7", "k6"))),
        Duplicates("train and validation", 1, (("k4", "k5"),)),
        Duplicates("two classes", 1, (("k0", "k2"),)),
        Duplicates("validation and test", 1, (("k5", "k1"),)),
    )


def test_what_is_equal_among_old_classes_was_told_before(find):
    rows = [(ANT, VALIDATION, 7), (ANT, TRAIN, 7), (ANT, TRAIN, 8)]

    assert find(rows, fresh=("bee",)) == ()
    (found,) = find([*rows, (BEE, TRAIN, 8)], fresh=("bee",))
    assert (found.where, found.count) == ("two classes", 1)


def test_equal_images_of_a_whole_data_set_are_one(find):
    rows = [(i % 2, i % 3, 1) for i in range(50_000)]

    found = find(rows)

    assert [(one.count, len(one.pairs)) for one in found] == [(1, 1)] * 4


def test_many_are_counted_and_a_few_named(find):
    rows = [(label, TRAIN, i) for label in (ANT, BEE) for i in range(1000)]

    (found,) = find(rows)

    assert found.count == 1000
    assert found.pairs[:2] == (("k0", "k1000"), ("k1", "k1001"))
    assert len(found.pairs) == 10
