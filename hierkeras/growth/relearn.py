"""Trains again what changed images of known classes touch."""

from __future__ import annotations

import asyncio

from hierkeras.growth.changes import Changes
from hierkeras.growth.grower import Grower
from hierkeras.growth.incremental import calibrated, with_exponents
from hierkeras.recipe.growth import Growth
from hierkeras.tree.generation import Decision
from hierkeras.tree.nodes import Branch, BranchModel, Leaf, Node, Tree


def is_pending(changes: Changes, growth: Growth) -> bool:
    """Whether there is something that `relearn` would train.

    Args:
        changes: What changed.
        growth: Branches are left alone if they are not to be refined.
    """
    return bool(changes.leaves) or bool(_touched_branches(changes, growth))


async def relearn(
    tree: Tree, changes: Changes, grower: Grower
) -> tuple[Tree, tuple[Decision, ...]]:
    """Trains stale models from what they are, on the images that there are.

    The tree keeps its shape and its classes.

    Args:
        tree: The tree.
        changes: What changed since it was trained.
        grower: What training needs.

    Returns:
        The new tree, and a decision for each leaf that was trained.
    """

    async def train(leaf: Leaf) -> Leaf:
        # What it shares with its branch stays shared; all else learns.
        layers = grower.own_layers(leaf.job)
        spec = grower.specs.relearnt(leaf.job, leaf.classes, layers)
        return await grower.train(spec, leaf.name, "relearnt")

    async def refine(branch: Branch) -> BranchModel:
        spec = grower.specs.refined(branch.job, branch.classes)
        model = await grower.train(spec, branch.name, "branch relearnt")
        return BranchModel(branch.classes, model.job)

    branches = _touched_branches(changes, grower.recipe.growth)
    leaves, models = await asyncio.gather(
        asyncio.gather(*map(train, changes.leaves)),
        asyncio.gather(*map(refine, branches)),
    )
    new_tree = tree.replacing(
        {leaf.name: leaf for leaf in leaves},
        {b.name: model for b, model in zip(branches, models, strict=True)},
    )
    trained: list[Node] = [*changes.leaves, *branches]
    above = {
        node.name
        for changed in trained
        for node in tree.path(changed.name)
        if isinstance(node, Branch)
    }
    decisions = tuple(
        _decision(old, new, grower)
        for old, new in zip(changes.leaves, leaves, strict=True)
    )
    new_tree = with_exponents(new_tree, above, grower)
    return calibrated(new_tree, grower), decisions


def _touched_branches(changes: Changes, growth: Growth) -> tuple[Branch, ...]:
    return changes.branches if growth.refine_branches != "none" else ()


def _decision(old: Leaf, new: Leaf, grower: Grower) -> Decision:
    before = grower.assessor.error(Tree(old), old.classes)
    after = grower.assessor.error(Tree(new), new.classes)
    return Decision(
        node=new.name,
        received=(),
        growth="relearned",
        reason=f"its images changed; validation error {before:.2%} before, "
        f"{after:.2%} after",
        flat=new,
        flat_error=after,
    )
