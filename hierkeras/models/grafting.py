"""A branch and its leaves as one network, with one trunk."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from hierkeras.models import surgery


def with_leaves(
    branch: keras.Model, leaves: Sequence[keras.Model], leaf_layers: int
) -> keras.Model:
    """Returns a network that answers as a branch and as each of its leaves.

    What the leaves have below the cut takes no part: they go on from what the
    branch computes there.

    Args:
        branch: A network from images to logits.
        leaves: Networks of the same structure but for their numbers of
            classes.
        leaf_layers: Layers with a kernel, counted from the logits down, that
            each leaf has of its own.

    Returns:
        The model from the branch's images to its logits, followed by those of
        each leaf. It shares all its weights with the branch and with the
        leaves' layers above the cut, and is built under the branch's strategy.
    """
    outputs = [branch.output]
    with branch.distribute_strategy.scope():
        for number, leaf in enumerate(leaves):
            top, places = _top(leaf, leaf_layers, f"leaf{number}")
            below = [branch.operations[k].output for k in places]
            outputs.append(top(below))
        return keras.Model(branch.input, ops.concatenate(outputs, axis=-1))


def _top(
    model: keras.Model, leaf_layers: int, name: str
) -> tuple[keras.Model, list[int]]:
    """What is above the cut, and which operations its inputs come from."""
    above = {
        id(layer) for layer in model.layers[surgery.cut(model, leaf_layers) :]
    }
    # The images themselves are always below.
    first = max(
        1,
        [id(operation) in above for operation in model.operations].index(True),
    )
    made_by = {
        id(tensor): place
        for place, operation in enumerate(model.operations[:first])
        for tensor in keras.tree.flatten(operation.output)
    }
    needed = [
        tensor
        for operation in model.operations[first:]
        for tensor in keras.tree.flatten(operation.input)
        if id(tensor) in made_by
    ]
    border = list({id(tensor): tensor for tensor in needed}.values())
    top = keras.Model(border, model.output, name=name)
    return top, [made_by[id(tensor)] for tensor in border]
