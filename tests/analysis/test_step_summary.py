"""A step's run in TensorBoard, read back."""

import msgspec
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from hierkeras.analysis import step_summary
from hierkeras.analysis.plots import confusion_png
from hierkeras.tree.nodes import Tree
from hierkeras.tree.routing import Routing
from tests import builders

# Validation images of a, b, c and d under hard routing: b is taken for a and
# c for d. Classes stand leaf by leaf.
ORDER = ["b", "a", "c", "d"]
RATES = np.array([[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]])


def test_confusion_is_ordered_by_superclass(generation, context, predictor):
    found = step_summary.confusion(
        context, generation.tree, predictor, Routing("hard")
    )

    assert found == confusion_png(RATES.astype(float), ORDER, [2])


def test_the_run_holds_decisions_errors_and_picture(
    generation, context, predictor
):
    step_summary.write(context, generation, predictor, Routing("hard"))

    run = context.store.tensorboard / "step-000002"
    events = EventAccumulator(str(run)).Reload()

    def value(name):
        [event] = events.Tensors(name)
        assert event.step == 2
        return tf.make_ndarray(event.tensor_proto)

    assert value("decision").item().decode() == (
        "- **root** received 2 classes: clone (its error is lower)"
    )
    errors = {
        "validation_error/all_classes": 0.125,
        "validation_error/old_classes_before": 0.5,
        "validation_error/old_classes_after": 0.375,
        "root/flat_error": 0.25,
        "root/clone_error": 0.125,
    }
    for name, error in errors.items():
        assert value(name) == pytest.approx(error)
    width, height, png = value("confusion/after")
    assert (width, height) == (b"500", b"500")
    wanted = step_summary.confusion(
        context, generation.tree, predictor, Routing("hard")
    )
    np.testing.assert_array_equal(
        tf.io.decode_png(png), tf.io.decode_png(wanted, channels=3)
    )
    curves = {f"precision_recall/{name}/pr_curves" for name in ORDER}
    tags = {"decision", "confusion/after", *errors, *curves}
    assert set(events.Tags()["tensors"]) == tags


def test_a_step_with_a_tree_before_it_shows_both(
    generation, context, predictor
):
    before = builders.generation(Tree(builders.leaf("root", "abcd", "flat")))
    context.store.publish(before)
    after = msgspec.structs.replace(generation, parent=1)

    step_summary.write(context, after, predictor, Routing("hard"))

    run = context.store.tensorboard / "step-000002"
    events = EventAccumulator(str(run)).Reload()
    confusions = {"confusion/before", "confusion/after"}
    assert confusions < set(events.Tags()["tensors"])


def test_before_a_step_new_classes_are_taken_for_old_ones(context, generation):
    """By a tree that knows a and c: Figure 5, boxed by the new tree."""
    # Validation images of a, b, c and d, each the last of the two.
    answers = np.zeros((13, 2))
    answers[9:] = [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]
    before = builders.Tables({"before": answers[:, ::-1]})
    tree = Tree(builders.leaf("root", "ca", "before"))

    found = step_summary.confusion(
        context, generation.tree, before, Routing("hard"), tree
    )

    rates = [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    assert found == confusion_png(np.array(rates, float), ORDER, [2])
