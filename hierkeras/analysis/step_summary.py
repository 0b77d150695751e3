"""A step in TensorBoard: its decisions, errors, confusions and embedding."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from sklearn.metrics import confusion_matrix

from hierkeras.analysis import precision_recall, projector
from hierkeras.analysis.plots import confusion_png
from hierkeras.training.context import Context
from hierkeras.training.predictor import Predictor
from hierkeras.training.tensorboard import RunWriter, step_folder
from hierkeras.tree.generation import Generation
from hierkeras.tree.nodes import Tree
from hierkeras.tree.routing import Routing, route


@dataclasses.dataclass(frozen=True)
class Judged:
    """What a tree says of the validation images of some classes.

    Args:
        indices: int64 array of shape (n,), examples of the catalogue.
        labels: int32 array of shape (n,), their classes.
        probabilities: float array of shape (n, classes); 0 for a class that
            the tree does not know.
    """

    indices: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]
    probabilities: npt.NDArray[np.floating]

    @property
    def named(self) -> npt.NDArray[np.int64]:
        """int64 array of shape (n,): the most probable classes."""
        return self.probabilities.argmax(axis=1)


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
    run = step_folder(context.store, generation.number)
    with (
        contextlib.closing(RunWriter(run)) as writer,
        writer.as_default(step=generation.number),
    ):
        tf.summary.text("decision", _decisions(generation))
        for name, error in _errors(generation).items():
            if error is not None:
                tf.summary.scalar(name, error)
        if generation.step.error_after is None:
            return  # there are no images
        _write_confusions(context, generation, predictor, routing)
        tree = generation.tree
        judged = judge(tree, _ordered(tree), context, predictor, routing)
        precision_recall.write(
            judged.probabilities,
            judged.labels,
            _ordered(tree),
            generation.number,
        )
        projector.write(
            run,
            projector.some_points(
                tree, judged.indices, judged.labels, judged.named
            ),
            context,
            predictor,
        )


def _decisions(generation: Generation) -> str:
    return "\n".join(
        f"- **{d.node}** "
        + (f"received {len(d.received)} classes: " if d.received else "")
        + f"{d.growth} ({d.reason})"
        for d in generation.step.decisions
    )


def _errors(generation: Generation) -> dict[str, float | None]:
    step = generation.step
    errors = {
        "validation_error/all_classes": step.error_after,
        "validation_error/old_classes_before": step.old_error_before,
        "validation_error/old_classes_after": step.old_error_after,
    }
    for decision in step.decisions:
        errors[f"{decision.node}/flat_error"] = decision.flat_error
        errors[f"{decision.node}/clone_error"] = decision.clone_error
    return errors


def _write_confusions(
    context: Context,
    generation: Generation,
    predictor: Predictor,
    routing: Routing,
) -> None:
    trees = {"after": generation.tree}
    if generation.parent is not None:
        trees["before"] = context.store.read(generation.parent).tree
    for when, tree in trees.items():
        png = confusion(
            context, generation.tree, predictor, routing, judged=tree
        )
        picture = tf.io.decode_png(png, channels=3)
        tf.summary.image(f"confusion/{when}", picture[None])


def confusion(
    context: Context,
    tree: Tree,
    predictor: Predictor,
    routing: Routing,
    judged: Tree | None = None,
) -> bytes:
    """A confusion of validation images, superclass by superclass.

    Args:
        context: The images.
        tree: Its classes, and how it divides them.
        predictor: Runs the models.
        routing: How a tree answers.
        judged: The tree that answers; None: the same. The one before a step
            takes its new classes for old ones, which is what they are divided
            by (the paper's Figure 5).

    Returns:
        A PNG file.
    """
    classes = _ordered(tree)
    said = judge(judged or tree, classes, context, predictor, routing)
    rates = confusion_matrix(
        said.labels,
        said.named,
        labels=np.arange(len(classes)),
        normalize="true",
    )
    ends = np.cumsum([len(leaf.classes) for leaf in tree.leaves])
    return confusion_png(rates, classes, ends[:-1].tolist())


def judge(
    tree: Tree,
    classes: tuple[str, ...],
    context: Context,
    predictor: Predictor,
    routing: Routing,
) -> Judged:
    """Has a tree answer for the validation images of some classes.

    Args:
        tree: The tree.
        classes: The classes, all that it knows among them.
        context: The images.
        predictor: Runs the models.
        routing: How the tree answers.
    """
    indices = context.catalogue.indices("validation", classes)
    routed = route(tree, predictor.node_probabilities, indices, routing)
    place = {name: number for number, name in enumerate(classes)}
    probabilities = np.zeros((len(indices), len(classes)), np.float32)
    own = [place[name] for name in tree.classes]
    probabilities[:, own] = routed.probabilities
    labels = context.catalogue.labels_among(indices, classes)
    return Judged(indices, labels, probabilities)


def _ordered(tree: Tree) -> tuple[str, ...]:
    """The classes of a tree, leaf by leaf."""
    return tuple(name for leaf in tree.leaves for name in leaf.classes)
