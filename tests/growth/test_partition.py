import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hierkeras.growth.partition import partition, symmetrised
from hierkeras.growth.spectral import Spectrum

pytestmark = pytest.mark.usefixtures("one_thread")


def blocks(sizes, within=0.1, between=0.0):
    """Confusion rates of classes that are confused inside their block."""
    block = np.repeat(np.arange(len(sizes)), sizes)
    rates = np.where(block[:, None] == block, within, between)
    np.fill_diagonal(rates, 0)
    np.fill_diagonal(rates, 1 - rates.sum(axis=1))
    return rates, block


def none_new(old):
    return np.zeros((0, len(old)))


@pytest.mark.parametrize("sizes", [(2, 2), (3, 5), (4, 2, 3), (2, 3, 4, 5)])
def test_blocks_of_confusion_are_the_superclasses(sizes):
    old, block = blocks(sizes, between=0.001)
    order = np.random.default_rng(0).permutation(len(old))

    found = partition(old[order][:, order], none_new(old), len(sizes))

    same = found[:, None] == found
    np.testing.assert_array_equal(same, block[order][:, None] == block[order])


@given(
    sizes=st.lists(st.integers(2, 5), min_size=2, max_size=4),
    rates=hnp.arrays(float, (20, 20), elements=st.floats(0.05, 0.2)),
    seed=st.integers(0, 3),
)
@settings(max_examples=10)
def test_classes_that_are_never_confused_are_divided(sizes, rates, seed):
    _, block = blocks(sizes)
    old = np.where(
        block[:, None] == block, rates[: len(block), : len(block)], 0
    )

    found = partition(old, none_new(old), len(sizes), seed)

    assert found.tolist() == block.tolist()


@pytest.mark.slow  # the solver gives up after seconds only
def test_a_solver_that_does_not_converge_is_no_concern():
    old = np.eye(192)[np.random.default_rng(2).permutation(192)]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = partition(old, none_new(old), 2)

    assert found.max() == 1
    assert np.bincount(found).min() >= 2


def test_superclasses_are_numbered_by_their_first_class():
    old, _ = blocks((3, 2))
    order = [3, 0, 4, 1, 2]

    found = partition(old[order][:, order], none_new(old), 2)

    assert found.tolist() == [0, 1, 0, 1, 1]


@pytest.mark.parametrize("k", [2, 3, 4, 5])
@pytest.mark.parametrize("between", [0.0, 0.002])
def test_the_eigengap_finds_the_number_of_blocks(k, between):
    old, _ = blocks((4,) * k, between=between)

    assert Spectrum(symmetrised(old), min(8, 4 * k)).gap() == k
    assert partition(old, none_new(old), 0).max() + 1 == k


def test_the_eigengap_keeps_to_the_most_that_is_allowed():
    affinity = symmetrised(blocks((2,) * 6)[0])

    assert Spectrum(affinity, 8).gap() == 6
    assert Spectrum(affinity, 4).gap() <= 4
    assert Spectrum(affinity, 1).gap() == 1


@pytest.mark.parametrize(
    ("num_old", "num_new", "superclasses"), [(1, 5, 1), (3, 0, 1), (2, 2, 2)]
)
def test_superclasses_of_two_classes_must_be_possible(
    num_old, num_new, superclasses
):
    found = partition(np.eye(num_old), np.eye(num_new, num_old), 0)

    assert found.max() + 1 == superclasses


def test_new_classes_join_the_superclass_they_are_confused_with_most():
    old, _ = blocks((3, 3))
    new = np.array(
        [
            [0.0, 0.0, 0.1, 0.0, 0.9, 0.0],
            # No class of the first is the most frequent, all together are.
            [0.2, 0.2, 0.2, 0.0, 0.4, 0.0],
        ]
    )

    assert partition(old, new, 2).tolist() == [0, 0, 0, 1, 1, 1, 1, 0]


@given(
    new=hnp.arrays(
        float,
        st.tuples(st.integers(0, 6), st.just(9)),
        elements=st.floats(0, 1),
    )
)
@settings(max_examples=20)
def test_new_classes_follow_their_confusion_mass(new):
    old, block = blocks((3, 3, 3))

    found = partition(old, new, 3)

    mass = np.array([new[:, block == k].sum(axis=1) for k in range(3)])
    assert found[:9].tolist() == block.tolist()
    np.testing.assert_allclose(
        mass[found[9:], np.arange(len(new))], mass.max(axis=0)
    )


def test_similarity_is_the_mean_of_both_directions():
    confusion = np.array([[0.9, 0.1, 0.0], [0.3, 0.7, 0.0], [0.0, np.nan, 1]])

    np.testing.assert_allclose(
        symmetrised(confusion).toarray(), [[0, 0.2, 0], [0.2, 0, 0], [0, 0, 0]]
    )


def test_a_superclass_of_one_takes_the_class_most_confused_with_it():
    old, _ = blocks((1, 4))
    old[3, 0] = 0.02  # the likest to class 0 of the other four

    assert partition(old, none_new(old), 2).tolist() == [0, 1, 1, 0, 1]


def test_the_same_seed_gives_the_same_superclasses():
    old = np.random.default_rng(0).dirichlet(np.ones(12), 12)

    once, again = (partition(old, none_new(old), 4, seed=3) for _ in "12")

    assert once.tolist() == again.tolist()


# Rates, what a division by zero leaves, what is no rate, and matrices without
# structure.
RATES = st.one_of(
    st.floats(0, 1),
    st.sampled_from([0.0, 1.0, 1e-38, np.nan, np.inf, -np.inf]),
    st.floats(1e300),
)
KINDS = ("any", "constant", "diagonal", "one class", "blocks", "rings")


@st.composite
def confusions(draw):
    num_old, num_new = draw(st.integers(1, 9)), draw(st.integers(0, 4))
    shape = (num_old + num_new, num_old)
    kind = draw(st.sampled_from(KINDS))
    if kind == "any":
        rates = draw(hnp.arrays(float, shape, elements=RATES))
    elif kind == "constant":
        rates = np.full(shape, draw(RATES))
    elif kind == "diagonal":
        rates = np.eye(*shape)
    elif kind == "one class":  # everything is taken for it
        rates = np.zeros(shape)
        rates[:, draw(st.integers(0, num_old - 1))] = 1.0
    elif kind == "blocks":  # no confusion leads from one to another
        block = draw(hnp.arrays(int, shape[0], elements=st.integers(0, 3)))
        rates = np.where(block[:, None] == block[:num_old], draw(RATES), 0.0)
    else:  # each is always taken for one other
        order = draw(st.permutations(range(num_old)))
        rates = np.eye(num_old)[np.resize(order, shape[0])]
    # Of some classes there is no image.
    rates[draw(hnp.arrays(bool, shape[0], fill=st.just(False)))] = 0.0
    return rates[:num_old], rates[num_old:]


@given(confusion=confusions(), k=st.integers(0, 6), seed=st.integers(0, 3))
def test_any_confusion_is_divided_into_superclasses_of_two_or_more(
    confusion, k, seed
):
    old, new = confusion
    same = old.copy(), new.copy()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = partition(old, new, k, seed)

    np.testing.assert_array_equal(found, partition(*same, k, seed))
    assert len(found) == len(old) + len(new)
    sizes = np.bincount(found)
    assert len(sizes) == 1 or sizes.min() >= 2
    if k:
        # Fewer than asked for only where there are too few classes.
        most = min(len(old), len(found) // 2)
        assert len(sizes) == max(1, min(k, most))
    first = [found.tolist().index(j) for j in range(len(sizes))]
    assert first == sorted(first)
