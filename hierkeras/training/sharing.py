"""Finds what a node need not compute, because a node above it has.

Two tensors of two networks are the same if the same layers with bit-identical
weights lead to them from the images. Each tensor is given a key, a hash of all
that; a node takes over the tensors whose keys it shares with a node above and
computes the rest. Nothing needs to be recorded when a trunk is frozen.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from hierkeras.models.cost import Cost, forward_cost
from hierkeras.tree import nodes

IMAGES = "images"


@dataclasses.dataclass(frozen=True)
class Part:
    """The part of a node's network that the node itself computes.

    Args:
        model: From the tensors of `takes` to the logits and the tensors of
            `gives`.
        takes: Keys of the tensors that nodes above have computed; `IMAGES`
            is the images themselves.
        gives: Keys of the tensors that it computes for nodes below.
        passes: Keys of the tensors that it and the nodes below it take from
            above.
    """

    model: keras.Model
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    passes: tuple[str, ...]


def parts(
    tree: nodes.Tree, models: Mapping[str, keras.Model]
) -> dict[str, Part]:
    """Divides a tree's networks into parts that share what they can.

    Args:
        tree: The tree.
        models: Job id to network, from images to logits; each layer of it
            is called once.

    Returns:
        Node name to part.
    """
    found: dict[str, Part] = {}
    _divide(tree.root, frozenset([IMAGES]), models, found)
    return found


def costs(
    tree: nodes.Tree, models: Mapping[str, keras.Model]
) -> dict[str, Cost]:
    """What each node of a tree adds to those above it, node name to cost.

    Args:
        tree: The tree.
        models: As of `parts`.
    """
    return {
        name: forward_cost(part.model)
        for name, part in parts(tree, models).items()
    }


def flops_per_image(
    costs: Mapping[str, Cost], images_run: Mapping[str, int], num_images: int
) -> float:
    """The mean of the operations that an image takes.

    Args:
        costs: Node name to cost.
        images_run: Node name to the number of images that it ran for.
        num_images: How many there were, at least 1.
    """
    total = sum(costs[name].flops * n for name, n in images_run.items())
    return total / num_images


def _divide(
    node: nodes.Node,
    above: frozenset[str],
    models: Mapping[str, keras.Model],
    found: dict[str, Part],
) -> frozenset[str]:
    """Divides a subtree; returns the keys that it takes from above."""
    network = _Network(models[node.job])
    takes = network.border(above)
    here = above | network.tensors.keys()
    below = frozenset[str]().union(
        *(_divide(child, here, models, found) for child in node.children)
    )
    gives = tuple(sorted(below - above))
    passes = frozenset(takes) | (below & above)
    found[node.name] = Part(
        model=keras.Model(
            [network.tensors[key] for key in takes],
            [network.logits, *(network.tensors[key] for key in gives)],
        ),
        takes=takes,
        gives=gives,
        passes=tuple(sorted(passes)),
    )
    return passes


class _Network:
    """A network's tensors by key."""

    def __init__(self, model: keras.Model) -> None:
        self.logits = model.output
        self.tensors: dict[str, keras.KerasTensor] = {}
        self._keys: dict[int, str] = {}
        self._inputs: dict[str, tuple[str, ...]] = {}
        # An operation comes after those that it depends on.
        for operation in sorted(
            model.operations, key=_depths(model).__getitem__, reverse=True
        ):
            self._add(operation)

    def border(self, above: frozenset[str]) -> tuple[str, ...]:
        """The keys of `above` that computing the logits begins with."""
        border, seen = set(), set()
        waiting = list(self._inputs[self._keys[id(self.logits)]])
        while waiting:
            key = waiting.pop()
            if key in above:
                border.add(key)
            elif key not in seen:
                seen.add(key)
                waiting.extend(self._inputs[key])
        return tuple(sorted(border))

    def _add(self, operation: Any) -> None:
        outputs = keras.tree.flatten(operation.output)
        if isinstance(operation, keras.layers.InputLayer):
            self._keys[id(outputs[0])] = IMAGES
            self.tensors[IMAGES] = outputs[0]
            return
        inputs = tuple(
            self._keys[id(tensor)]
            for tensor in keras.tree.flatten(operation.input)
        )
        key = _key(operation, inputs)
        for number, tensor in enumerate(outputs):
            name = f"{key}:{number}"
            self._keys[id(tensor)] = name
            self.tensors[name] = tensor
            self._inputs[name] = inputs


def _depths(model: keras.Model) -> dict[Any, int]:
    """Each operation's distance from the logits."""
    depths: dict[Any, int] = {}
    producer = {
        id(tensor): operation
        for operation in model.operations
        for tensor in keras.tree.flatten(operation.output)
    }
    waiting = [(producer[id(model.output)], 0)]
    while waiting:
        operation, depth = waiting.pop()
        if depths.get(operation, -1) >= depth:
            continue
        depths[operation] = depth
        if not isinstance(operation, keras.layers.InputLayer):
            waiting.extend(
                (producer[id(tensor)], depth + 1)
                for tensor in keras.tree.flatten(operation.input)
            )
    return depths


def _key(operation: Any, inputs: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    config = operation.get_config()
    # Names and what may be trained do not change what is computed.
    for irrelevant in ("name", "trainable"):
        config.pop(irrelevant, None)
    described = [
        type(operation).__name__,
        config,
        _constants(operation),
        inputs,
    ]
    digest.update(json.dumps(described, sort_keys=True, default=repr).encode())
    for weight in getattr(operation, "weights", ()):
        array = np.asarray(weight)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _constants(operation: Any) -> list[Any]:
    """What an operation is called with beside tensors, as the 2 of `x * 2`."""
    call = operation._inbound_nodes[0].arguments
    given = keras.tree.flatten([call.args, call.kwargs])
    return [
        value.tolist() if isinstance(value, np.ndarray) else value
        for value in given
        if not isinstance(value, keras.KerasTensor)
    ]
