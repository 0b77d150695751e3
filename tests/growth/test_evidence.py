import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hierkeras.growth.evidence import (
    Evidence,
    are_worth,
    asked_gain,
    compare,
    is_worth,
    p_values,
    words,
)

COUNTS = st.integers(0, 200)


def differing(only_clone, only_flat, num_images=1000, times=2.0):
    return Evidence(num_images, only_flat, only_clone, 10e6, times * 10e6)


def answers(both, only_flat, only_clone, neither):
    """Flat and clone increment's, of so many images each."""
    flat = [True] * (both + only_flat) + [False] * (only_clone + neither)
    clone = [True] * both + [False] * only_flat
    clone += [True] * only_clone + [False] * neither
    return np.array(flat), np.array(clone)


def test_only_images_on_which_the_two_differ_are_counted():
    evidence = compare(*answers(30, 3, 7, 20), 10.0, 25.0)
    assert evidence == Evidence(60, 3, 7, 10.0, 25.0)
    assert evidence.gain == pytest.approx(4 / 60)
    assert evidence.times_operations == 2.5


def test_the_order_of_images_tells_nothing():
    flat, clone = answers(5, 2, 6, 4)
    order = np.random.default_rng(0).permutation(17)
    assert compare(flat[order], clone[order]) == compare(flat, clone)


@pytest.mark.parametrize(
    ("only_clone", "only_flat", "p_value"),
    [
        (0, 0, 1.0),
        (1, 0, 1 / 2),
        (0, 1, 1.0),
        (4, 0, 1 / 16),
        (5, 0, 1 / 32),
        # C(4,3) + C(4,4) = 5 of 16
        (3, 1, 5 / 16),
        # C(8,7) + C(8,8) = 9 of 256
        (7, 1, 9 / 256),
        # C(10,8) + C(10,9) + C(10,10) = 45 + 10 + 1 of 1024
        (8, 2, 56 / 1024),
        # C(12,10) + C(12,11) + C(12,12) = 66 + 12 + 1 of 4096
        (10, 2, 79 / 4096),
        # all but C(4,0) = 1 of 16
        (1, 3, 15 / 16),
        # half of what is not the middle, and the middle: C(6,3) = 20 of 64
        (3, 3, (64 - 20) / 2 / 64 + 20 / 64),
    ],
)
def test_p_values_worked_by_hand(only_clone, only_flat, p_value):
    assert differing(only_clone, only_flat).p_value == pytest.approx(
        p_value, rel=1e-12
    )


@pytest.mark.parametrize("only_flat", [0, 1, 4, 12, 30])
def test_one_error_less_of_62_images_is_an_even_chance(only_flat):
    # By symmetry: of an odd number of coins, most show heads with p = 1/2.
    evidence = differing(only_flat + 1, only_flat, num_images=62)
    assert evidence.p_value == pytest.approx(0.5, rel=1e-12)
    assert not is_worth(evidence, 0.05, 0.0)
    assert is_worth(evidence, 1.0, 0.0)  # the paper's rule takes it


def test_five_images_are_the_fewest_that_are_evidence():
    assert not is_worth(differing(4, 0, num_images=62), 0.05, 0.005)
    assert is_worth(differing(5, 0, num_images=62), 0.05, 0.005)


@given(COUNTS, COUNTS)
def test_the_two_sides_share_what_is_not_a_draw(b, c):
    both = differing(b, c).p_value + differing(c, b).p_value
    assert both == pytest.approx(1 + stats.binom.pmf(b, b + c, 0.5))


@given(COUNTS, COUNTS)
def test_more_for_the_clone_is_more_evidence_for_it(b, c):
    p_value = differing(b, c).p_value
    assert 0 <= p_value <= 1
    assert differing(b + 1, c).p_value <= p_value <= differing(b, c + 1).p_value


@given(COUNTS, st.integers(1, 200), st.integers(2, 4))
def test_the_same_gain_on_more_images_is_more_evidence(c, lead, copies):
    once = differing(c + lead, c)
    often = differing(copies * (c + lead), copies * c, copies * 1000)
    assert often.gain == pytest.approx(once.gain)
    assert often.p_value < once.p_value


@given(st.integers(1, 10_000), st.floats(0.001, 1.0), st.floats(0.5, 64.0))
def test_what_never_differs_is_never_taken(num_images, level, times):
    evidence = differing(0, 0, num_images, times)
    assert (evidence.gain, evidence.p_value) == (0.0, 1.0)
    assert not is_worth(evidence, level, 0.0)


@given(COUNTS, COUNTS)
def test_p_values_are_those_of_the_exact_binomial_test(b, c):
    expected = (
        stats.binomtest(b, b + c, 0.5, alternative="greater").pvalue
        if b + c
        else 1.0
    )
    assert differing(b, c).p_value == pytest.approx(expected, rel=1e-12)


@given(COUNTS, COUNTS)
def test_without_level_and_minimum_it_is_the_paper_s_rule(b, c):
    evidence = Evidence(1000, only_flat_right=c, only_clone_right=b)
    assert is_worth(evidence, 1.0, 0.0) == (b > c)


@given(
    st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=8),
    st.floats(0.001, 1.0),
    st.floats(0.0, 0.05),
    st.floats(0.5, 8.0),
)
def test_many_are_judged_as_each_is(pairs, level, minimum, times):
    only_clone, only_flat = np.array(pairs).T
    taken = are_worth(
        only_clone, only_flat, 1000, level, asked_gain(times, minimum)
    )
    assert taken.tolist() == [
        is_worth(differing(b, c, 1000, times), level, minimum) for b, c in pairs
    ]


@pytest.mark.parametrize(
    ("lead", "times", "taken"),
    [
        (10, 2, True),  # one doubling asks for 1 % of 1,000 images
        (9, 2, False),
        (20, 4, True),
        (19, 4, False),
        (6, 1.5, True),  # log2(1.5) = 0.585
        (5, 1.5, False),
        (5, 1, True),  # no doubling: only to be better
        (5, 0.5, True),
        (4, 0.5, False),  # cheaper, but 1/16 is within chance
    ],
)
def test_each_doubling_has_to_pay(lead, times, taken):
    assert is_worth(differing(lead, 0, 1000, times), 0.05, 0.01) == taken


def test_a_gain_that_is_just_what_is_asked_is_not_lost_in_rounding():
    assert 0.07 * 100 > 7
    assert is_worth(differing(7, 0, num_images=100), 0.05, 0.07)
    assert not is_worth(differing(6, 0, num_images=100), 0.05, 0.07)


def test_evidence_that_is_no_gain_worth_its_price_is_not_taken():
    evidence = differing(5400, 5000, num_images=100_000)
    assert evidence.p_value < 0.0001
    assert evidence.gain == pytest.approx(0.004)
    assert not is_worth(evidence, 0.05, 0.005)
    assert is_worth(evidence, 0.05, 0.004)


def test_words_tell_counts_chance_gain_and_price():
    evidence = Evidence(1350, 23, 61, 5.8e6, 11.774e6)
    assert words(evidence, 0.05, 0.005) == (
        "right where the other is wrong: clone 61 images, flat 23 of 1,350; "
        "p = 0.00002 <= 0.05; 2.81 points fewer errors at 2.03 times the "
        "operations, which ask for 0.51"
    )


@pytest.mark.parametrize(
    ("evidence", "end"),
    [
        (Evidence(62, 3, 4), "p = 0.5 > 0.05; 1.61 points fewer errors"),
        (Evidence(62, 4, 3), "p = 0.77 > 0.05; 1.61 points more errors"),
        (
            Evidence(62, 0, 0, 2.0, 1.0),
            "p = 1 > 0.05; as many errors at 0.50 times the operations",
        ),
        (
            Evidence(900, 0, 90),
            "p < 0.000001 <= 0.05; 10.00 points fewer errors",
        ),
    ],
)
def test_words_of_other_ends(evidence, end):
    assert words(evidence, 0.05, 0.005).endswith(f"; {end}")


@pytest.mark.parametrize(
    ("level", "told"),
    [(0.0312, "p = 0.03125 > 0.0312"), (0.0313, "p = 0.031 <= 0.0313")],
)
def test_words_do_not_round_a_p_value_across_the_level(level, told):
    assert told in words(Evidence(62, 0, 5), level, 0.005)  # 1/32


@pytest.mark.parametrize(
    ("flat", "clone", "message"),
    [
        ([1, 0], [1, 1], "bool arrays"),
        ([0.5], [0.5], "bool arrays"),
        ([[True]], [[True]], r"shape \(1, 1\)"),
        ([True], [True, False], "1 of the flat and 2 of the clone"),
        (np.zeros(0, bool), np.zeros(0, bool), "at least one image"),
    ],
)
def test_answers_that_cannot_be_compared_are_refused(flat, clone, message):
    with pytest.raises(ValueError, match=message):
        compare(np.array(flat), np.array(clone))


@pytest.mark.parametrize(
    "changed",
    [
        {"num_images": 0},
        {"only_flat_right": -1},
        {"only_clone_right": 8},
        {"flat_flops": None},
        {"clone_flops": None},
        {"clone_flops": 0.0},
        {"flat_flops": math.inf},
        {"flat_flops": math.nan},
    ],
)
def test_evidence_that_contradicts_itself_is_refused(changed):
    with pytest.raises(ValueError, match="Received: Evidence"):
        dataclasses.replace(Evidence(10, 3, 5, 1.0, 2.0), **changed)


@pytest.mark.parametrize("level", [0.0, -0.1, 1.1, math.nan])
def test_a_level_that_is_no_chance_is_refused(level):
    with pytest.raises(ValueError, match="a level in"):
        is_worth(differing(9, 1), level, 0.005)


@pytest.mark.parametrize("minimum", [-0.1, 1.1, math.nan])
def test_a_minimum_that_is_no_share_is_refused(minimum):
    for judge in (is_worth, words):
        with pytest.raises(ValueError, match="a gain per doubling in"):
            judge(differing(9, 1), 0.05, minimum)


def test_a_minimum_without_operations_is_refused_not_forgotten():
    with pytest.raises(ValueError, match="needs the operations"):
        is_worth(Evidence(100, 1, 9), 0.05, 0.005)


def test_p_values_have_the_shape_of_the_counts():
    assert p_values(np.zeros((2, 3), int), np.ones((2, 3), int)).shape == (2, 3)
