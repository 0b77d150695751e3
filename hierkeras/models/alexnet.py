"""The paper's baseline network: AlexNet as its Table 1 lays it out."""

from __future__ import annotations

import keras
from keras import layers

from hierkeras.models.blocks import (
    centred,
    classifier,
    image_input,
    scale_channels,
)
from hierkeras.models.lrn import LocalResponseNormalization


def alexnet(
    image_size: int,
    num_classes: int,
    width_multiplier: float = 1.0,
    dropout: float = 0.5,
) -> keras.Model:
    """Builds the 8-layer network of Table 1 of Xiao et al. 2014.

    Table 1 gives channels, filters, strides, paddings and pooling, and its
    reference [14] (Krizhevsky et al. 2012) what it leaves out: rectified linear
    units, the constants of the normalisation, and dropout in both full layers.
    As in Table 1, layers 2, 4 and 5 are not split into two groups. Weights are
    drawn as in He et al. 2015, https://arxiv.org/abs/1502.01852, which suits
    any width.

    Args:
        image_size: Height and width of the images in pixels, at least 79: the
            last pooling then sees a map of 3 by 3. The original has 224.
        num_classes: Number of classes.
        width_multiplier: Factor on the number of channels and full units.
        dropout: Rate of dropout after each of the two full layers.

    Returns:
        The model from float32 images in 0..255 to float32 logits.
    """

    def scaled(channels: int) -> int:
        return scale_channels(channels, width_multiplier)

    images = image_input(image_size)
    x = centred(images)
    x = _conv(x, scaled(96), 11, strides=4, padding=2, name="conv1")
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    x = LocalResponseNormalization(name="norm1")(x)
    x = _conv(x, scaled(256), 5, padding=1, name="conv2")
    x = layers.MaxPooling2D(3, strides=2, name="pool2")(x)
    x = LocalResponseNormalization(name="norm2")(x)
    x = _conv(x, scaled(384), 3, padding=1, name="conv3")
    x = _conv(x, scaled(384), 3, padding=1, name="conv4")
    x = _conv(x, scaled(256), 3, padding=1, name="conv5")
    x = layers.MaxPooling2D(3, strides=2, name="pool5")(x)
    x = layers.Flatten(name="flat")(x)
    x = _full(x, scaled(4096), name="full6")
    if dropout:
        x = layers.Dropout(dropout, name="dropout6")(x)
    x = _full(x, scaled(4096), name="full7")
    return classifier(images, x, num_classes, dropout, "alexnet")


def _conv(
    x: keras.KerasTensor,
    channels: int,
    kernel_size: int,
    *,
    padding: int,
    name: str,
    strides: int = 1,
) -> keras.KerasTensor:
    # Keras's "same" pads by other amounts than the table wherever the stride is
    # not 1 or the kernel is not 3.
    x = layers.ZeroPadding2D(padding, name=f"{name}_padding")(x)
    return layers.Conv2D(
        channels,
        kernel_size,
        strides=strides,
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _full(x: keras.KerasTensor, units: int, *, name: str) -> keras.KerasTensor:
    return layers.Dense(
        units, activation="relu", kernel_initializer="he_normal", name=name
    )(x)
