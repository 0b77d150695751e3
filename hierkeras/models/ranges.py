"""The values that networks want images in, and how to tell.

Images are float32 of 0 to 255 everywhere here. A network that was trained on
others has their preprocessing put in front. A wrong one does not fail, it only
gets worse, so that nothing is guessed: either the network has a preprocessing
inside, or its maker has to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import keras
import numpy as np
from keras import layers

from hierkeras._errors import UserError
from hierkeras.models.blocks import centred, standardised

InputRange = Literal["inside", "unit", "symmetric", "imagenet", "caffe"]

# Means of ImageNet's blue, green and red, as the first networks of Caffe
# subtracted them.
_CAFFE_MEANS = (103.939, 116.779, 123.68)

_CHOICES = (
    "'inside' (0 to 255: it prepares them itself), 'unit' (0 to 1: / 255), "
    "'symmetric' (-1 to 1: keras.applications' mode 'tf'), 'imagenet' (mean "
    "and deviation of ImageNet: mode 'torch') or 'caffe' (blue, green, red "
    "less their means: mode 'caffe')"
)

# Layers and operations that prepare images, or leave their values alone.
_PREPARING = {
    *("Rescaling", "Normalization"),
    *("Add", "Subtract", "Multiply", "Divide", "TrueDivide"),
}
_NEUTRAL = {
    *("Identity", "Cast", "Flip", "GetItem"),
    *("Resizing", "CenterCrop", "ZeroPadding2D"),
}
# A network's first layer is given values of about 1, or, with means
# subtracted, of -128 to 128.
_MAX_SPREAD = 16
_CENTRED_AT_LEAST = 64


def unit(images: keras.KerasTensor) -> keras.KerasTensor:
    """Maps images from 0..255 to [0, 1].

    Args:
        images: Float32 images of shape (n, h, w, 3).

    Returns:
        A float32 tensor of the same shape.
    """
    return layers.Rescaling(1 / 255, dtype="float32", name="unit")(images)


def caffe(images: keras.KerasTensor) -> keras.KerasTensor:
    """Maps images to blue, green and red less ImageNet's means.

    Args:
        images: Float32 images of shape (n, h, w, 3) in 0..255.

    Returns:
        A float32 tensor of the same shape, in -124..152.
    """
    images = keras.ops.flip(images, axis=-1)
    return layers.Rescaling(
        [1.0, 1.0, 1.0],
        offset=[-mean for mean in _CAFFE_MEANS],
        dtype="float32",
        name="less_means",
    )(images)


def inside(images: keras.KerasTensor) -> keras.KerasTensor:
    """Leaves images to the network's own preprocessing."""
    return images


PREPARATIONS: Mapping[
    InputRange, Callable[[keras.KerasTensor], keras.KerasTensor]
] = {
    "inside": inside,
    "unit": unit,
    "symmetric": centred,
    "imagenet": standardised,
    "caffe": caffe,
}


def check(input_range: str | None) -> None:
    """Checks the name of a range.

    Raises:
        UserError: It is neither None nor one of `InputRange`.
    """
    if input_range is not None and input_range not in get_args(InputRange):
        raise UserError(
            f"Unknown input range {input_range!r}: expected {_CHOICES}."
        )


def check_inside(network: keras.Model) -> None:
    """Checks that a network prepares images itself.

    What lies before the first other layer is tried on black and on white: it
    must lead to values such as networks are given.

    Args:
        network: From images to whatever, without models inside.

    Raises:
        UserError: It does not, or not so that it can be told.
    """
    found = _preparation(network)
    if found is None:
        raise UserError(
            "The network does not tell which values it wants images in, and "
            "a wrong guess would go unnoticed: give the input_range it was "
            f"trained with, {_CHOICES}."
        )
    low, high = _black_and_white(found)
    if high - low > _MAX_SPREAD and not (
        low < -_CENTRED_AT_LEAST and high > _CENTRED_AT_LEAST
    ):
        raise UserError(
            f"The network's own preprocessing maps 0 to 255 to {low:g} to "
            f"{high:g}, so it wants other values: give the input range that "
            f"was put before it, {_CHOICES}."
        )


def _preparation(network: keras.Model) -> keras.Model | None:
    """The part that prepares images, if there is one."""
    tensor, prepares = network.input, False
    while (following := _only_reader(network, tensor)) is not None:
        name = type(following).__name__
        if name not in _PREPARING | _NEUTRAL:
            break
        prepares |= name in _PREPARING
        tensor = following.output
    return keras.Model(network.input, tensor) if prepares else None


def _only_reader(network: keras.Model, tensor: keras.KerasTensor) -> Any:
    readers = [
        operation
        for operation in network.operations
        if any(read is tensor for read in _inputs(operation))
    ]
    is_alone = len(readers) == 1 and len(_inputs(readers[0])) == 1
    return readers[0] if is_alone else None


def _inputs(operation: Any) -> list[keras.KerasTensor]:
    try:
        return keras.tree.flatten(operation.input)
    except (AttributeError, ValueError):  # called more than once, or never
        return []


def _black_and_white(preparation: keras.Model) -> tuple[float, float]:
    shape = preparation.input.shape[1:]
    images = np.stack([np.zeros(shape), np.full(shape, 255)])
    values = np.asarray(preparation(images.astype("float32"), training=False))
    return float(values.min()), float(values.max())
