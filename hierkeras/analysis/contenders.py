"""What the last step trained, side by side: the paper's Table 3."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np

from hierkeras.analysis.answers import answer
from hierkeras.training import results
from hierkeras.training.context import Context
from hierkeras.training.predictor import Predictor
from hierkeras.training.spec import parents
from hierkeras.tree import nodes
from hierkeras.tree.generation import Generation
from hierkeras.tree.names import JobId
from hierkeras.tree.routing import ROUTING_RULES, Routing
from hierkeras.tree.store import Store


@dataclasses.dataclass(frozen=True)
class Contender:
    """A row of the paper's Table 3.

    Args:
        increment: `flat` or `clone`.
        training: `from-scratch`, `incremental` or `imported`.
        routing: `hard`, `soft` or `fused`; None for a single model.
        top1_error: On the evaluated split, in [0, 1].
        images_swept: Training images of the step, summed over its models.
    """

    increment: str
    training: str
    routing: str | None
    top1_error: float
    images_swept: int


def flat_tree(generation: Generation) -> nodes.Tree | None:
    """The tree that the last step's flat increments would have made.

    Returns:
        The tree; None if no flat increment competed with a clone.
    """
    if not any(decision.clone for decision in generation.step.decisions):
        return None
    return generation.tree.replacing(
        {d.node: d.flat for d in generation.step.decisions}
    )


def clone_tree(generation: Generation) -> nodes.Tree | None:
    """The tree that the last step's clone increments would have made.

    Returns:
        The tree; None if no clone increment was trained.
    """
    if not any(decision.clone for decision in generation.step.decisions):
        return None
    return generation.tree.replacing(
        {d.node: d.clone or d.flat for d in generation.step.decisions}
    )


def with_ancestors(
    jobs: Collection[JobId], among: Collection[JobId], store: Store
) -> set[JobId]:
    """Jobs, and those that they start from, if these are among some others.

    Args:
        jobs: Finished jobs.
        among: Where ancestors are looked for, such as the jobs of one step: a
            branch that is trained on, for one, costs its flat increment too.
        store: Where the jobs are.
    """
    found: set[JobId] = set()
    to_see = list(jobs)
    while to_see:
        job = to_see.pop()
        found.add(job)
        # What no tree uses may have been removed.
        if job in among and store.has_job(job):
            start = results.read(store, job).spec.start
            to_see += [parent for parent in parents(start) if parent in among]
    return found


def contenders(
    generation: Generation,
    indices: np.ndarray,
    context: Context,
    predictor: Predictor,
    routing: Routing,
) -> tuple[Contender, ...]:
    """Compares what the last step trained, and the baseline if there is one.

    Args:
        generation: The tree and its last step.
        indices: int64 array of shape (n,), images of the tree's classes.
        context: The work directory and the images.
        predictor: Runs the models.
        routing: The tree's routing.
    """
    step, store = generation.step, context.store
    swept = {use.job: use.images_swept for use in step.jobs}

    def rows(
        tree: nodes.Tree, increment: str, training: str
    ) -> list[Contender]:
        rules = ROUTING_RULES if tree.branches else (routing.rule,)
        labels = context.catalogue.labels_among(indices, tree.classes)
        answers = answer(tree, indices, labels, predictor, routing, rules)
        jobs = with_ancestors({node.job for node in tree.nodes()}, swept, store)
        images = sum(swept.get(job, 0) for job in jobs)
        return [
            Contender(
                increment,
                training,
                rule if tree.branches else None,
                float((by_rule.named != labels).mean()),
                images,
            )
            for rule, by_rule in answers.by_routing.items()
        ]

    found = []
    if step.scratch is not None:
        swept[step.scratch.job] = step.scratch.images_swept
        spec = results.read(store, step.scratch.job).spec
        scratch = nodes.Leaf("scratch", spec.classes, spec.job)
        found += rows(nodes.Tree(scratch), "flat", "from-scratch")
    if not step.new_classes:
        return tuple(found)  # it relearned: nothing competed
    flat, clone = flat_tree(generation), clone_tree(generation)
    if flat is None or clone is None:
        first = any(d.growth == "first" for d in step.decisions)
        training = "from-scratch" if first else "incremental"
        root = generation.tree.root.job
        if store.has_job(root) and results.read(store, root).spec.is_imported:
            training = "imported"
        return (*found, *rows(generation.tree, "flat", training))
    found += rows(flat, "flat", "incremental")
    return (*found, *rows(clone, "clone", "incremental"))
