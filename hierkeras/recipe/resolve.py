"""What a recipe leaves to the data: image size, batches, epochs, growth."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from hierkeras.data import mirroring
from hierkeras.data.mirroring import Mirrored
from hierkeras.data.source import Source
from hierkeras.models.registry import BACKBONES
from hierkeras.recipe import fields
from hierkeras.recipe.recipe import Recipe

# Above so many images a side of 64 pixels is what 2 cores do in an hour.
_MANY_IMAGES = 10_000
_SIDE, _LARGE_SIDE = 64, 96
# Channels are halved by strides of 2: sides come in multiples of 8.
_SIDE_STEP = 8
# At so many images 20 epochs are enough (docs/results.md); with fewer images
# an epoch is fewer steps, and more of them are needed.
_IMAGES_OF_STUDY, _EPOCHS, _MOST_EPOCHS = 27_000, 20, 100
_BATCH_SIZES = (8, 16, 32)
_STEPS_PER_EPOCH = 32
# What says, of a field, that the data decide.
_LEFT_OPEN = (0, "auto")


@dataclasses.dataclass(frozen=True)
class Facts:
    """What of a data set decides how it is learnt.

    Args:
        num_images: Training images.
        num_classes: Classes.
        is_photos: Whether mirrored and moved images are still the same.
        side: The median of the shorter sides, in pixels, of some images; None
            if it cannot be told without decoding.
        look: Looks whether classes are mirror images of each other, which
            takes a while.
    """

    num_images: int
    num_classes: int
    is_photos: bool
    side: int | None
    look: Callable[[], Mirrored | None] = lambda: None

    @functools.cached_property
    def mirrored(self) -> Mirrored | None:
        """A class whose mirrored images look like another's, if there is."""
        return self.look() if self.is_photos else None


def facts(source: Source) -> Facts:
    """What decides, of a data set that is open."""
    catalogue = source.catalogue
    return Facts(
        len(catalogue.indices("train", catalogue.class_names)),
        len(catalogue.class_names),
        source.is_photos,
        source.typical_side(),
        functools.partial(mirroring.look, source),
    )


def resolve(recipe: Recipe, about: Facts) -> tuple[Recipe, str]:
    """Fills in what the recipe leaves to the data.

    Args:
        recipe: The recipe.
        about: What decides.

    Returns:
        The recipe without anything left open; and one line that says what was
        chosen and why, empty if nothing was.
    """
    chosen = {name: _CHOICES[name](recipe, about) for name in open_in(recipe)}
    return fields.changed(recipe, chosen), _line(chosen, recipe, about)


def reopened(recipe: Recipe, preset: Recipe, about: Facts) -> Recipe:
    """Leaves to the data again what there were no data to decide by.

    Args:
        recipe: The recipe.
        preset: The one that it came from.
        about: What it was resolved by. What is otherwise than that makes it
            was asked for, and stays.
    """
    resolved, _ = resolve(preset, about)
    return fields.changed(
        recipe,
        {
            name: fields.value(preset, name)
            for name in open_in(preset)
            if name != "image_size"
            and fields.value(recipe, name) == fields.value(resolved, name)
        },
    )


def open_in(recipe: Recipe) -> list[str]:
    """The fields that a recipe leaves to the data."""
    values = {name: fields.value(recipe, name) for name in _CHOICES}
    return [name for name, value in values.items() if value in _LEFT_OPEN]


def _image_size(recipe: Recipe, about: Facts) -> int:
    most = _SIDE if about.num_images > _MANY_IMAGES else _LARGE_SIDE
    side = min(about.side or _SIDE, most) // _SIDE_STEP * _SIDE_STEP
    backbone = BACKBONES.get(recipe.network.backbone)
    return max(side, _SIDE_STEP, backbone.min_image_size if backbone else 0)


def _batch_size(recipe: Recipe, about: Facts) -> int:
    num_images = about.num_images
    fitting = [b for b in _BATCH_SIZES if b * _STEPS_PER_EPOCH <= num_images]
    return max(fitting, default=_BATCH_SIZES[0])


def _max_epochs(recipe: Recipe, about: Facts) -> int:
    wanted = _EPOCHS * math.sqrt(_IMAGES_OF_STUDY / max(1, about.num_images))
    return round(min(max(wanted, _EPOCHS), _MOST_EPOCHS))


def _augment(recipe: Recipe, about: Facts) -> str:
    if not about.is_photos:
        return "none"
    if recipe.training.heads == "solved":
        return "none" if about.mirrored else "mirror"
    return "shift" if about.mirrored else "shift_mirror"


_CHOICES: Final[Mapping[str, Callable[[Recipe, Facts], Any]]] = {
    "image_size": _image_size,
    "batch_size": _batch_size,
    "max_epochs": _max_epochs,
    "augment": _augment,
}


def _line(chosen: dict[str, Any], recipe: Recipe, about: Facts) -> str:
    if not chosen:
        return ""
    what = [f"{name}={fields.as_text(new)}" for name, new in chosen.items()]
    side = f" of about {about.side} pixels" if about.side else ""
    kind = "photos" if about.is_photos else "images"
    growth = recipe.growth
    grows = f"growth={growth.increments}"
    if growth.increments != "flat" and growth.min_classes_to_clone > 2:
        grows += f" from {growth.min_classes_to_clone} classes on"
    if "augment" in chosen and about.mirrored:
        grows += f"; not mirrored, for {about.mirrored}"
    return (
        f"chosen for {about.num_images:,} training {kind}{side} of "
        f"{about.num_classes:,} classes: {', '.join(what)}; {grows}"
    )
