import dataclasses
import hashlib

import numpy as np
import pytest

from hierkeras._errors import UserError


@pytest.fixture
def animals(catalogue):
    #          k0 k1 k2 k3 k4 k5
    labels = [0, 1, 2, 1, 0, 1]
    splits = [0, 0, 0, 1, 2, -1]
    return catalogue(("ant", "bee", "cat"), labels, splits)


def test_indices_are_of_one_split_and_the_classes(animals):
    assert animals.indices("train", ["cat", "ant"]).tolist() == [0, 2]
    assert animals.indices("validation", ["bee"]).tolist() == [3]
    assert animals.indices("test", ["bee"]).tolist() == []


def test_labels_are_positions_among_the_classes(animals):
    indices = np.array([0, 2, 4])

    labels = animals.labels_among(indices, ["cat", "ant"])

    assert labels.tolist() == [1, 0, 1]
    assert labels.dtype == np.int32


def test_labels_of_another_class_are_an_error(animals):
    with pytest.raises(ValueError, match="k1"):
        animals.labels_among(np.array([0, 1]), ["ant", "cat"])


def test_counts_leave_excluded_examples_out(animals):
    assert animals.counts(["bee", "ant"]) == {
        "bee": {"train": 1, "validation": 1, "test": 0},
        "ant": {"train": 1, "validation": 0, "test": 1},
    }


def test_excluding_moves_examples_out_of_every_split(animals):
    smaller = animals.excluding(np.array([0]))

    assert smaller.indices("train", ["ant", "cat"]).tolist() == [2]
    assert animals.indices("train", ["ant", "cat"]).tolist() == [0, 2]


def test_what_cannot_be_used_has_no_part_in_the_splits(animals):
    asked = []

    def assign(excluded):
        asked.append(excluded.tolist())
        return np.array([0, 0, 1, 1, 2, 2], np.int8)

    whole = dataclasses.replace(animals, assign=assign)
    smaller = whole.restricted_to(["ant", "bee"]).lacking(np.array([0]))

    # k0 is lacking, k2 of no class now, k5 was excluded before.
    assert asked == [[True, False, True, False, False, True]]
    assert smaller.splits.tolist() == [-1, 0, -1, 1, 2, 2]
    assert animals.lacking(np.array([0])).splits.tolist() == [
        *(-1, 0, 0, 1, 2, -1)
    ]


def test_digests_as_text(catalogue):
    numbers = catalogue(("ant",), [0], [0], [7])
    content = np.frombuffer(bytes(range(16)), "V16")

    assert numbers.digest(0) == "7"
    assert (
        catalogue(("ant",), [0], [0], content).digest(0)
        == "000102030405060708090a0b0c0d0e0f"
    )


def test_restricting_reorders_classes_and_keeps_rows_in_place(animals):
    restricted = animals.restricted_to(["cat", "ant"])

    assert restricted.class_names == ("cat", "ant")
    assert restricted.indices("train", ["ant", "cat"]).tolist() == [0, 2]
    assert restricted.keys is animals.keys
    assert restricted.counts(["cat"])["cat"]["train"] == 1
    with pytest.raises(UserError, match="'bee'"):
        restricted.indices("train", ["bee"])


@pytest.mark.parametrize(
    "ask",
    [
        lambda c: c.indices("train", ["ant", "bea"]),
        lambda c: c.labels_among(np.array([0]), ["bea"]),
        lambda c: c.counts(["bea"]),
        lambda c: c.fingerprint(["bea"]),
        lambda c: c.restricted_to(["bea"]),
    ],
)
def test_an_unknown_class_is_named(animals, ask):
    with pytest.raises(UserError, match="no class 'bea'"):
        ask(animals)


def test_an_unknown_split_is_an_error(animals):
    with pytest.raises(ValueError, match="val"):
        animals.indices("val", ["ant"])


def test_columns_of_different_lengths_are_an_error(catalogue):
    with pytest.raises(ValueError, match="one length"):
        catalogue(("ant",), [0, 0], [0])


class TestFingerprint:
    NAMES = ("ant", "bee")

    def test_is_that_of_the_classes_in_any_order(self, catalogue):
        one = catalogue(self.NAMES, [0, 1], [0, 1])
        # The same examples with a class put before them.
        two = catalogue(("aardvark", *self.NAMES), [1, 2], [0, 1])

        assert one.fingerprint(["ant", "bee"]) == one.fingerprint(
            ["bee", "ant"]
        )
        assert one.fingerprint(self.NAMES) == two.fingerprint(self.NAMES)
        assert one.fingerprint(["ant"]) != one.fingerprint(self.NAMES)

    def test_covers_what_a_model_learns_from(self, catalogue):
        base = catalogue(self.NAMES, [0, 0, 1], [0, 1, 0], [5, 6, 7])
        different = [
            catalogue(("ant", "bug"), [0, 0, 1], [0, 1, 0], [5, 6, 7]),
            catalogue(self.NAMES, [0, 1, 1], [0, 1, 0], [5, 6, 7]),
            catalogue(self.NAMES, [0, 0, 1], [0, 0, 0], [5, 6, 7]),
            catalogue(self.NAMES, [0, 0, 1], [0, 1, 0], [5, 6, 8]),
            base.excluding(np.array([0])),
        ]

        prints = {c.fingerprint(c.class_names) for c in [base, *different]}

        assert len(prints) == 1 + len(different)

    def test_is_the_hash_of_sorted_lines(self, catalogue):
        one = catalogue(("b c", "b"), [1, 0, 1], [1, 0, 0], [3, 10, 2])
        lines = [
            *("class\0b", "class\0b c"),
            *("example\0b\0000\0002", "example\0b\0001\0003"),
            "example\0b c\0000\00010",
        ]
        assert lines == sorted(lines)

        expected = hashlib.sha256("\0\0".join(lines).encode()).hexdigest()
        assert one.fingerprint(["b c", "b"]) == expected

    def test_ignores_test_examples_and_other_classes(self, catalogue):
        one = catalogue(self.NAMES, [0, 0, 1], [0, 2, 0], [5, 6, 7])
        two = catalogue(self.NAMES, [0, 0, 1], [0, 2, 1], [5, 60, 70])

        assert one.fingerprint(["ant"]) == two.fingerprint(["ant"])

    def test_covers_a_class_without_examples(self, catalogue):
        names = catalogue(self.NAMES, [0], [0])

        assert names.fingerprint(["ant"]) != names.fingerprint(self.NAMES)


def test_class_fingerprints_are_those_of_single_classes(animals):
    found = animals.class_fingerprints(["bee", "ant"])

    assert found == {
        "bee": (2, animals.fingerprint(["bee"])),
        "ant": (1, animals.fingerprint(["ant"])),
    }
