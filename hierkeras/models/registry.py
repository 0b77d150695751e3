"""The networks by name, and what each of them can take.

Nothing here imports TensorFlow until a model is built, so flags are checked
and `--help` lists the backbones at once.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from hierkeras._errors import UsageError
from hierkeras._option import option

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Backbone:
    """What the registry knows of a network before it is built.

    Attributes:
        builder: `module:function`, called with `image_size`, `num_classes` and,
            where they apply, `width_multiplier`, `weights` and `dropout`.
        min_image_size: The smallest image side in pixels it can take.
        takes_width: Whether `width_multiplier` applies to it.
        takes_weights: Whether it can start from a file of weights.
        source: The publication that describes it.
        can_resize: Whether a trained one can be taken over into a wider or a
            narrower one.
    """

    builder: str
    min_image_size: int
    takes_width: bool
    takes_weights: bool
    source: str
    can_resize: bool = False


def _application(name: str, source: str, takes_width: bool = False) -> Backbone:
    """One of `keras.applications`, which all can halve images five times."""
    return Backbone(
        builder=f"hierkeras.models.applications:{name}",
        min_image_size=32,
        takes_width=takes_width,
        takes_weights=True,
        source=source,
    )


# Beyond these a number is a mistake, and no machine's memory is enough.
MAX_IMAGE_SIZE = 4096
MIN_WIDTH = 0.01
MAX_WIDTH = 64.0

_MOBILENET_V3 = "Howard et al. 2019, https://arxiv.org/abs/1905.02244"
_EFFICIENTNET_V2 = "Tan & Le 2021, https://arxiv.org/abs/2104.00298"

BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "alexnet": Backbone(
            builder="hierkeras.models.alexnet:alexnet",
            min_image_size=79,
            takes_width=True,
            takes_weights=False,
            source="Xiao et al. 2014, Table 1, after Krizhevsky et al. 2012",
        ),
        "small_cnn": Backbone(
            builder="hierkeras.models.small_cnn:small_cnn",
            min_image_size=8,
            takes_width=True,
            takes_weights=False,
            source="a plain network in the manner of Simonyan & Zisserman "
            "2015, https://arxiv.org/abs/1409.1556",
            can_resize=True,
        ),
        "small_resnet": Backbone(
            builder="hierkeras.models.small_resnet:small_resnet",
            min_image_size=8,
            takes_width=True,
            takes_weights=False,
            source="He et al. 2016, section 4.2, "
            "https://arxiv.org/abs/1512.03385",
            can_resize=True,
        ),
        "mobilenet_v3_small": _application(
            "mobilenet_v3_small", _MOBILENET_V3, takes_width=True
        ),
        "mobilenet_v3_large": _application(
            "mobilenet_v3_large", _MOBILENET_V3, takes_width=True
        ),
        "efficientnet_v2_b0": _application(
            "efficientnet_v2_b0", _EFFICIENTNET_V2
        ),
        "resnet50_v2": _application(
            "resnet50_v2", "He et al. 2016, https://arxiv.org/abs/1603.05027"
        ),
        "mobilenet_v2": _application(
            "mobilenet_v2",
            "Sandler et al. 2018, https://arxiv.org/abs/1801.04381",
            takes_width=True,
        ),
        "efficientnet_b0": _application(
            "efficientnet_b0",
            "Tan & Le 2019, https://arxiv.org/abs/1905.11946",
        ),
        "efficientnet_v2_b1": _application(
            "efficientnet_v2_b1", _EFFICIENTNET_V2
        ),
        "efficientnet_v2_b2": _application(
            "efficientnet_v2_b2", _EFFICIENTNET_V2
        ),
        "efficientnet_v2_b3": _application(
            "efficientnet_v2_b3", _EFFICIENTNET_V2
        ),
        "convnext_tiny": _application(
            "convnext_tiny", "Liu et al. 2022, https://arxiv.org/abs/2201.03545"
        ),
        "densenet121": _application(
            "densenet121", "Huang et al. 2017, https://arxiv.org/abs/1608.06993"
        ),
        "resnet50": _application(
            "resnet50", "He et al. 2016, https://arxiv.org/abs/1512.03385"
        ),
    }
)

# Those of `hierkeras.data.decoding.pixels`, which models do not know.
Resize = Literal["crop", "pad", "stretch"]
Background = Literal["white", "grey", "black"]
# Those of `hierkeras.models.ranges`, which imports Keras.
InputRange = Literal["inside", "unit", "symmetric", "imagenet", "caffe"]

# Before the id of a network that the work directory holds.
TRUNK = "trunk:"
# What files of networks end in.
MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything but the classes that decides what a network computes."""

    backbone: Annotated[
        str,
        option(
            f"Network of every node: {', '.join(BACKBONES)}; or a file of a "
            "Keras model (.keras, .h5), which every node then starts from. To "
            "begin with its classes too: flags import_model, import_classes.",
            flag="backbone",
        ),
    ] = "small_cnn"
    image_size: Annotated[
        int,
        option(
            "Height and width of the images in pixels; 0: by the images.",
            0,
            MAX_IMAGE_SIZE,
            flag="image_size",
        ),
    ] = 0
    width_multiplier: Annotated[
        float,
        option(
            "Factor on every layer's channels.",
            MIN_WIDTH,
            MAX_WIDTH,
            flag="width_multiplier",
        ),
    ] = 1.0
    dropout: (
        Annotated[
            float, option("Rate; the backbone's own if not given.", 0.0, 0.999)
        ]
        | None
    ) = None
    backbone_weights: Annotated[
        str,
        option(
            "A local file to start from, imagenet for what Keras publishes, "
            "or none.",
            flag="backbone_weights",
        ),
    ] = "none"
    resize: Annotated[
        Resize,
        option(
            "How an image becomes a square: crop takes its central square, "
            "pad adds background, stretch changes its proportions.",
            flag="resize",
        ),
    ] = "crop"
    background: Annotated[
        Background,
        option("What shows where an image is transparent, or padded."),
    ] = "white"
    input_range: (
        Annotated[
            InputRange,
            option(
                "Values that the network of a file wants images in: inside "
                "(it takes 0 to 255, for its preprocessing is inside), unit "
                "(0 to 1), symmetric (-1 to 1), imagenet (less ImageNet's "
                "mean, by its deviation) or caffe (BGR less the mean); unset: "
                "it must have its preprocessing inside.",
                flag="input_range",
            ),
        ]
        | None
    ) = None
    feature_depths: Annotated[
        int,
        option(
            "Above a trunk, of how many sizes of its maps, the smallest first, "
            "there are features beside its own, at most; 0: none.",
            0,
            100,
        ),
    ] = 0

    @property
    def is_file(self) -> bool:
        """Whether the network is one that somebody saved."""
        return self.backbone.endswith(MODEL_SUFFIXES)

    @property
    def trunk(self) -> str:
        """The id of the trunk that every node starts from; empty: none."""
        if not self.backbone.startswith(TRUNK):
            return ""
        return self.backbone.removeprefix(TRUNK)


def check_config(config: ModelConfig) -> None:
    """Checks, without building it, that a network can be had.

    Args:
        config: The network asked for.

    Raises:
        UsageError: The backbone is unknown, or cannot take the image size, the
            width multiplier, the dropout rate or the weights.
    """
    if config.trunk or config.is_file:
        _check_trunk(config)
        return
    backbone = BACKBONES.get(config.backbone)
    if backbone is None:
        raise UsageError(
            f"Unknown backbone {config.backbone!r}: "
            f"expected one of {', '.join(BACKBONES)}, or a file that ends in "
            f"{' or '.join(MODEL_SUFFIXES)}."
        )
    if config.image_size < backbone.min_image_size:
        raise UsageError(
            f"Backbone {config.backbone} takes images of at least "
            f"{backbone.min_image_size} pixels. "
            f"Received: image_size={config.image_size}."
        )
    if config.image_size > MAX_IMAGE_SIZE:
        raise UsageError(
            f"Images have at most {MAX_IMAGE_SIZE} pixels a side. "
            f"Received: image_size={config.image_size}."
        )
    if not 0 < config.width_multiplier <= MAX_WIDTH:
        raise UsageError(
            "The width multiplier must be greater than 0, and at most "
            f"{MAX_WIDTH:g}. "
            f"Received: width_multiplier={config.width_multiplier}."
        )
    if config.width_multiplier != 1 and not backbone.takes_width:
        takers = [name for name, b in BACKBONES.items() if b.takes_width]
        raise UsageError(
            f"Backbone {config.backbone} comes in one width only. "
            f"Received: width_multiplier={config.width_multiplier}; use 1, "
            f"or one of {', '.join(takers)}."
        )
    if config.dropout is not None and not 0 <= config.dropout < 1:
        raise UsageError(
            "The dropout rate must be in [0, 1). "
            f"Received: dropout={config.dropout}."
        )
    _check_weights(config, backbone)


def _check_trunk(config: ModelConfig) -> None:
    """Refuses what does not apply to a network that somebody saved."""
    for name, neutral in (
        ("width_multiplier", 1.0),
        ("backbone_weights", "none"),
    ):
        if (value := getattr(config, name)) != neutral:
            raise UsageError(
                f"{name} does not apply to a network of a file, which is as "
                f"it was saved. Received: {name}={value!r}."
            )


def check_resizable(config: ModelConfig) -> None:
    """Checks that a trained network can be made wider or narrower.

    Args:
        config: The network.

    Raises:
        UsageError: If it cannot.
    """
    if not BACKBONES[config.backbone].can_resize:
        able = [name for name, b in BACKBONES.items() if b.can_resize]
        raise UsageError(
            f"A trained {config.backbone} cannot be made wider or narrower: "
            f"use one of {', '.join(able)}."
        )


def _check_weights(config: ModelConfig, backbone: Backbone) -> None:
    weights = config.backbone_weights
    if weights == "none":
        return
    if not backbone.takes_weights:
        takers = [name for name, b in BACKBONES.items() if b.takes_weights]
        raise UsageError(
            f"Backbone {config.backbone} has no pretrained weights. "
            f"Received: backbone_weights={weights!r}; use 'none', "
            f"or one of {', '.join(takers)}."
        )
    if weights != "imagenet" and not os.path.isfile(weights):
        raise UsageError(
            "backbone_weights must be 'none', 'imagenet' or a local file. "
            f"No such file: {weights!r}."
        )


def build_model(config: ModelConfig, num_classes: int) -> keras.Model:
    """Builds a network with freshly drawn weights.

    Weights are drawn from Keras's global generator: call
    `keras.utils.set_random_seed` before, to have the same ones again. Layers
    follow Keras's global dtype policy; images and logits stay float32.

    Args:
        config: The network.
        num_classes: Number of classes, at least 1.

    Returns:
        A functional model from float32 images of shape
        (n, image_size, image_size, 3) in 0..255 to float32 logits of shape
        (n, num_classes). Its last layer is a `Dense` named "logits".

    Raises:
        UsageError: As for `check_config`.
        UserError: The file of weights does not fit the backbone.
        ValueError: `num_classes` is less than 1.
    """
    check_config(config)
    if num_classes < 1:
        raise ValueError(
            f"A model needs at least 1 class. Received: {num_classes=}"
        )
    backbone = BACKBONES[config.backbone]
    options: dict[str, Any] = {}
    if backbone.takes_width:
        options["width_multiplier"] = config.width_multiplier
    if backbone.takes_weights and config.backbone_weights != "none":
        options["weights"] = config.backbone_weights
    if config.dropout is not None:
        options["dropout"] = config.dropout
    module, function = backbone.builder.split(":")
    builder = getattr(importlib.import_module(module), function)
    return builder(config.image_size, num_classes, **options)
