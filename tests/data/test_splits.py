import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierkeras._errors import UsageError, UserError
from hierkeras.data.catalogue import EXCLUDED, SPLITS
from hierkeras.data.splits import assign_splits, check_enough, places

TRAIN, VALIDATION, TEST = range(3)


def split(keys, own=None, labels=None, excluded=None, **fractions):
    """Splits of keys that are all of one class, unless labels are given."""
    labels = np.zeros(len(keys), np.int32) if labels is None else labels
    return assign_splits(
        places(keys),
        np.array(labels, np.int32),
        None if own is None else np.array(own, object),
        num_classes=max(labels, default=0) + 1,
        excluded=None if excluded is None else np.array(excluded, bool),
        **fractions,
    ).tolist()


def names(count, prefix="ant"):
    return [f"{prefix}/{number}.jpg" for number in range(count)]


def test_shares_are_the_papers_within_binomial_bounds():
    size = 20_000

    splits = split(names(size))

    for index, share in ((TRAIN, 0.85), (VALIDATION, 0.05), (TEST, 0.10)):
        deviation = math.sqrt(size * share * (1 - share))
        assert abs(splits.count(index) - size * share) < 4 * deviation


def test_the_hash_of_the_key_decides():
    splits = split(names(30))

    # `printf ant/7.jpg | sha256sum` begins with 15fa, 0.086 of 10000
    # (hexadecimal); the others with 2130: 0.130, 260a: 0.149, 3660: 0.212.
    assert splits[7] == TEST
    assert splits[21] == VALIDATION
    assert splits[27] == VALIDATION
    assert splits[3] == TRAIN


@given(old=st.integers(0, 400), new=st.integers(0, 400))
@settings(max_examples=30, deadline=None)
def test_adding_files_never_tests_on_what_was_trained_on(old, new):
    before = split(names(old))

    after = split(names(old) + names(new, "more"))[:old]

    moved = {(b, a) for b, a in zip(before, after, strict=True) if b != a}
    assert (TRAIN, TEST) not in moved
    if old >= 200:  # Then no split was empty: nothing moves at all.
        assert before == after


@given(st.permutations(names(40)))
@settings(max_examples=10, deadline=None)
def test_order_does_not_matter(keys):
    expected = dict(zip(names(40), split(names(40)), strict=True))

    assert split(keys) == [expected[key] for key in keys]


@given(size=st.integers(3, 60), prefix=st.text("abc", max_size=3))
@settings(max_examples=50, deadline=None)
def test_three_images_fill_every_split(size, prefix):
    assert set(split(names(size, prefix))) == {TRAIN, VALIDATION, TEST}


@pytest.mark.parametrize("size", [0, 1, 2])
def test_fewer_images_are_split_without_an_error(size):
    splits = split(names(size))

    assert len(splits) == size
    assert len(set(splits)) == size


def test_classes_are_filled_one_by_one():
    labels = [0] * 3 + [1] * 3

    splits = split(names(3) + names(3, "bee"), labels=labels)

    assert set(splits[:3]) == set(splits[3:]) == {TRAIN, VALIDATION, TEST}


def test_three_given_splits_are_kept():
    own = ["train", "validation", "test", "train"]

    assert split(names(4), own) == [TRAIN, VALIDATION, TEST, TRAIN]


@pytest.mark.parametrize("second", ["validation", "test"])
def test_the_second_of_two_splits_is_for_the_test(second):
    own = ["train"] * 400 + [second] * 100

    splits = split(names(500), own)

    assert splits[400:] == [TEST] * 100
    assert set(splits[:400]) == {TRAIN, VALIDATION}
    assert splits.count(VALIDATION) == pytest.approx(20, abs=13)


@pytest.mark.parametrize("only", ["train", "test"])
def test_a_single_split_is_none(only):
    assert split(names(50), [only] * 50) == split(names(50))


def test_splits_without_training_are_refused():
    with pytest.raises(UserError, match="'train'"):
        split(names(2), ["validation", "test"])


@pytest.mark.parametrize(
    ("validation", "test"), [(0, 0.1), (0.1, 0), (-0.1, 0.1), (0.5, 0.5)]
)
def test_fractions_that_leave_a_split_empty_are_refused(validation, test):
    with pytest.raises(UsageError, match="above 0"):
        split(names(3), validation_fraction=validation, test_fraction=test)


def test_fractions_are_used():
    splits = split(names(1000), validation_fraction=0.3, test_fraction=0.4)

    assert splits.count(TEST) == pytest.approx(400, abs=62)
    assert splits.count(VALIDATION) == pytest.approx(300, abs=58)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_what_shares_a_place_stays_together(groups):
    splits = split(list(map(str, groups)))

    assert len(set(zip(groups, splits, strict=True))) == len(set(groups))
    assert len(set(splits)) == min(3, len(set(groups)))


@given(st.lists(st.booleans(), min_size=3, max_size=40))
@settings(max_examples=60, deadline=None)
def test_the_excluded_are_as_if_they_were_not_there(excluded):
    keys = names(len(excluded))
    kept = [k for k, is_out in zip(keys, excluded, strict=True) if not is_out]

    found = split(keys, excluded=excluded)

    assert [s for s in found if s != EXCLUDED] == split(kept)
    assert [s == EXCLUDED for s in found] == excluded


def test_the_excluded_of_given_splits_are_in_none():
    own = ["train", "validation", "test"]

    assert split(names(3), own, excluded=[0, 1, 0]) == [TRAIN, EXCLUDED, TEST]


class TestCheckEnough:
    def test_accepts_one_image_in_every_split(self, catalogue):
        check_enough(catalogue(("ant",), [0] * 3, [0, 1, 2]), ["ant"])

    def test_names_class_count_and_need(self, catalogue):
        few = catalogue(("ant", "bee"), [0, 0, 0, 1, 1], [0, 1, 2, 0, 1])

        with pytest.raises(UserError) as error:
            check_enough(few, ["ant", "bee"])

        assert str(error.value) == (
            "Class 'bee' has 2 images (1 train, 1 validation, 0 test); a "
            f"class needs at least {len(SPLITS)}, one in each split: add "
            "images or leave a new class out."
        )

    def test_counts_the_other_classes_that_lack_images(self, catalogue):
        with pytest.raises(UserError, match=r"'ant' \(and 1 more\) has 0"):
            check_enough(catalogue(("ant", "bee"), [], []), ["ant", "bee"])

    def test_ignores_classes_that_are_not_learnt(self, catalogue):
        check_enough(catalogue(("ant", "bee"), [0] * 3, [0, 1, 2]), ["ant"])

    def test_one_to_learn_from_is_enough_if_another_can_be_chosen_by(
        self, catalogue
    ):
        given = catalogue(("ant", "bee"), [0, 1, 1], [0, 0, 1])
        check_enough(given, ["ant", "bee"], least=1)
        check_enough(given, ["ant"], least=1, known=["bee"])
        # An imported model knows classes that the data set lacks.
        check_enough(given, ["ant"], least=1, known=["cow", "bee"])
        for known in ((), ("cow",)):
            with pytest.raises(UserError, match="has two images"):
                check_enough(given, ["ant"], least=1, known=known)
        with pytest.raises(UserError, match=r"'ant' \(and 1 more\) has 1"):
            check_enough(given, ["ant", "bee"])

    def test_without_one_to_learn_from_nothing_is_enough(self, catalogue):
        given = catalogue(("ant", "bee"), [0, 1, 1], [1, 0, 1])
        with pytest.raises(UserError) as error:
            check_enough(given, ["ant", "bee"], least=1)
        assert "'ant' has 1 images (0 train, 1 validation, 0 test)" in str(
            error.value
        )
        assert "at least 1, to learn from" in str(error.value)
