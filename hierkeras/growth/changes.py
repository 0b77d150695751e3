"""Which images of known classes are no longer those that were learnt."""

from __future__ import annotations

import dataclasses

from hierkeras.data.catalogue import Catalogue
from hierkeras.training import results
from hierkeras.training.context import Context
from hierkeras.tree.generation import ClassData, Generation
from hierkeras.tree.nodes import Branch, Leaf, Node, Tree

# Enough to tell two states of a class apart.
_DIGITS = 16


@dataclasses.dataclass(frozen=True)
class ChangedClass:
    """A class whose training or validation images changed.

    Args:
        name: The class.
        learnt: How many it was learnt from; None in a tree that was grown
            before generations told so, where it may be as it was.
        images: How many there are.
    """

    name: str
    learnt: int | None
    images: int


@dataclasses.dataclass(frozen=True)
class Changes:
    """What changed since the models of a tree were trained.

    Args:
        classes: Those whose images are not those that their leaf learnt.
        leaves: The leaves of these classes.
        branches: Those that learnt other images than there are now.
    """

    classes: tuple[ChangedClass, ...] = ()
    leaves: tuple[Leaf, ...] = ()
    branches: tuple[Branch, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of `classes`."""
        return tuple(changed.name for changed in self.classes)


def find_changes(generation: Generation, context: Context) -> Changes:
    """Compares the images with those that a tree was trained on.

    A job's spec holds the fingerprint of its images. Where exemplars took
    their place since, the record of the step holds the fingerprint of what
    is left; besides, it tells which classes of a leaf it was.

    Args:
        generation: The tree.
        context: The work directory and the images, less the unreadable.

    Raises:
        UserError: If a job of the tree is damaged, or the data set lacks a
            class.
    """
    catalogue = context.catalogue

    def is_stale(node: Node) -> bool:
        if results.read(context.store, node.job).spec.is_imported:
            return False  # it learnt from none of them
        return expected_data(
            node, generation, context
        ) != catalogue.fingerprint(node.classes)

    tree = generation.tree
    leaves = tuple(filter(is_stale, tree.leaves))
    names = [name for leaf in leaves for name in leaf.classes]
    before, now = generation.step.learnt, _class_data(names, catalogue)
    changed = (
        ChangedClass(
            name,
            before[name].images if name in before else None,
            now[name].images,
        )
        for name in names
        if before.get(name) != now[name]
    )
    return Changes(
        tuple(changed), leaves, tuple(filter(is_stale, tree.branches))
    )


def expected_data(
    node: Node, generation: Generation | None, context: Context
) -> str:
    """The fingerprint of a node's images, if none of them changed.

    Args:
        node: The node.
        generation: The last one that has it; None if there is none yet.
        context: The work directory.

    Raises:
        UserError: If the node's job is damaged.
    """
    remaining = generation.step.remaining if generation else {}
    if node.job in remaining:
        return remaining[node.job]
    return results.read(context.store, node.job).spec.data


def new_leaves(tree: Tree, before: Tree | None) -> list[Leaf]:
    """The leaves that a step trained.

    Args:
        tree: The new tree.
        before: The one that it comes from, whose leaves may live on.
    """
    old_jobs = {leaf.job for leaf in before.leaves} if before else set()
    return [leaf for leaf in tree.leaves if leaf.job not in old_jobs]


def learnt_from(
    tree: Tree, before: Generation | None, catalogue: Catalogue
) -> dict[str, ClassData]:
    """What the leaves of a new tree learnt each class from.

    Args:
        tree: The new tree, just trained.
        before: The generation that it comes from.
        catalogue: The images, less those that exemplars stand for.
    """
    trained = new_leaves(tree, before.tree if before else None)
    names = [name for leaf in trained for name in leaf.classes]
    old = before.step.learnt if before else {}
    return {**old, **_class_data(names, catalogue)}


def _class_data(
    classes: list[str], catalogue: Catalogue
) -> dict[str, ClassData]:
    return {
        name: ClassData(images, fingerprint[:_DIGITS])
        for name, (images, fingerprint) in catalogue.class_fingerprints(
            classes
        ).items()
    }
