"""Algorithm 2 of the paper: a tree of any depth takes in new classes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import numpy as np
from scipy import sparse

from hierkeras.growth.extend_leaf import extend_leaf
from hierkeras.growth.grower import Grower
from hierkeras.growth.preview import confusion_rates
from hierkeras.training.importing import Classifier
from hierkeras.tree.generation import Decision
from hierkeras.tree.nodes import Branch, BranchModel, Leaf, Tree
from hierkeras.tree.routing import Routing, route


async def grow_tree(
    tree: Tree | None, new_classes: tuple[str, ...], grower: Grower
) -> tuple[Tree, tuple[Decision, ...]]:
    """Takes new classes into a tree: a whole increment step.

    A function of its arguments: jobs whose results are there are not run
    again, and nothing but such results is written.

    Args:
        tree: The tree; None: there is none yet.
        new_classes: Classes that it does not know, at least one.
        grower: What growing needs.

    Returns:
        The tree after the step, with its temperatures if the recipe asks for
        them; and a decision for each leaf that received classes.
    """
    if tree is None:
        grown, decisions = await first_tree(new_classes, grower)
    else:
        grown, decisions = await incremental(tree, new_classes, grower)
    return calibrated(grown, grower), decisions


def calibrated(tree: Tree, grower: Grower) -> Tree:
    """A new tree, with temperatures of its whole answer if wanted."""
    if not grower.recipe.growth.calibrate:
        return tree
    return grower.assessor.with_temperatures(tree)


async def first_tree(
    new_classes: tuple[str, ...], grower: Grower
) -> tuple[Tree, tuple[Decision, ...]]:
    """A tree of a single leaf, trained from scratch (section 4.1).

    Args:
        new_classes: Its classes.
        grower: What growing needs.
    """
    spec = grower.specs.scratch(new_classes)
    leaf = await grower.train(spec, "root", "first")
    tree = Tree(leaf)
    decision = Decision(
        node="root",
        received=new_classes,
        growth="first",
        reason="there was no tree",
        flat=leaf,
        flat_error=grower.assessor.error(tree, new_classes),
    )
    return tree, (decision,)


def imported_tree(
    classifier: Classifier, grower: Grower
) -> tuple[Tree, tuple[Decision, ...]]:
    """A tree of a single leaf that somebody else trained (section 4.1).

    Its answers are not calibrated either: it is what it was.

    Args:
        classifier: What they trained; its trunk is in the work directory.
        grower: What growing needs.
    """
    result = grower.jobs.take_over(
        classifier, grower.recipe.network, "root imported"
    )
    leaf = Leaf("root", classifier.classes, result.job)
    tree = Tree(leaf)
    decision = Decision(
        node="root",
        received=classifier.classes,
        growth="first",
        reason="it was imported as it is",
        flat=leaf,
        flat_error=grower.assessor.known_error(tree, classifier.classes),
    )
    return tree, (decision,)


async def incremental(
    tree: Tree, new_classes: tuple[str, ...], grower: Grower
) -> tuple[Tree, tuple[Decision, ...]]:
    """Grows a tree by new classes (Algorithm 2).

    A leaf that receives nothing is left alone: no job, no copy.

    Args:
        tree: The tree.
        new_classes: Classes that it does not know.
        grower: What growing needs.

    Returns:
        The new tree, and a decision for each leaf that received classes.
    """
    received = distribute(tree, new_classes, grower)
    growing = [
        extend_leaf(leaf, received[leaf.name], grower)
        for leaf in tree.leaves
        if leaf.name in received
    ]
    # Neither waits for the other: both start from the tree as it was.
    refined, grown = await asyncio.gather(
        refine_branches(tree, received, grower), asyncio.gather(*growing)
    )
    new_tree = tree.replacing({node.name: node for node, _ in grown}, refined)
    decisions = tuple(decision for _, decision in grown)
    return with_exponents(new_tree, refined, grower), decisions


def with_exponents(tree: Tree, names: Collection[str], grower: Grower) -> Tree:
    """Chooses the fusion exponents of some branches, the lowest one first.

    Args:
        tree: The tree.
        names: The branches' names.
        grower: What growing needs.
    """
    for branch in reversed(tree.branches):
        if branch.name in names:
            present = tree.path(branch.name)[-1]
            assert isinstance(present, Branch)
            chosen = grower.assessor.with_exponent(present)
            tree = tree.replacing({branch.name: chosen})
    return tree


def distribute(
    tree: Tree, new_classes: tuple[str, ...], grower: Grower
) -> dict[str, tuple[str, ...]]:
    """Sends each new class to the leaf that it is confused with most.

    Lines 1 to 6 of Algorithm 2: the confusion is taken at the granularity of
    leaves, over validation images of the new classes.

    Args:
        tree: The tree.
        new_classes: Classes that it does not know.
        grower: What growing needs.

    Returns:
        Leaf name to the classes that it receives; leaves that receive none
        are not named.
    """
    leaves = tree.leaves
    indices, labels = grower.assessor.preview_samples(new_classes)
    counts = grower.recipe.growth.confusion_counts
    # Where an image goes is what hard routing says; how much of its
    # probability goes where, soft routing down every branch.
    widest = max((len(b.children) for b in tree.branches), default=1)
    routing = Routing("soft", widest) if counts == "soft" else Routing("hard")
    # As sure as its models are: calibrating the answer changes no decision.
    tree = Tree(tree.root)
    routed = route(
        tree, grower.assessor.predictor.node_probabilities, indices, routing
    )
    if counts == "soft":
        column = {name: i for i, name in enumerate(tree.classes)}
        mass = np.stack(
            [
                routed.probabilities[
                    :, [column[name] for name in leaf.classes]
                ].sum(axis=1)
                for leaf in leaves
            ],
            axis=1,
        )
    else:
        mass = np.eye(len(leaves))[routed.leaves]
    rates = confusion_rates(mass, labels, len(new_classes), counts)
    received: dict[str, tuple[str, ...]] = {}
    homes = sparse.csr_array(rates).toarray().argmax(axis=1)
    for name, home in zip(new_classes, homes.tolist(), strict=True):
        leaf = leaves[home].name
        received[leaf] = (*received.get(leaf, ()), name)
    return received


async def refine_branches(
    tree: Tree, received: Mapping[str, tuple[str, ...]], grower: Grower
) -> dict[str, BranchModel]:
    """Brings the branches above growing leaves to cover the new classes.

    Args:
        tree: The tree before the step.
        received: Leaf name to the classes that it receives.
        grower: What growing needs.

    Returns:
        Branch name to its new model, for those below which a class arrived.
    """

    async def refine(branch: Branch, new: tuple[str, ...]) -> BranchModel:
        classes = (*branch.classes, *new)
        spec = grower.specs.refined(branch.job, classes)
        model = await grower.train(spec, branch.name, "branch")
        return BranchModel(classes, model.job)

    arriving = {
        branch: tuple(
            name
            for leaf in Tree(branch).leaves
            for name in received.get(leaf.name, ())
        )
        for branch in tree.branches
    }
    touched = [branch for branch in tree.branches if arriving[branch]]
    models = await asyncio.gather(
        *(refine(branch, arriving[branch]) for branch in touched)
    )
    return {b.name: model for b, model in zip(touched, models, strict=True)}
