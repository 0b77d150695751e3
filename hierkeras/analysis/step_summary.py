"""A step in TensorBoard: its decisions, errors and confusion matrix."""

from __future__ import annotations

import contextlib

import numpy as np
import tensorflow as tf
from sklearn.metrics import confusion_matrix

from hierkeras.analysis.plots import confusion_png
from hierkeras.training.context import Context
from hierkeras.training.predictor import Predictor
from hierkeras.training.tensorboard import RunWriter
from hierkeras.tree.generation import Generation
from hierkeras.tree.routing import Routing, route


def write(
    context: Context,
    generation: Generation,
    predictor: Predictor,
    routing: Routing,
) -> None:
    """Writes the run of a step, `tensorboard/step-000002`.

    Args:
        context: The work directory and the images.
        generation: The tree and the step.
        predictor: Runs the models.
        routing: How the tree answers.
    """
    step = generation.step
    errors = {
        "validation_error/all_classes": step.error_after,
        "validation_error/old_classes_before": step.old_error_before,
        "validation_error/old_classes_after": step.old_error_after,
    }
    for decision in step.decisions:
        errors[f"{decision.node}/flat_error"] = decision.flat_error
        errors[f"{decision.node}/clone_error"] = decision.clone_error
    lines = "\n".join(
        f"- **{d.node}** "
        + (f"received {len(d.received)} classes: " if d.received else "")
        + f"{d.growth} ({d.reason})"
        for d in step.decisions
    )
    has_images = step.error_after is not None
    run = context.store.tensorboard / f"step-{generation.number:06d}"
    with (
        contextlib.closing(RunWriter(run)) as writer,
        writer.as_default(step=generation.number),
    ):
        tf.summary.text("decision", lines)
        if has_images:
            png = confusion(context, generation, predictor, routing)
            picture = tf.io.decode_png(png, channels=3)
            tf.summary.image("confusion", picture[None])
        for name, error in errors.items():
            if error is not None:
                tf.summary.scalar(name, error)


def confusion(
    context: Context,
    generation: Generation,
    predictor: Predictor,
    routing: Routing,
) -> bytes:
    """The tree's confusion of validation images, superclass by superclass.

    Args:
        context: The images.
        generation: The tree.
        predictor: Runs the models.
        routing: How the tree answers.

    Returns:
        A PNG file.
    """
    tree = generation.tree
    ordered = [name for leaf in tree.leaves for name in leaf.classes]
    place = np.array([ordered.index(name) for name in tree.classes])
    indices = context.catalogue.indices("validation", tree.classes)
    labels = context.catalogue.labels_among(indices, tree.classes)
    routed = route(tree, predictor.node_probabilities, indices, routing)
    rates = confusion_matrix(
        place[labels],
        place[routed.probabilities.argmax(axis=1)],
        labels=np.arange(len(ordered)),
        normalize="true",
    )
    borders = np.cumsum([len(leaf.classes) for leaf in tree.leaves])[
        :-1
    ].tolist()
    return confusion_png(rates, ordered, borders)
