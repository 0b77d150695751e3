"""The recipe: a preset, and what differs from it."""

from __future__ import annotations

from absl import flags

from hierkeras import _field_flags
from hierkeras.recipe import presets
from hierkeras.recipe.compose import Asked

HELP = "help"
_RECIPE = flags.DEFINE_enum(
    "recipe",
    None,
    [*presets.NAMES, HELP],
    "Where the recipe begins. Without it: what the work directory remembers; "
    "in a new one digits for digits, else photos. help: lists every field "
    "with its value.",
)
_field_flags.define(__name__, "network", "training", "growth")

_SECTIONS = (
    "network",
    "training",
    "growth",
    "routing",
    "serving",
    "watching",
)


def wants_help() -> bool:
    """Whether the fields are to be listed."""
    return bool(_RECIPE.value == HELP)


def asked() -> Asked:
    """What the flags give.

    Raises:
        UsageError: If they make no sense.
    """
    preset = None if wants_help() else _RECIPE.value
    return Asked(preset, _field_flags.given(*_SECTIONS))
