"""Makes the trunk that a recipe names by a file, or by published weights."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import msgspec

from hierkeras._errors import UsageError
from hierkeras.models.registry import TRUNK, ModelConfig
from hierkeras.recipe.recipe import Recipe
from hierkeras.tree import atomic
from hierkeras.tree.store import Store

if TYPE_CHECKING:
    import keras

    from hierkeras.models.heads import Head
    from hierkeras.models.trunks import Cut


@dataclasses.dataclass(frozen=True)
class Opened:
    """A network that was to become a trunk.

    Args:
        recipe: It names the trunk by what it computes.
        trunk: The trunk.
        head: The classifier that was on top of its features, if there was one
            that fits them.
    """

    recipe: Recipe
    trunk: keras.Model
    head: Head | None = None


def is_named(recipe: Recipe) -> bool:
    """Whether a recipe names a network that is to become a trunk."""
    network = recipe.network
    return network.is_file or (
        recipe.training.heads == "solved" and not network.trunk
    )


def opened(recipe: Recipe) -> Opened:
    """Loads the network that a recipe names; needs TensorFlow.

    Args:
        recipe: For which `is_named`.

    Raises:
        UsageError: If it is none of a file, and knows nothing.
        UserError: If it cannot be loaded, or is no trunk for images.
    """
    from hierkeras.models import depths, trunks

    network, head = recipe.network, None
    if network.is_file:
        cut = _from_file(network)
        trunk = cut.network
        head = None if network.feature_depths else cut.head
    else:
        trunk = _published(network)
    trunk = depths.with_depths(trunk, network.feature_depths)
    changed = msgspec.structs.replace(
        network,
        backbone=f"{TRUNK}{trunks.identity(trunk)}",
        backbone_weights="none",
        image_size=trunk.input_shape[1],
        input_range=network.input_range or "inside",
    )
    recipe = msgspec.structs.replace(recipe, network=changed)
    return Opened(recipe, trunk, head)


def keep(store: Store, trunk: keras.Model, network: ModelConfig) -> None:
    """Writes a trunk into the work directory, unless it is there."""
    from hierkeras.models import trunks

    path = store.trunk(network.trunk)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.new_folder(path) as folder:
        trunks.write(folder, trunk)


def _from_file(network: ModelConfig) -> Cut:
    from hierkeras.models import foreign, trunks

    if network.backbone_weights != "none":
        raise UsageError(
            "backbone_weights does not apply to a network of a file, which is "
            "as it was saved. Received: backbone_weights="
            f"{network.backbone_weights}, backbone={network.backbone}"
        )
    model = foreign.load(os.path.expanduser(network.backbone))
    return trunks.cut(
        model,
        image_size=network.image_size,
        input_range=network.input_range,
    )


def _published(network: ModelConfig) -> keras.Model:
    from hierkeras.models import registry, surgery, trunks

    if network.backbone_weights == "none":
        raise UsageError(
            "heads=solved needs a network that has learnt from photos; give "
            "--backbone=FILE.keras, or --backbone_weights=imagenet or FILE. "
            f"Received: backbone={network.backbone}, backbone_weights=none"
        )
    if network.input_range not in (None, "inside"):
        raise UsageError(
            "input_range is of the network of a file: published ones have "
            "their preprocessing inside. Received: "
            f"input_range={network.input_range}, backbone={network.backbone}"
        )
    size = network.image_size or trunks.DEFAULT_IMAGE_SIZE
    sized = msgspec.structs.replace(network, image_size=size)
    trunk = surgery.feature_extractor(registry.build_model(sized, 1))
    trunk.trainable = False
    return trunk
