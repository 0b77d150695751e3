import pytest

from hierkeras._errors import UsageError
from hierkeras.data.streams import class_batches, pending_batches

NAMES = tuple("abcdefgh")


def test_the_sources_order():
    assert class_batches(NAMES, [2, 3], -1) == [("a", "b"), ("c", "d", "e")]


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_a_seed_draws_disjoint_batches(seed):
    batches = class_batches(NAMES, [3, 5], seed)

    assert [len(batch) for batch in batches] == [3, 5]
    assert sorted(batches[0] + batches[1]) == list(NAMES)


def test_a_seed_always_draws_the_same():
    drawn = class_batches(NAMES, [8], 1)

    assert drawn == class_batches(NAMES[::-1], [8], 1)
    assert drawn != class_batches(NAMES, [8], 2)
    assert drawn != [NAMES]


def test_every_class_comes_first_equally_often():
    first = [class_batches(NAMES, [1], seed)[0][0] for seed in range(800)]

    for name in NAMES:  # Binomial, mean 100, standard deviation 9.4.
        assert 62 <= first.count(name) <= 138


@pytest.mark.parametrize(
    ("sizes", "seed", "message"),
    [
        ([4, 5], 0, "4,5 ask for 9 classes but the data set has 8"),
        ([4, 0], 0, "positive sizes.*4,0"),
        ([-1], 0, "positive sizes.*-1"),
        ([4], -2, "seed.*-2"),
    ],
)
def test_senseless_batches_are_refused(sizes, seed, message):
    with pytest.raises(UsageError, match=message):
        class_batches(NAMES, sizes, seed)


def test_without_sizes_all_unknown_classes_are_pending_at_once():
    assert pending_batches(NAMES, [], 7, {"b", "x"}) == [tuple("acdefgh")]


def test_without_sizes_nothing_may_be_pending():
    assert pending_batches(NAMES, [], 7, NAMES) == []
    assert pending_batches((), [], 7, []) == []


@pytest.mark.parametrize(
    ("known", "pending"),
    [
        ("", [("a", "b"), ("c", "d")]),
        ("ab", [("c", "d")]),
        ("abc", [("d",)]),
        ("abcd", []),
    ],
)
def test_known_classes_are_not_pending(known, pending):
    assert pending_batches(NAMES, [2, 2], -1, known) == pending
