"""Calls a network's layers anew, as one graph without models inside models.

The copies have weights of their own, so that a network can be put behind
another preprocessing, be given images of another size, or be trained, and the
one it came from stays what it was.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
from keras import layers

from hierkeras.models.foreign import is_graph


def flattened(
    model: keras.Model,
    images: keras.KerasTensor,
    reserved: Collection[str] = (),
) -> Any:
    """Calls copies of a network's layers on a tensor.

    Models inside the network are taken apart, and layers that only augment
    images in training are left out. A layer that is called twice stays one.

    Args:
        model: A `Sequential` or functional network of one input.
        images: Float32 tensor of shape (n, h, w, 3) for its input; the sizes
            may differ from its own.
        reserved: Names that no layer is to have.

    Returns:
        Its output, or several with the structure of the network's own.

    Raises:
        ValueError: The weights do not fit images of this size, or a layer
            cannot take them.
    """
    copying = _Copying(reserved)
    outputs = copying.apply(model, images)
    copying.copy_weights()
    return outputs


class _Copying:
    def __init__(self, reserved: Collection[str]) -> None:
        self._names = set(reserved)
        self._copies: dict[int, tuple[Any, Any]] = {}

    def apply(self, model: keras.Model, tensor: Any) -> Any:
        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                tensor = self._call(self._copy(layer), tensor)
            return tensor
        # What `keras.models.clone_model` is made of. It cannot be used
        # itself: it makes a model again of each one inside.
        outputs = model._run_through_graph(
            tensor, operation_fn=self._copy, call_fn=self._call
        )
        flat = keras.tree.flatten(outputs)
        return flat[0] if len(flat) == 1 else outputs

    def copy_weights(self) -> None:
        for old, new in self._copies.values():
            if isinstance(old, keras.Layer):
                new.set_weights(old.get_weights())
            if isinstance(new, layers.Normalization) and new.weights:
                new.finalize_state()  # computes with what it makes of them

    def _copy(self, operation: Any) -> Any:
        if is_graph(operation) or _only_augments(operation):
            return operation
        if id(operation) not in self._copies:
            config = operation.get_config()
            config["name"] = self._new_name(operation.name)
            copy = type(operation).from_config(config)
            self._copies[id(operation)] = operation, copy
        return self._copies[id(operation)][1]

    def _call(self, operation: Any, *arguments: Any, **options: Any) -> Any:
        if is_graph(operation):
            return self.apply(operation, *arguments)
        if _only_augments(operation):
            return arguments[0]
        # Whoever uses the copy says whether it is trained.
        options.pop("training", None)
        return operation(*arguments, **options)

    def _new_name(self, name: str) -> str:
        """The name, with a number if another layer has it already."""
        unique, number = name, 1
        while unique in self._names:
            unique, number = f"{name}_{number}", number + 1
        self._names.add(unique)
        return unique


def _only_augments(operation: Any) -> bool:
    name = type(operation).__name__
    return (
        isinstance(operation, keras.Layer)
        and name.startswith("Random")
        and name != "RandomCrop"  # crops, or resizes, outside training too
    )
