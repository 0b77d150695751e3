"""Parts a network's features from the classifier on top of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import layers

from hierkeras._errors import UserError
from hierkeras.models.blocks import pooled_features

# They change nothing outside training.
_INERT = (
    layers.ActivityRegularization,
    layers.AlphaDropout,
    layers.Dropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.SpatialDropout2D,
)
# They change nothing but the shape of a map of 1 by 1.
_RESHAPING = (
    layers.AveragePooling2D,
    layers.Flatten,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.Reshape,
)


@dataclasses.dataclass(frozen=True)
class Head:
    """A linear classifier: its logits are `features @ kernel + bias`.

    Args:
        kernel: Float32 array of shape (features, classes).
        bias: Float32 array of shape (classes,).
    """

    kernel: np.ndarray
    bias: np.ndarray


def split(output: keras.KerasTensor) -> tuple[keras.KerasTensor, Head | None]:
    """Finds the features that a network's answer is made of.

    The last `Dense` counts as a classifier if a softmax, a sigmoid or nothing
    follows it, and so does a convolution of 1 by 1 on a map of 1 by 1. A
    sigmoid of one class becomes a softmax over two, whose first logit is 0.
    One number without a sigmoid may be a class's logit or a measure: it is cut
    off, but no head.

    Args:
        output: The output of a network without models inside, of shape (n, f),
            or (n, h, w, c) to be averaged over positions.

    Returns:
        Features of shape (n, f), float32, and the classifier, if there is one.

    Raises:
        UserError: The output has another shape, or is of several sigmoids.
    """
    tensor, activation = _below_activation(output)
    operation, below = _made_by(tensor)
    if _is_linear(operation, below):
        activation = _own_activation(operation) or activation
        head = _head(operation, activation or "linear")
        return _as_features(_without(_INERT, below)), head
    return _as_features(output), None


def _below_activation(
    tensor: keras.KerasTensor,
) -> tuple[keras.KerasTensor, str | None]:
    """Goes down through softmax or sigmoid, and what changes no value."""
    activation = None
    while True:
        operation, below = _made_by(tensor)
        name = _activation(operation)
        if name is not None and (activation is None or name == "linear"):
            activation = activation if name == "linear" else name
        elif not _keeps_values(operation, below):
            return tensor, activation
        tensor = below


def _activation(operation: Any) -> str | None:
    """The name of a layer that is a known activation, over the classes."""
    if isinstance(operation, layers.Softmax):
        return "softmax" if operation.axis == -1 else None
    if isinstance(operation, layers.Activation):
        name = keras.activations.serialize(operation.activation)
        return name if name in ("linear", "softmax", "sigmoid") else None
    return None


def _keeps_values(operation: Any, below: keras.KerasTensor | None) -> bool:
    if isinstance(operation, _INERT):
        return True
    return isinstance(operation, _RESHAPING) and _is_one_by_one(below)


def _is_one_by_one(tensor: keras.KerasTensor | None) -> bool:
    return tensor is not None and tuple(tensor.shape[1:-1]) == (1, 1)


def _is_linear(operation: Any, below: keras.KerasTensor | None) -> bool:
    """Whether a layer is a matrix product, up to its activation."""
    if below is None or _own_activation(operation) == "other":
        return False
    if isinstance(operation, layers.Dense):
        return len(below.shape) == 2 or _is_one_by_one(below)
    return (
        type(operation) is layers.Conv2D
        and operation.kernel_size == (1, 1)
        and operation.groups == 1
        and _is_one_by_one(below)
    )


def _own_activation(operation: Any) -> str | None:
    """None for the linear one, "other" for what no classifier ends in."""
    name = keras.activations.serialize(
        getattr(operation, "activation", keras.activations.linear)
    )
    if name == "linear":
        return None
    return name if name in ("softmax", "sigmoid") else "other"


def _head(operation: Any, activation: str) -> Head | None:
    kernel = np.asarray(operation.kernel, "float32")
    classes = kernel.shape[-1]
    kernel = kernel.reshape(-1, classes)  # a convolution's has 1 x 1 before
    bias = (
        np.asarray(operation.bias, "float32")
        if operation.use_bias
        else np.zeros(classes, "float32")
    )
    if activation == "sigmoid" and classes > 1:
        raise UserError(
            f"The network ends in {classes} sigmoids, which answer for each "
            "class apart: save it without its last layer to use its features."
        )
    if activation == "sigmoid":
        return Head(np.pad(kernel, ((0, 0), (1, 0))), np.pad(bias, (1, 0)))
    return Head(kernel, bias) if classes > 1 else None


def _as_features(tensor: keras.KerasTensor) -> keras.KerasTensor:
    if len(tensor.shape) == 4:
        return pooled_features(tensor)
    if len(tensor.shape) != 2 or tensor.shape[1] is None:
        raise UserError(
            "A network must end in features of shape (n, f) or maps of shape "
            f"(n, h, w, c). Received: {tuple(tensor.shape)}; save it with a "
            "layer that pools them."
        )
    if tensor.dtype == "float32":
        return tensor
    return layers.Activation("linear", dtype="float32", name="features")(tensor)


def _without(
    kinds: tuple[type, ...], tensor: keras.KerasTensor
) -> keras.KerasTensor:
    operation, below = _made_by(tensor)
    while isinstance(operation, kinds):
        tensor = below
        operation, below = _made_by(tensor)
    return tensor


def _made_by(
    tensor: keras.KerasTensor,
) -> tuple[Any, keras.KerasTensor | None]:
    """What made a tensor, and of what, if of a single one."""
    operation, node, _ = tensor._keras_history
    read = operation._inbound_nodes[node].input_tensors
    return operation, read[0] if len(read) == 1 else None
