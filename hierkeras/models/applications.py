"""Backbones of `keras.applications`, under a head of our own.

All take images in 0..255: the preprocessing that each was published with is
the first layer. Weights come from a local file or are drawn afresh; nothing is
downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from hierkeras._errors import UserError
from hierkeras.models.blocks import (
    BATCH_NORM_MOMENTUM,
    centred,
    classifier,
    image_input,
    pooled_features,
    standardised,
)

_DROPOUT = 0.2


def mobilenet_v3_small(
    image_size: int,
    num_classes: int,
    width_multiplier: float = 1.0,
    dropout: float = _DROPOUT,
    weights: str | None = None,
) -> keras.Model:
    """Builds MobileNetV3-Small (Howard et al. 2019).

    https://arxiv.org/abs/1905.02244

    Args:
        image_size: Height and width of the images in pixels, at least 32.
        num_classes: Number of classes.
        width_multiplier: Factor on the number of channels.
        dropout: Rate of dropout on the features.
        weights: File of weights without the top, or None for drawn ones.

    Returns:
        The model from float32 images in 0..255 to float32 logits.

    Raises:
        UserError: The file does not hold weights of this backbone.
    """
    return _with_head(
        keras.applications.MobileNetV3Small,
        "mobilenet_v3_small",
        image_size,
        num_classes,
        dropout,
        weights,
        alpha=width_multiplier,
        include_preprocessing=False,
    )


def mobilenet_v3_large(
    image_size: int,
    num_classes: int,
    width_multiplier: float = 1.0,
    dropout: float = _DROPOUT,
    weights: str | None = None,
) -> keras.Model:
    """Builds MobileNetV3-Large (Howard et al. 2019).

    https://arxiv.org/abs/1905.02244

    Args:
        image_size: Height and width of the images in pixels, at least 32.
        num_classes: Number of classes.
        width_multiplier: Factor on the number of channels.
        dropout: Rate of dropout on the features.
        weights: File of weights without the top, or None for drawn ones.

    Returns:
        The model from float32 images in 0..255 to float32 logits.

    Raises:
        UserError: The file does not hold weights of this backbone.
    """
    return _with_head(
        keras.applications.MobileNetV3Large,
        "mobilenet_v3_large",
        image_size,
        num_classes,
        dropout,
        weights,
        alpha=width_multiplier,
        include_preprocessing=False,
    )


def efficientnet_v2_b0(
    image_size: int,
    num_classes: int,
    dropout: float = _DROPOUT,
    weights: str | None = None,
) -> keras.Model:
    """Builds EfficientNetV2-B0 (Tan & Le 2021).

    https://arxiv.org/abs/2104.00298

    Args:
        image_size: Height and width of the images in pixels, at least 32.
        num_classes: Number of classes.
        dropout: Rate of dropout on the features.
        weights: File of weights without the top, or None for drawn ones.

    Returns:
        The model from float32 images in 0..255 to float32 logits.

    Raises:
        UserError: The file does not hold weights of this backbone.
    """
    return _with_head(
        keras.applications.EfficientNetV2B0,
        "efficientnet_v2_b0",
        image_size,
        num_classes,
        dropout,
        weights,
        preprocess=standardised,
        include_preprocessing=False,
    )


def resnet50_v2(
    image_size: int,
    num_classes: int,
    dropout: float = _DROPOUT,
    weights: str | None = None,
) -> keras.Model:
    """Builds ResNet50V2 (He et al. 2016).

    https://arxiv.org/abs/1603.05027

    Args:
        image_size: Height and width of the images in pixels, at least 32.
        num_classes: Number of classes.
        dropout: Rate of dropout on the features.
        weights: File of weights without the top, or None for drawn ones.

    Returns:
        The model from float32 images in 0..255 to float32 logits.

    Raises:
        UserError: The file does not hold weights of this backbone.
    """
    return _with_head(
        keras.applications.ResNet50V2,
        "resnet50_v2",
        image_size,
        num_classes,
        dropout,
        weights,
    )


def _with_head(
    application: Callable[..., keras.Model],
    name: str,
    image_size: int,
    num_classes: int,
    dropout: float,
    weights: str | None,
    preprocess: Callable[[keras.KerasTensor], keras.KerasTensor] = centred,
    **options: Any,
) -> keras.Model:
    images = image_input(image_size)
    body = application(
        include_top=False,
        weights=None,
        input_tensor=preprocess(images),
        **options,
    )
    if weights is not None:
        _load_weights(body, weights, name)
    for layer in body.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    features = pooled_features(body.output)
    return classifier(images, features, num_classes, dropout, name)


def _load_weights(body: keras.Model, weights: str, name: str) -> None:
    try:
        body.load_weights(weights)
    except (KeyError, OSError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".:")
        raise UserError(
            f"{weights!r} does not hold weights of {name} ({reason}): save "
            "them from keras.applications with include_top=False."
        ) from error
