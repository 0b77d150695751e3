"""What a work directory remembers: its data set and its recipe.

A generation records both. A later command starts from them; what it is given
overrides them, but for what may not change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import msgspec

from hierkeras._errors import UsageError, UserError
from hierkeras.data import names, nothing
from hierkeras.data.source import DataConfig, Source
from hierkeras.models.registry import ModelConfig
from hierkeras.recipe import fields, resolve
from hierkeras.recipe.recipe import Recipe, check
from hierkeras.tree.generation import Generation

# What no later step may change: the network of every node, and the splits.
FIXED_SECTION = "network"
_FIXED_DATA = ("validation_fraction", "test_fraction")


class Remembered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a generation records of how it was made.

    Args:
        data: The data set, and how it is split.
        kind: Of the data set, such as `folder`.
        recipe: The recipe, with nothing left open.
        preset: Name of the preset that it came from.
    """

    data: DataConfig
    kind: str
    recipe: Recipe
    preset: str


def to_settings(remembered: Remembered) -> dict[str, Any]:
    """What a generation holds, as JSON gives it back."""
    raw = msgspec.json.encode(remembered)
    return msgspec.json.decode(raw, type=dict[str, Any])


def read(generation: Generation) -> Remembered:
    """Reads what a generation records.

    Raises:
        UserError: If it makes no sense, or was written before version 0.1.
    """
    file = f"generations/{generation.number:06d}.json of the work directory"
    if "recipe" not in generation.settings:
        raise UserError(
            f"{file} records no recipe: it was grown by an earlier "
            "development version; take another --workdir"
        )
    try:
        found = msgspec.convert(generation.settings, Remembered)
        unknown = sorted(
            generation.settings["data"].keys() - dataclasses.asdict(found.data)
        )
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no setting of the data")
        check(without_weights(found.recipe))
        # A default in place of what was recorded would be another recipe.
        if to_settings(found) != generation.settings:
            raise ValueError("fields of the recipe are missing")
        if left := resolve.open_in(found.recipe):
            raise ValueError(f"{left[0]} is left open")
    except (msgspec.ValidationError, UsageError, ValueError) as error:
        raise UserError(
            f"the settings in {file} make no sense ({error}); restore the "
            "file, or point LATEST at an earlier generation"
        ) from None
    return found


def without_weights(recipe: Recipe) -> Recipe:
    """The same, of later generations: they need no file of weights."""
    return fields.changed(recipe, {"backbone_weights": "none"})


def check_same(
    latest: Generation, wanted: Remembered, source: Source, workdir: str
) -> None:
    """Checks that a step may go on from a generation.

    The folder of a data set may have moved; its kind, its splits, the network
    and the classes that the tree knows may not change.

    Args:
        latest: The generation to go on from.
        wanted: What the step would record.
        source: The opened data set.
        workdir: For the message.

    Raises:
        UserError: If they differ.
    """
    recorded = read(latest)
    changes: list[tuple[str, Any, Any]] = []
    if recorded.kind != nothing.KIND:  # else there was nothing to divide
        changes.append(("dataset", recorded.kind, wanted.kind))
        for name in _FIXED_DATA:
            before = getattr(recorded.data, name)
            changes.append((name, before, getattr(wanted.data, name)))
    for name in ModelConfig.__struct_fields__:
        if name != "backbone_weights":
            before = fields.value(recorded.recipe, name)
            changes.append((name, before, fields.value(wanted.recipe, name)))
    for name, before, now in changes:
        if before != now:
            raise UserError(
                f"work directory {workdir} was grown with "
                f"{name}={fields.as_text(before)}. Received: "
                f"{fields.as_text(now)}; give {name} as before, or another "
                "--workdir"
            )
    check_classes(latest, source, workdir)


def check_photos(classes: Sequence[str], source: Source) -> None:
    """Checks that a data set has the classes that an imported model knows.

    A class that is new can be told only from those that there are photos of.

    Args:
        classes: The model's.
        source: The opened data set.

    Raises:
        UserError: If it lacks one.
    """
    there = frozenset(source.catalogue.class_names)
    missing = [name for name in classes if name not in there]
    if missing:
        raise UserError(
            f"data set {source.name} lacks {len(missing)} of the "
            f"{len(classes)} classes that the imported model knows, "
            f"{missing[0]!r} first, and new classes are learnt beside photos "
            "of the old: add some of each, under the names of "
            "--import_classes"
        )


def check_classes(generation: Generation, source: Source, workdir: str) -> None:
    """Checks that a data set has every class that a tree knows.

    Args:
        generation: The tree.
        source: The opened data set.
        workdir: For the message.

    Raises:
        UserError: If it lacks one; tells what it may be called now.
    """
    classes, present = generation.tree.classes, source.catalogue.class_names
    if read(generation).kind == nothing.KIND:
        check_photos(classes, source)
    there = frozenset(present)
    missing = [name for name in classes if name not in there]
    if not missing:
        return
    unknown = sorted(there.difference(classes))
    renamed = names.likely_new_name(missing[0], unknown)
    remedy = (
        f"{renamed}: give it its old name back"
        if renamed
        else "give the data set that it was grown from, with all of them"
    )
    raise UserError(
        f"data set {source.name} lacks {len(missing)} of the {len(classes)} "
        f"classes that the tree in {workdir} knows, {missing[0]!r} first; "
        f"{remedy}, or take another --workdir"
    )
