"""Evaluates the latest tree of a work directory; one object holds it all."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from hierkeras._errors import UserError
from hierkeras.analysis import contenders
from hierkeras.analysis.answers import Answered, TreeAnswers, answer
from hierkeras.analysis.calibration import expected_calibration_error
from hierkeras.training import sharing
from hierkeras.training.context import Context
from hierkeras.training.predictor import Predictor
from hierkeras.tree import nodes
from hierkeras.tree.generation import Generation
from hierkeras.tree.routing import Routing, RoutingRule


@dataclasses.dataclass(frozen=True)
class SuperclassErrors:
    """The row of a superclass in the paper's Tables 4 and 5.

    Errors are top-1, in [0, 1], on the images of the superclass, under hard
    routing; None where there is no image to measure.

    Args:
        name: The leaf.
        num_classes: Its classes.
        leaf_error: Of the leaf alone.
        branch_error: Share of the images that the branches send elsewhere.
        whole_error: Of branches and leaves together. It obeys equation 1,
            `1 - (1 - leaf_error_branch_correct) * (1 - branch_error)`.
        flat_error: Of the flat increment that competed.
        leaf_error_branch_correct: Of the leaf on images sent to it.
        leaf_error_branch_miss: Of the leaf on the others.
    """

    name: str
    num_classes: int
    leaf_error: float | None
    branch_error: float | None
    whole_error: float | None
    flat_error: float | None
    leaf_error_branch_correct: float | None
    leaf_error_branch_miss: float | None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `hierkeras.evaluate` prints; errors in [0, 1].

    Args:
        generation: Number of the tree.
        num_classes: Classes that it knows.
        num_leaves: Its leaves.
        depth: Its levels.
        split: What was evaluated.
        num_examples: Images in it.
        routing: How the tree answered.
        top1_error: Share of images whose most probable class is wrong.
        top5_error: Share whose true class is not among the five.
        calibration_error: Expected calibration error, 15 bins.
        top1_error_by_routing: The same tree under every rule.
        flat_top1_error: Of the flat increment that competed; None if none.
        old_classes_top1_error: On classes from before the last step; None in
            the first.
        new_classes_top1_error: On the last step's classes.
        superclasses: A row a leaf.
        contenders: What the last step trained, side by side.
        steps: What each step did and cost.
        num_parameters: Of all models of the tree; what is equal in a node
            and in one above it counts once, as a served tree runs it once.
        forward_flops_per_image: Mean along the path, a multiply-add being 2.
        root_flops_per_image: The same of the network at the root.
    """

    generation: int
    num_classes: int
    num_leaves: int
    depth: int
    split: str
    num_examples: int
    routing: str
    top1_error: float
    top5_error: float
    calibration_error: float
    top1_error_by_routing: dict[str, float]
    flat_top1_error: float | None
    old_classes_top1_error: float | None
    new_classes_top1_error: float | None
    superclasses: tuple[SuperclassErrors, ...]
    contenders: tuple[contenders.Contender, ...]
    steps: tuple[dict[str, Any], ...]
    num_parameters: int
    forward_flops_per_image: float
    root_flops_per_image: float


def evaluate(
    generation: Generation,
    steps: tuple[dict[str, Any], ...],
    context: Context,
    predictor: Predictor,
    routing: Routing,
    split: str = "test",
) -> Evaluation:
    """Evaluates a tree.

    Args:
        generation: The tree and its last step.
        steps: One object a step, as the report is to show them.
        context: The images.
        predictor: Runs the models.
        routing: How the tree answers.
        split: `test`, `validation` or `train`.

    Raises:
        UserError: If the split has no image of the tree's classes.
    """
    return examine(generation, steps, context, predictor, routing, split)[0]


def examine(
    generation: Generation,
    steps: tuple[dict[str, Any], ...],
    context: Context,
    predictor: Predictor,
    routing: Routing,
    split: str,
) -> tuple[Evaluation, Answered]:
    """As `evaluate`, with what the tree named, image by image."""
    tree, step = generation.tree, generation.step
    found = context.catalogue.indices(split, tree.classes)
    bad = context.images.prepare(found)
    context = context.without({image.key: image.digest for image in bad})
    indices = context.catalogue.indices(split, tree.classes)
    if not indices.size:
        raise UserError(
            f"the {split} split of {context.source.name} has no image of the "
            "tree's classes; give the data set that the tree was grown from, "
            "or photos of them"
        )
    labels = context.catalogue.labels_among(indices, tree.classes)
    answers = answer(tree, indices, labels, predictor, routing)
    own = answers.by_routing[routing.rule]
    wrong = own.named != labels
    flat_wrong = _flat_wrong(generation, indices, context, predictor, routing)
    new = np.isin(
        labels, [tree.classes.index(name) for name in step.new_classes]
    )
    costs = sharing.costs(
        tree, {node.job: predictor.model(node.job) for node in tree.nodes()}
    )
    evaluated = Evaluation(
        generation=generation.number,
        num_classes=len(tree.classes),
        num_leaves=len(tree.leaves),
        depth=tree.depth,
        split=split,
        num_examples=len(indices),
        routing=routing.rule,
        top1_error=float(wrong.mean()),
        top5_error=float(1.0 - own.in_top5.mean()),
        calibration_error=expected_calibration_error(own.confidence, ~wrong),
        top1_error_by_routing={
            rule: float((by_rule.named != labels).mean())
            for rule, by_rule in answers.by_routing.items()
        },
        flat_top1_error=_mean(flat_wrong.get(routing.rule)),
        old_classes_top1_error=_mean(wrong[~new]),
        new_classes_top1_error=_mean(wrong[new]),
        superclasses=_superclasses(
            tree, labels, answers, flat_wrong.get("hard")
        ),
        contenders=contenders.contenders(
            generation, indices, context, predictor, routing
        ),
        steps=steps,
        num_parameters=sum(cost.parameters for cost in costs.values()),
        forward_flops_per_image=sharing.flops_per_image(
            costs, answers.images_run, len(indices)
        ),
        root_flops_per_image=float(costs[tree.root.name].flops),
    )
    return evaluated, Answered(
        split, indices, labels, own.named, own.confidence
    )


def _flat_wrong(
    generation: Generation,
    indices: np.ndarray,
    context: Context,
    predictor: Predictor,
    routing: Routing,
) -> dict[RoutingRule, np.ndarray]:
    """Which images the flat increment gets wrong, by rule; empty if none."""
    flat = contenders.flat_tree(generation)
    if flat is None:
        return {}
    labels = context.catalogue.labels_among(indices, flat.classes)
    answers = answer(flat, indices, labels, predictor, routing)
    return {
        rule: by_rule.named != labels
        for rule, by_rule in answers.by_routing.items()
    }


def _superclasses(
    tree: nodes.Tree,
    labels: np.ndarray,
    answers: TreeAnswers,
    flat_wrong: np.ndarray | None,
) -> tuple[SuperclassErrors, ...]:
    leaf_of = {
        name: i for i, leaf in enumerate(tree.leaves) for name in leaf.classes
    }
    true_leaf = np.array([leaf_of[name] for name in tree.classes])[labels]
    missed = answers.leaves != true_leaf
    leaf_wrong = answers.own_leaf != labels
    whole_wrong = answers.by_routing["hard"].named != labels
    found = []
    for i, leaf in enumerate(tree.leaves):
        here = true_leaf == i
        found.append(
            SuperclassErrors(
                name=leaf.name,
                num_classes=len(leaf.classes),
                leaf_error=_mean(leaf_wrong[here]),
                branch_error=_mean(missed[here]),
                whole_error=_mean(whole_wrong[here]),
                flat_error=_mean(
                    None if flat_wrong is None else flat_wrong[here]
                ),
                leaf_error_branch_correct=_mean(leaf_wrong[here & ~missed]),
                leaf_error_branch_miss=_mean(leaf_wrong[here & missed]),
            )
        )
    return tuple(found)


def _mean(wrong: np.ndarray | None) -> float | None:
    return None if wrong is None or not wrong.size else float(wrong.mean())
