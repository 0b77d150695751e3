import dataclasses

import pytest

from hierkeras.growth.competition import compete
from hierkeras.growth.options import GrowthOptions
from hierkeras.tree.nodes import Branch, Leaf

FLAT = Leaf("root", ("a", "b", "c", "d"), "flat")
CLONE = Branch(
    "root",
    FLAT.classes,
    "flat",
    (Leaf("root.1", ("a", "b"), "one"), Leaf("root.2", ("c", "d"), "two")),
)


@dataclasses.dataclass
class Measured:
    """In place of an assessor: flat and clone increment, as measured."""

    errors: tuple[float, float]
    operations: tuple[float, float] = (20e6, 40e6)

    def error(self, tree, classes):
        assert classes == FLAT.classes
        return self.errors[bool(tree.branches)]

    def flops(self, tree):
        return self.operations[bool(tree.branches)]


def judged(*measured, **options):
    return compete(FLAT, CLONE, Measured(*measured), GrowthOptions(**options))


@pytest.mark.parametrize(
    ("errors", "takes_clone"),
    [((0.5, 0.49), True), ((0.5, 0.5), False), ((0.5, 0.51), False)],
)
def test_by_error_the_lower_one_wins_and_a_tie_is_flat(errors, takes_clone):
    verdict = judged(errors)
    assert verdict.takes_clone == takes_clone
    assert (verdict.flat_error, verdict.clone_error) == errors
    assert verdict.flat_flops is verdict.clone_flops is None


@pytest.mark.parametrize(
    ("clone_error", "clone_flops", "takes_clone"),
    [
        (0.47, 40e6, True),  # one doubling has to take off 2 points
        (0.481, 40e6, False),
        (0.47, 80e6, False),  # two doublings, 4 points
        (0.45, 80e6, True),
        (0.491, 25e6, True),  # a third of a doubling, 0.64 points
        (0.495, 25e6, False),
        (0.51, 10e6, False),  # cheaper, and worse
        (0.49, 10e6, True),
    ],
)
def test_by_error_per_flop_each_doubling_has_to_pay(
    clone_error, clone_flops, takes_clone
):
    verdict = judged(
        (0.5, clone_error),
        (20e6, clone_flops),
        compete_by="error_per_flop",
        error_per_doubling=0.02,
    )
    assert verdict.takes_clone == takes_clone
    assert (verdict.flat_flops, verdict.clone_flops) == (20e6, clone_flops)


def test_free_doublings_leave_the_paper_s_rule():
    options = {"compete_by": "error_per_flop", "error_per_doubling": 0.0}
    assert judged((0.5, 0.4999), **options).takes_clone
    assert not judged((0.5, 0.5), **options).takes_clone


def test_the_evidence_names_errors_prices_and_what_is_asked():
    verdict = judged((0.5, 0.47), compete_by="error_per_flop")
    assert verdict.evidence == (
        "validation error of the clone increment 47.00% at 40 MFLOP an image, "
        "of the flat increment 50.00% at 20; 1.00 doublings have to take off "
        "more than 2.00%"
    )
