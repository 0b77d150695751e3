"""Algorithm 1 of the paper: a leaf that received new classes grows."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

import msgspec
import numpy as np

from hierkeras.growth.competition import compete
from hierkeras.growth.grower import Grower
from hierkeras.growth.partition import partition, partition_by_gain
from hierkeras.growth.preview import confusion_rates
from hierkeras.tree.generation import Decision
from hierkeras.tree.nodes import Branch, Leaf, Node, Tree

Superclasses = tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Increments:
    """Both increments of a leaf.

    Args:
        flat: The flat increment.
        clone: The clone increment; None where there was nothing to divide.
    """

    flat: Leaf
    clone: Branch | None = None


async def extend_leaf(
    leaf: Leaf, received: tuple[str, ...], grower: Grower
) -> tuple[Node, Decision]:
    """Grows a leaf by the better of flat and clone increment (Algorithm 1).

    Args:
        leaf: The leaf.
        received: The new classes, at least one.
        grower: What growing needs.

    Returns:
        What takes the leaf's place, a wider leaf or a branch with cloned
        leaves, of the same name; and why.
    """
    classes = (*leaf.classes, *received)
    growth = grower.recipe.growth
    if growth.increments == "flat" or len(classes) < (
        growth.min_classes_to_clone
    ):
        made = Increments(await _flat_increment(leaf, classes, grower))
    elif growth.leaves == "beside":
        made = await _beside(leaf, received, grower)
    elif growth.leaves == "after":
        made = await _after(leaf, classes, grower)
    else:
        made = await _together(leaf, classes, grower)
    node, decision = _decided(made, received, grower)
    if grower.own_layers(leaf.job):
        decision = msgspec.structs.replace(
            decision,
            reason=f"{decision.reason}; it shares its branch's trunk no more",
        )
    if grower.specs.solves and grower.is_imported(leaf.job):
        decision = msgspec.structs.replace(
            decision,
            reason=f"{decision.reason}; a head that is solved from photos of "
            "all its classes takes the place of the imported one",
        )
    return node, decision


async def _beside(
    leaf: Leaf, received: tuple[str, ...], grower: Grower
) -> Increments:
    """The paper: both start from the leaf as it was, which previews."""
    classes = (*leaf.classes, *received)
    groups = superclasses(leaf, received, grower)
    flat, leaves = await asyncio.gather(
        _flat_increment(leaf, classes, grower),
        _clones(leaf, groups, grower),
    )
    return _increments(flat, leaves, grower)


async def _after(
    leaf: Leaf, classes: tuple[str, ...], grower: Grower
) -> Increments:
    """The finished flat increment is divided, and leaves start from it."""
    flat = await _flat_increment(leaf, classes, grower)
    groups = superclasses(flat, (), grower)
    return _increments(flat, await _clones(flat, groups, grower), grower)


async def _together(
    leaf: Leaf, classes: tuple[str, ...], grower: Grower
) -> Increments:
    """A branch with its leaves; the branch alone is the flat increment."""
    specs = grower.specs
    preview = await grower.train(
        specs.preview(leaf.job, classes), leaf.name, "preview"
    )
    groups = superclasses(preview, (), grower)
    if len(groups) < 2:
        return Increments(await _flat_increment(leaf, classes, grower))
    spec = specs.together(preview.job, groups, classes)
    branch = await grower.train(spec, leaf.name, "together")
    leaves = await asyncio.gather(
        *(
            grower.train(
                specs.cut_out(branch.job, k, own),
                f"{leaf.name}.{k + 1}",
                "leaf",
            )
            for k, own in enumerate(groups)
        )
    )
    return _increments(branch, leaves, grower)


async def _flat_increment(
    leaf: Leaf, classes: tuple[str, ...], grower: Grower
) -> Leaf:
    spec = grower.specs.flat(leaf.job, classes)
    return await grower.train(spec, leaf.name, "flat")


async def _clones(
    parent: Leaf, groups: Superclasses, grower: Grower
) -> Sequence[Leaf]:
    """A leaf for each superclass; none where there is but one."""
    if len(groups) < 2:
        return ()
    return await asyncio.gather(
        *(
            grower.train(
                grower.specs.clone(parent.job, own),
                f"{parent.name}.{k + 1}",
                "leaf",
            )
            for k, own in enumerate(groups)
        )
    )


def _increments(
    flat: Leaf, leaves: Sequence[Leaf], grower: Grower
) -> Increments:
    """Figure 4: the branch is a model of all classes, its units summed."""
    if not leaves:
        return Increments(flat)
    branch = Branch(flat.name, flat.classes, flat.job, tuple(leaves))
    return Increments(flat, grower.assessor.with_exponent(branch))


def superclasses(
    leaf: Leaf, received: tuple[str, ...], grower: Grower
) -> Superclasses:
    """Divides a leaf's classes, and new ones that it previews.

    Args:
        leaf: The leaf.
        received: Classes that it does not know, if any.
        grower: What growing needs.

    Returns:
        The classes of each superclass; a single one if there is nothing to
        divide.
    """
    growth, assessor = grower.recipe.growth, grower.assessor
    rates = []
    for classes in (leaf.classes, received):
        indices, true = assessor.samples(classes)
        outputs = assessor.predictor.probabilities(leaf.job, indices)
        rates.append(
            confusion_rates(
                outputs, true, len(classes), growth.confusion_counts
            )
        )
    count, seed = growth.num_superclasses, grower.recipe.training.seed
    labels = (
        partition_by_gain(rates[0], count, seed)
        if growth.partition_by == "predicted_error"
        else partition(rates[0], rates[1], count, seed)
    )
    names = np.array([*leaf.classes, *received], dtype=object)
    return tuple(
        tuple(names[labels == k]) for k in range(int(labels.max()) + 1)
    )


def _decided(
    made: Increments, received: tuple[str, ...], grower: Grower
) -> tuple[Node, Decision]:
    """Which of both increments stays, and why."""
    flat, clone = made.flat, made.clone
    if clone is None:
        return flat, Decision(
            node=flat.name,
            received=received,
            growth="flat",
            reason=_why_flat(flat, received, grower),
            flat=flat,
            flat_error=grower.assessor.error(Tree(flat), flat.classes),
        )
    growth = grower.recipe.growth
    verdict = compete(flat, clone, grower.assessor, growth)
    is_forced = growth.increments == "clone"
    takes_clone = is_forced or verdict.takes_clone
    return (clone if takes_clone else flat), Decision(
        node=flat.name,
        received=received,
        growth="clone" if takes_clone else "flat",
        reason=("--growth=clone; " if is_forced else "") + verdict.reason,
        flat=flat,
        flat_error=verdict.flat_error,
        clone=clone,
        clone_error=verdict.clone_error,
        evidence=verdict.evidence,
    )


def _why_flat(flat: Leaf, received: tuple[str, ...], grower: Grower) -> str:
    growth = grower.recipe.growth
    if growth.increments == "flat":
        return "--growth=flat"
    few = (
        f"{len(flat.classes) - len(received)} old and {len(received)} new "
        "classes are"
    )
    least = growth.min_classes_to_clone
    if len(flat.classes) < least:
        return f"{few} fewer than min_classes_to_clone={least}"
    return f"{few} too few to divide"
