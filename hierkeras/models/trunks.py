"""Trunks: pretrained networks, frozen, that heads are put on.

trunks/<trunk id>/
  trunk.keras     from images to features, network and weights
  trunk.id        16 hex digits of what it computes
  SHA256SUMS      of both, as `sha256sum --check` takes it
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import keras
import numpy as np
from absl import logging
from etils import epath

from hierkeras._errors import UserError
from hierkeras.models import foreign, heads, ranges
from hierkeras.models.blocks import classifier, image_input
from hierkeras.models.flattening import flattened
from hierkeras.models.heads import Head
from hierkeras.models.ranges import InputRange
from hierkeras.tree import sums

MODEL_FILE = "trunk.keras"
ID_FILE = "trunk.id"

# Of networks that take any; what most of ImageNet's were trained on.
DEFAULT_IMAGE_SIZE = 224

# The layers that `cut` and `with_head` add themselves.
_OUR_NAMES = (
    *("centred", "dropout", "features", "less_means", "logits", "pooled"),
    *("standardised", "unit"),
)
_LONGEST_REASON = 120


@dataclasses.dataclass(frozen=True)
class Cut:
    """A network in two.

    Args:
        network: A frozen functional model, without models inside, from float32
            images of shape (n, image_size, image_size, 3) in 0..255 to float32
            features of shape (n, f).
        head: The classifier that was on top of them, if there was one:
            `softmax(features @ kernel + bias)` is what the network answered.
    """

    network: keras.Model
    head: Head | None


def cut(
    model: keras.Model,
    *,
    image_size: int = 0,
    input_range: InputRange | None,
) -> Cut:
    """Makes a trunk, and perhaps a head, of somebody's network.

    Args:
        model: As `foreign.load` gives it; left as it is.
        image_size: Height and width of the images in pixels; 0 for the
            network's own, and 224 if it takes any. Another than its own is
            possible where no weight depends on the size of the maps, as in
            convolutions up to a global pooling.
        input_range: The values that the network wants images in. None only if
            it has a preprocessing inside, which is looked for.

    Returns:
        The parts, with weights of their own.

    Raises:
        UserError: It does not take one RGB image, does not tell the values it
            wants, cannot take the image size, or has an output of which no
            features can be made.
    """
    ranges.check(input_range)
    own_size = _own_size(model, image_size)
    images = image_input(image_size or own_size)
    prepared = ranges.PREPARATIONS[input_range or "inside"](images)
    try:
        output = flattened(model, prepared, _OUR_NAMES)
    except (TypeError, ValueError) as error:
        raise _misfit(image_size, own_size, error) from None
    if input_range is None:
        ranges.check_inside(keras.Model(images, output))
    features, head = heads.split(output)
    network = keras.Model(images, features, name="trunk")
    network.trainable = False
    return Cut(network, head)


def _own_size(model: keras.Model, image_size: int) -> int:
    """The side of a network's images; checks that it takes images at all."""
    if not foreign.is_graph(model) or not model.built:
        raise UserError(
            "A trunk is made of a functional or Sequential model with an "
            f"input. Received: one of class {type(model).__name__}; save it "
            "as keras.Model(inputs, outputs)."
        )
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][3] != 3:
        raise UserError(
            "A trunk takes one RGB image, of shape (n, height, width, 3). "
            f"Received: {', '.join(map(str, shapes))}; give a network for "
            "such images, with channels last."
        )
    if len(model.outputs) != 1:
        raise UserError(
            "A trunk has one output. Received: "
            f"{len(model.outputs)}; save the network with the one to use."
        )
    _, height, width, _ = shapes[0]
    if height is None and width is None:
        if not image_size:
            logging.info(
                "The network takes images of any size; it is given %d pixels.",
                DEFAULT_IMAGE_SIZE,
            )
        return DEFAULT_IMAGE_SIZE
    if height != width and not image_size:
        raise UserError(
            "A trunk takes square images. Received: "
            f"{height} x {width} pixels; give an image size."
        )
    return height or width


def _misfit(image_size: int, own_size: int, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0][:_LONGEST_REASON]
    if image_size in (0, own_size):
        return UserError(f"The network's layers cannot be copied ({reason}).")
    return UserError(
        f"The network cannot take images of {image_size} pixels: its weights "
        f"are made for {own_size} ({reason}); give image_size={own_size}."
    )


def with_head(
    network: keras.Model, num_classes: int, dropout: float = 0.0
) -> keras.Model:
    """Puts a new classifier on a copy of a trunk.

    Args:
        network: From images to features of shape (n, f); models inside are
            taken apart. Layers that are frozen stay so in the copy.
        num_classes: Number of classes, at least 1.
        dropout: Rate of dropout on the features, in [0, 1).

    Returns:
        The model from float32 images in 0..255 to float32 logits of shape
        (n, num_classes). Its last layer is a `Dense` named "logits".
    """
    images = image_input(network.input.shape[1])
    features = flattened(network, images, ("dropout", "logits"))
    return classifier(images, features, num_classes, dropout, "with_head")


def identity(network: keras.Model) -> str:
    """Names a trunk by what it computes.

    Args:
        network: The trunk.

    Returns:
        16 hex digits of a SHA-256 sum of its structure, its image size and its
        weights, the same in every process. Names of layers do not matter, nor
        what may be trained. Another version of Keras may describe the
        structure otherwise, so it is written beside a trunk, not computed anew.
    """
    config = network.get_config()
    numbers = {
        layer["name"]: number for number, layer in enumerate(config["layers"])
    }
    described = json.dumps(_nameless(config, numbers), sort_keys=True)
    digest = hashlib.sha256(described.encode())
    for layer in network.layers:
        for weight in layer.weights:
            array = np.asarray(weight)
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _nameless(config: Any, numbers: dict[str, int]) -> Any:
    """A configuration with layers numbered in place of named."""
    if isinstance(config, (list, tuple)):
        return [_nameless(item, numbers) for item in config]
    if not isinstance(config, dict):
        return config
    ignored = ("name", "trainable", "shared_object_id", "build_config")
    references = ("keras_history", "input_layers", "output_layers")
    return {
        key: _numbered(value, numbers)
        if key in references
        else _nameless(value, numbers)
        for key, value in config.items()
        if key not in ignored
    }


def _numbered(reference: Any, numbers: dict[str, int]) -> Any:
    if isinstance(reference, (list, tuple)):
        return [_numbered(item, numbers) for item in reference]
    return numbers.get(reference, reference)


def write(folder: epath.Path, network: keras.Model) -> str:
    """Writes a trunk into a folder that is not yet visible.

    Args:
        folder: An empty folder.
        network: The trunk; it is kept without an optimizer.

    Returns:
        Its id.
    """
    # A model that was never compiled has no optimizer to save.
    plain = keras.Model(network.input, network.output, name=network.name)
    keras.saving.save_model(plain, str(folder / MODEL_FILE))
    trunk = identity(network)
    (folder / ID_FILE).write_text(f"{trunk}\n")
    sums.write(folder, folder / sums.SUMS_FILE)
    return trunk


def read(folder: epath.Path, trunk: str) -> keras.Model:
    """Reads a trunk.

    Args:
        folder: What `write` filled.
        trunk: The id of the trunk that is to be in it.

    Returns:
        The trunk, frozen.

    Raises:
        UserError: It is missing, damaged, or another.
    """
    try:
        sums.read(folder, MODEL_FILE)
        found = sums.read(folder, ID_FILE).decode("ascii", "replace").strip()
    except (OSError, ValueError) as error:
        raise UserError(
            f"The trunk in {folder} is missing or damaged ({error}): remove "
            "that folder, and give the network that it was made of again, "
            "with --backbone."
        ) from None
    if found != trunk:
        raise UserError(f"The trunk in {folder} is {found!r}, not {trunk!r}.")
    network = foreign.load(str(folder / MODEL_FILE))
    network.trainable = False
    return network
