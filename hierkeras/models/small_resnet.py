"""A small residual network for images of 8 to 96 pixels."""

from __future__ import annotations

import keras
from keras import layers

from hierkeras.models.blocks import (
    STEM_CHANNELS,
    centred,
    classifier,
    conv_batch_norm,
    image_input,
    num_stages,
    pooled_features,
    scale_channels,
    stem_strides,
)


def small_resnet(
    image_size: int,
    num_classes: int,
    width_multiplier: float = 1.0,
    dropout: float = 0.0,
) -> keras.Model:
    """Builds a residual network in the manner of He et al. for CIFAR.

    Blocks of two 3x3 convolutions as in He et al. 2016, section 4.2,
    https://arxiv.org/abs/1512.03385, one for each size of map, with projections
    as shortcuts ("option B") as every block halves the map. At width 1 it takes
    12 million multiply-adds and 0.3 million parameters at 32 and at 64 pixels.

    Args:
        image_size: Height and width of the images in pixels, at least 8.
        num_classes: Number of classes.
        width_multiplier: Factor on the number of channels.
        dropout: Rate of dropout on the features.

    Returns:
        The model from float32 images in 0..255 to float32 logits.
    """
    images = image_input(image_size)
    x = conv_batch_norm(
        centred(images),
        scale_channels(STEM_CHANNELS, width_multiplier),
        strides=stem_strides(image_size),
        name="stem",
    )
    x = layers.ReLU(name="stem_relu")(x)
    for stage in range(1, num_stages(image_size) + 1):
        channels = scale_channels(STEM_CHANNELS * 2**stage, width_multiplier)
        x = _halving_block(x, channels, f"stage{stage}")
    return classifier(
        images, pooled_features(x), num_classes, dropout, "small_resnet"
    )


def _halving_block(
    x: keras.KerasTensor, channels: int, name: str
) -> keras.KerasTensor:
    shortcut = conv_batch_norm(
        x, channels, kernel_size=1, strides=2, name=f"{name}_shortcut"
    )
    x = conv_batch_norm(x, channels, strides=2, name=f"{name}_1")
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    x = conv_batch_norm(x, channels, name=f"{name}_2")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_2_relu")(x)
