"""From a preset, what is remembered and what is given to one recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import msgspec

from hierkeras.models.registry import ModelConfig
from hierkeras.recipe import fields, presets
from hierkeras.recipe.recipe import Recipe, check
from hierkeras.recipe.remembered import (
    FIXED_SECTION,
    Remembered,
    without_weights,
)
from hierkeras.recipe.resolve import Facts, resolve


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a command gives.

    Args:
        preset: Name of a preset; None: none is given.
        changes: Fields by name, and their values.
    """

    preset: str | None = None
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Composed:
    """A recipe, and where each of its fields comes from.

    Args:
        recipe: The recipe; fields may be left to the data.
        preset: The preset that it comes from.
        sources: Name of a field to `given`, `remembered`, `by the data` or
            `preset NAME`.
        chosen: What was chosen by the data and why, in a line; empty if
            nothing was.
    """

    recipe: Recipe
    preset: str
    sources: Mapping[str, str]
    chosen: str = ""

    def resolved(self, about: Facts) -> Composed:
        """The same with nothing left to the data.

        Raises:
            UsageError: If fields do not fit each other.
        """
        recipe, chosen = resolve(self.recipe, about)
        is_remembered = self.sources["backbone_weights"] == "remembered"
        # A file of weights is needed once: what starts from a model needs none.
        check(without_weights(recipe) if is_remembered else recipe)
        by_data = {
            name: "by the data"
            for name in fields.fields()
            if fields.value(recipe, name) != fields.value(self.recipe, name)
        }
        sources = {**self.sources, **by_data}
        return Composed(recipe, self.preset, sources, chosen)


def compose(
    asked: Asked, remembered: Remembered | None, default: str
) -> Composed:
    """Makes the recipe of a command.

    The default preset, then what the work directory remembers, then what is
    given. Another preset than the remembered one takes the place of what is
    remembered, but for the network, which no step may change. The same one
    changes nothing: what it left to the data was chosen when it was new.

    Args:
        asked: What is given.
        remembered: What the work directory remembers; None: nothing.
        default: Name of the preset where nothing else is known.

    Raises:
        UsageError: If there is no such preset.
    """
    known = remembered.preset if remembered else None
    preset = asked.preset or known or default
    if remembered and preset == known:
        recipe = remembered.recipe
        sources = dict.fromkeys(fields.fields(), "remembered")
    else:
        recipe = presets.preset(preset)
        sources = dict.fromkeys(fields.fields(), f"preset {preset}")
        if remembered:
            kept = {FIXED_SECTION: getattr(remembered.recipe, FIXED_SECTION)}
            recipe = msgspec.structs.replace(recipe, **kept)
            sources |= {
                name: "remembered"
                for name, field in fields.fields().items()
                if field.section == FIXED_SECTION
            }
    changes = {**_left_out(asked.changes), **asked.changes}
    sources |= dict.fromkeys(asked.changes, "given")
    return Composed(fields.changed(recipe, changes), preset, sources)


def _left_out(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the given fields have no use for, unless it is given, too."""
    changed: dict[str, Any] = {}
    if given.get("heads") == "trained":
        changed |= {"crops": 0, "shrinkage": None}
    if ModelConfig(backbone=given.get("backbone", "")).is_file:
        # A network of a file is as it was saved.
        changed["backbone_weights"] = "none"
    return changed


def lines(composed: Composed) -> list[str]:
    """Every field with its value, where that comes from, and its meaning."""
    width = max(map(len, fields.fields()))
    found, section = [], ""
    for name, field in fields.fields().items():
        if field.section != section:
            section = field.section
            found += ["", f"{section}:"]
        value = fields.as_text(fields.value(composed.recipe, name))
        found.append(
            f"  {name:{width}}  {value:16} ({composed.sources[name]}) "
            f"{field.meaning}"
            + (f" Valid: {field.valid}." if field.valid else "")
        )
    return [
        f"recipe {composed.preset}: {presets.about(composed.preset)}",
        *found,
    ]
