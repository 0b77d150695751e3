"""The competition of a leaf's two increments, and the evidence of it."""

from __future__ import annotations

import dataclasses

from hierkeras.growth import evidence
from hierkeras.growth.assess import Assessor
from hierkeras.recipe.growth import Growth
from hierkeras.tree.generation import Evidence
from hierkeras.tree.nodes import Branch, Leaf, Tree


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Which increment is better, and by what.

    Args:
        takes_clone: Whether it is the clone increment.
        reason: Why, in words.
        flat_error: Top-1 error in [0, 1] of the flat increment on validation
            images of the leaf's classes.
        clone_error: Of the clone increment.
        evidence: What was counted; None where the lower error decides.
    """

    takes_clone: bool
    reason: str
    flat_error: float
    clone_error: float
    evidence: Evidence | None = None


def compete(
    flat: Leaf, clone: Branch, assessor: Assessor, growth: Growth
) -> Verdict:
    """Compares the two increments of a leaf.

    By error (section 4.1 of the paper) the lower one wins, and a tie goes to
    the smaller model, the flat increment. By evidence the clone increment has
    to be better beyond chance, and worth its price; see
    `hierkeras.growth.evidence`.

    Args:
        flat: The flat increment.
        clone: The clone increment.
        assessor: Has the validation images.
        growth: What decides.
    """
    flat_right = assessor.is_right(Tree(flat), flat.classes)
    clone_right = assessor.is_right(Tree(clone), flat.classes)
    flat_error = float((~flat_right).mean())
    clone_error = float((~clone_right).mean())
    if growth.compete_by == "error":
        better = clone_error < flat_error
        return Verdict(
            better,
            f"validation error of the clone increment {clone_error:.2%} "
            f"{'<' if better else '>='} {flat_error:.2%} of the flat increment",
            flat_error,
            clone_error,
        )
    flat_flops = assessor.flops(Tree(flat))
    clone_flops = assessor.flops(Tree(clone))
    found = evidence.compare(flat_right, clone_right, flat_flops, clone_flops)
    asked = (growth.significance, growth.min_gain_per_doubling)
    return Verdict(
        evidence.is_worth(found, *asked),
        evidence.words(found, *asked),
        flat_error,
        clone_error,
        Evidence(
            num_images=found.num_images,
            only_flat_right=found.only_flat_right,
            only_clone_right=found.only_clone_right,
            p_value=found.p_value,
            flat_flops=flat_flops,
            clone_flops=clone_flops,
        ),
    )
