"""The competition of a leaf's two increments, and the evidence of it."""

from __future__ import annotations

import dataclasses
import math

from hierkeras.growth.assess import Assessor
from hierkeras.growth.options import GrowthOptions
from hierkeras.tree.nodes import Branch, Leaf, Tree


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Which increment is better, and by what.

    Args:
        takes_clone: Whether it is the clone increment.
        evidence: Why, in words.
        flat_error: Top-1 error in [0, 1] of the flat increment on validation
            images of the leaf's classes.
        clone_error: Of the clone increment.
        flat_flops: Operations of the flat increment for an image, a
            multiply-add being 2; None if they were not looked at.
        clone_flops: Of the clone increment.
    """

    takes_clone: bool
    evidence: str
    flat_error: float
    clone_error: float
    flat_flops: float | None = None
    clone_flops: float | None = None


def compete(
    flat: Leaf, clone: Branch, assessor: Assessor, options: GrowthOptions
) -> Verdict:
    """Compares the two increments of a leaf.

    By error (section 4.1 of the paper) the lower one wins, and a tie goes to
    the smaller model, the flat increment. By error per flop the clone
    increment has to take off more than `error_per_doubling` for each doubling
    of the operations of an image: averaging the answers of several networks
    takes off error too, and is what the same price would buy otherwise.

    Args:
        flat: The flat increment.
        clone: The clone increment.
        assessor: Has the validation images.
        options: What decides.
    """
    flat_error = assessor.error(Tree(flat), flat.classes)
    clone_error = assessor.error(Tree(clone), flat.classes)
    if options.compete_by == "error":
        better = clone_error < flat_error
        relation = "<" if better else ">="
        evidence = (
            f"validation error of the clone increment {clone_error:.2%} "
            f"{relation} {flat_error:.2%} of the flat increment"
        )
        return Verdict(better, evidence, flat_error, clone_error)
    flat_flops = assessor.flops(Tree(flat))
    clone_flops = assessor.flops(Tree(clone))
    doublings = math.log2(clone_flops / flat_flops)
    gain, asked = flat_error - clone_error, options.error_per_doubling
    better = gain > max(0.0, asked * doublings)
    evidence = (
        f"validation error of the clone increment {clone_error:.2%} at "
        f"{clone_flops / 1e6:.3g} MFLOP an image, of the flat increment "
        f"{flat_error:.2%} at {flat_flops / 1e6:.3g}; {doublings:.2f} "
        f"doublings have to take off more than {asked * doublings:.2%}"
    )
    return Verdict(
        better, evidence, flat_error, clone_error, flat_flops, clone_flops
    )
