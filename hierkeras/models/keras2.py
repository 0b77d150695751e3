"""Turns what Keras 2 wrote of a network into what Keras 3 reads.

Keras 3 reads most HDF5 files of Keras 2. It stumbles over a few things that
are common in networks for images, and that mean the same in both:

- the `groups` of depthwise, separable and transposed convolutions, always 1,
  and the `kernel_...` of separable ones, which are never used
- an axis as a list of one, as batch normalisation has it
- slashes in names, as in "Conv/BatchNorm"
- dtype policies of the class `Policy`
- calls of a model inside a model, which are counted from 1
- arithmetic with a number, such as `x / 127.5`, which is a layer `TFOpLambda`
  there; here a `Rescaling`

What else it stumbles over is left to it.
"""

from __future__ import annotations

from typing import Any

_ALWAYS_ONE_GROUP = (
    "DepthwiseConv2D",
    "SeparableConv2D",
    "Conv2DTranspose",
)
_NEVER_USED = ("kernel_initializer", "kernel_regularizer", "kernel_constraint")
_MODELS = ("Functional", "Model", "Sequential")
_REFERENCES = ("inbound_nodes", "input_layers", "output_layers")


def converted(config: Any) -> Any:
    """Converts the configuration of a network.

    Args:
        config: As JSON gives it: the attribute `model_config` of an HDF5 file.

    Returns:
        The same with what is told above replaced; equal if there was nothing.
    """
    if isinstance(config, list):
        return [converted(item) for item in config]
    if not isinstance(config, dict):
        return config
    config = {
        key: _renamed(value)
        if key == "name" or key in _REFERENCES
        else converted(value)
        for key, value in config.items()
    }
    if isinstance(config.get("layers"), list):
        config = config | {"layers": _counted_from_0(config["layers"])}
    inner = config.get("config")
    return _of_class(config, inner) if isinstance(inner, dict) else config


def _of_class(config: dict[str, Any], inner: dict[str, Any]) -> Any:
    kind = config.get("class_name")
    if kind == "Policy":
        return inner.get("name")
    if kind in _ALWAYS_ONE_GROUP and inner.get("groups") == 1:
        inner = {key: inner[key] for key in inner if key != "groups"}
    if kind == "SeparableConv2D":
        inner = {key: inner[key] for key in inner if key not in _NEVER_USED}
    if kind == "BatchNormalization" and isinstance(inner.get("axis"), list):
        inner = inner | {"axis": inner["axis"][0]}
    if isinstance(inner.get("dtype"), dict):
        inner = inner | {"dtype": _policy(inner["dtype"])}
    config = config | {"config": inner}
    return _arithmetic(config, inner) if kind == "TFOpLambda" else config


def _counted_from_0(layers: list[Any]) -> list[Any]:
    """Layers with references to the calls of models counted as others are."""
    models = {
        layer.get("name")
        for layer in layers
        if isinstance(layer, dict) and layer.get("class_name") in _MODELS
    }

    def counted(nodes: Any) -> Any:
        match nodes:
            case [str(name), int(call), *rest] if name in models and call > 0:
                return [name, call - 1, *rest]
            case [*items]:
                return [counted(item) for item in items]
        return nodes  # as Keras 3 writes them: counted from 0

    return [
        layer | {"inbound_nodes": counted(layer["inbound_nodes"])}
        if isinstance(layer, dict) and "inbound_nodes" in layer
        else layer
        for layer in layers
    ]


def _policy(dtype: dict[str, Any]) -> Any:
    return dtype.get("config", {}).get("name", dtype)


def _arithmetic(config: dict[str, Any], inner: dict[str, Any]) -> Any:
    """A layer `TFOpLambda`, or what is the same as one."""
    try:
        ((name, node, tensor, arguments),) = config["inbound_nodes"]
        number = arguments["y"]
        scale, offset = {
            "math.truediv": lambda: (1 / number, 0),
            "math.multiply": lambda: (number, 0),
            "math.subtract": lambda: (1, -number),
            "math.add": lambda: (1, number),
            "__operators__.add": lambda: (1, number),
        }[inner["function"]]()
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return config
    kept = {key: inner[key] for key in ("name", "trainable", "dtype")}
    return config | {
        "class_name": "Rescaling",
        "config": kept | {"scale": scale, "offset": offset},
        "inbound_nodes": [[[name, node, tensor, {}]]],
    }


def _renamed(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("/", "_")
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    return value
