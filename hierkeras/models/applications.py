"""Backbones of `keras.applications`, under a head of our own.

All take images in 0..255: the preprocessing that each was published with is
the first layer. Weights come from a local file, are those that Keras publishes
for ImageNet, or are drawn afresh.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from hierkeras._errors import UserError
from hierkeras.models import convnext  # noqa: F401 - registers its layers
from hierkeras.models.blocks import (
    BATCH_NORM_MOMENTUM,
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    centred,
    classifier,
    image_input,
    pooled_features,
    standardised,
)
from hierkeras.models.ranges import caffe

_LONGEST_REASON = 200


def _halfway_standardised(images: keras.KerasTensor) -> keras.KerasTensor:
    """Prepares images for EfficientNet, which does the rest inside.

    Its published weights hold the deviation where its layer wants the
    variance, so that it divides by the deviation's root only:
    https://github.com/keras-team/keras/blob/master/keras/src/applications/efficientnet.py
    """
    roots = [math.sqrt(deviation) for deviation in IMAGENET_DEVIATION]
    return layers.Rescaling(
        [1 / root for root in roots],
        offset=[
            255 * mean * (1 - 1 / root)
            for mean, root in zip(IMAGENET_MEAN, roots, strict=True)
        ],
        dtype="float32",
        name="halfway_standardised",
    )(images)


@dataclasses.dataclass(frozen=True)
class Application:
    """Builds a network of `keras.applications`.

    Args:
        name: The backbone's name.
        constructor: What builds it there.
        preprocess: From images in 0..255 to what it was published with.
        could_prepare: Whether it has a preprocessing inside that has to be
            switched off, or images would be prepared twice.
        takes_width: Whether it takes a factor on the number of channels.
    """

    name: str
    constructor: Callable[..., keras.Model]
    preprocess: Callable[[keras.KerasTensor], keras.KerasTensor]
    could_prepare: bool = False
    takes_width: bool = False

    def __call__(
        self,
        image_size: int,
        num_classes: int,
        width_multiplier: float = 1.0,
        dropout: float = 0.2,
        weights: str | None = None,
    ) -> keras.Model:
        """Builds the network under a new head.

        Args:
            image_size: Height and width of the images in pixels, at least 32.
            num_classes: Number of classes.
            width_multiplier: Factor on the number of channels; 1 where the
                application does not take one.
            dropout: Rate of dropout on the features.
            weights: File of weights without the top, "imagenet" for those that
                Keras publishes (downloaded unless they are in its cache), or
                None for drawn ones.

        Returns:
            The model from float32 images in 0..255 to float32 logits.

        Raises:
            UserError: The file does not hold weights of this backbone, or the
                published ones cannot be had.
        """
        options: dict[str, Any] = {}
        if self.could_prepare:
            options["include_preprocessing"] = False
        if self.takes_width:
            options["alpha"] = width_multiplier
        images = image_input(image_size)
        body = self.constructor(
            include_top=False,
            weights=None,
            input_tensor=self.preprocess(images),
            **options,
        )
        if weights == "imagenet":
            body.set_weights(self._published(image_size, options))
        elif weights is not None:
            _load_weights(body, weights, self.name)
        _complete(body)
        features = pooled_features(body.output)
        return classifier(images, features, num_classes, dropout, self.name)

    def _published(self, image_size: int, options: dict[str, Any]) -> list[Any]:
        try:
            published = self.constructor(
                include_top=False,
                weights="imagenet",
                input_shape=(image_size, image_size, 3),
                **options,
            )
        except Exception as error:  # Keras raises it where a download fails
            raise _not_published(self.name, error) from None
        return published.get_weights()


def _complete(body: keras.Model) -> None:
    """Sets what of a network is neither drawn nor read."""
    for layer in body.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
        if isinstance(layer, layers.Normalization) and layer.weights:
            mean, variance, *rest = layer.get_weights()
            mean[...], variance[...] = IMAGENET_MEAN, IMAGENET_DEVIATION
            layer.set_weights([mean, variance, *rest])
            layer.finalize_state()


def _load_weights(body: keras.Model, weights: str, name: str) -> None:
    try:
        body.load_weights(weights)
    except (KeyError, OSError, TypeError, ValueError) as error:
        reason = _reason(error).rstrip(".:")
        raise UserError(
            f"{weights!r} does not hold weights of {name} ({reason}): save "
            "them from keras.applications with include_top=False."
        ) from error


def _not_published(name: str, error: Exception) -> UserError:
    address = re.search(r"https://\S+\.h5", str(error))
    if address is None:
        return UserError(
            f"There are no weights of ImageNet for this {name} "
            f"({_reason(error)}): use 'none', or give a file."
        )
    return UserError(
        f"The weights of {name} can be neither found nor downloaded: "
        f"download {address[0]} on a machine with network, and give it as "
        "--backbone_weights=FILE."
    )


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [repr(error)]
    return lines[0][:_LONGEST_REASON]


# Sandler et al. 2018, https://arxiv.org/abs/1801.04381
mobilenet_v2 = Application(
    "mobilenet_v2", keras.applications.MobileNetV2, centred, takes_width=True
)
# Howard et al. 2019, https://arxiv.org/abs/1905.02244
mobilenet_v3_small = Application(
    "mobilenet_v3_small",
    keras.applications.MobileNetV3Small,
    centred,
    could_prepare=True,
    takes_width=True,
)
mobilenet_v3_large = Application(
    "mobilenet_v3_large",
    keras.applications.MobileNetV3Large,
    centred,
    could_prepare=True,
    takes_width=True,
)
# Tan & Le 2019, https://arxiv.org/abs/1905.11946
efficientnet_b0 = Application(
    "efficientnet_b0",
    keras.applications.EfficientNetB0,
    _halfway_standardised,
)
# Tan & Le 2021, https://arxiv.org/abs/2104.00298
efficientnet_v2_b0 = Application(
    "efficientnet_v2_b0",
    keras.applications.EfficientNetV2B0,
    standardised,
    could_prepare=True,
)
efficientnet_v2_b1 = Application(
    "efficientnet_v2_b1",
    keras.applications.EfficientNetV2B1,
    standardised,
    could_prepare=True,
)
efficientnet_v2_b2 = Application(
    "efficientnet_v2_b2",
    keras.applications.EfficientNetV2B2,
    standardised,
    could_prepare=True,
)
efficientnet_v2_b3 = Application(
    "efficientnet_v2_b3",
    keras.applications.EfficientNetV2B3,
    standardised,
    could_prepare=True,
)
# Liu et al. 2022, https://arxiv.org/abs/2201.03545
convnext_tiny = Application(
    "convnext_tiny",
    keras.applications.ConvNeXtTiny,
    standardised,
    could_prepare=True,
)
# Huang et al. 2017, https://arxiv.org/abs/1608.06993
densenet121 = Application(
    "densenet121", keras.applications.DenseNet121, standardised
)
# He et al. 2016, https://arxiv.org/abs/1512.03385
resnet50 = Application("resnet50", keras.applications.ResNet50, caffe)
# He et al. 2016, https://arxiv.org/abs/1603.05027
resnet50_v2 = Application("resnet50_v2", keras.applications.ResNet50V2, centred)
