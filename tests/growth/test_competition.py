import dataclasses

import numpy as np
import pytest

from hierkeras._errors import UsageError
from hierkeras.growth.competition import compete
from hierkeras.recipe.fields import find
from hierkeras.recipe.growth import Growth
from hierkeras.tree import generation
from hierkeras.tree.nodes import Branch
from tests import builders

CLONE = builders.tree("ab", "cd").root
FLAT = builders.leaf("root", "abcd")


@dataclasses.dataclass
class Measured:
    """In place of an assessor: who is right, and the price, as measured."""

    only_flat: int
    only_clone: int
    images: int = 1000
    times: float = 2.0

    def is_right(self, tree, classes):
        assert classes == FLAT.classes
        flat = np.arange(self.images) < self.only_flat
        clone = np.arange(self.images)[::-1] < self.only_clone
        return clone if isinstance(tree.root, Branch) else flat

    def flops(self, tree):
        return 20e6 * (self.times if tree.branches else 1.0)


def judged(*measured, **growth):
    return compete(FLAT, CLONE, Measured(*measured), Growth(**growth))


@pytest.mark.parametrize(
    ("only_flat", "only_clone", "takes_clone"),
    [(30, 31, True), (30, 30, False), (30, 29, False), (0, 0, False)],
)
def test_by_error_the_lower_one_wins_and_a_tie_is_flat(
    only_flat, only_clone, takes_clone
):
    verdict = judged(only_flat, only_clone, compete_by="error")

    assert verdict.takes_clone == takes_clone
    assert verdict.flat_error == pytest.approx(1 - only_flat / 1000)
    assert verdict.clone_error == pytest.approx(1 - only_clone / 1000)
    assert verdict.evidence is None


def test_the_reason_names_both_errors():
    assert judged(30, 50, compete_by="error").reason == (
        "validation error of the clone increment 95.00% < 97.00% of the flat "
        "increment"
    )


def test_one_image_fewer_is_a_lower_error_and_no_evidence():
    few = (3, 4, 62)

    assert judged(*few, compete_by="error").takes_clone
    assert not judged(*few, compete_by="evidence").takes_clone


@pytest.mark.parametrize(
    ("growth", "takes_clone"),
    [
        ({}, True),  # 20 of 1,000 images more, at twice the operations
        ({"min_gain_per_doubling": 0.021}, False),
        ({"significance": 1e-9}, False),
    ],
)
def test_what_is_asked_of_evidence(growth, takes_clone):
    verdict = judged(10, 30, compete_by="evidence", **growth)

    assert verdict.takes_clone == takes_clone


def test_without_level_and_minimum_evidence_is_the_paper_s_rule():
    growth = {"significance": 1.0, "min_gain_per_doubling": 0.0}

    assert judged(30, 31, **growth).takes_clone
    assert not judged(30, 30, **growth).takes_clone


def test_what_was_counted_is_recorded_and_told():
    verdict = judged(10, 30, 1000, 2.5)

    assert dataclasses.replace(verdict, evidence=None, reason="") == (
        type(verdict)(True, "", 0.99, 0.97)
    )
    assert verdict.evidence == generation.Evidence(
        num_images=1000,
        only_flat_right=10,
        only_clone_right=30,
        p_value=pytest.approx(0.0011107, rel=1e-4),
        flat_flops=20e6,
        clone_flops=50e6,
    )
    assert verdict.reason == (
        "right where the other is wrong: clone 30 images, flat 10 of 1,000; "
        "p = 0.0011 <= 0.05; 2.00 points fewer errors at 2.50 times the "
        "operations, which ask for 0.66"
    )


def test_a_level_that_no_evidence_reaches_is_refused_before_training():
    assert find("significance").parse("1e-9") == 1e-9
    with pytest.raises(UsageError, match="significance takes a number"):
        find("significance").parse("0")
