"""The export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from hierkeras import _field_flags
from hierkeras.recipe.recipe import Recipe

if TYPE_CHECKING:
    from hierkeras.serving.exporting import ExportConfig  # imports TensorFlow

_KEEP_VERSIONS = flags.DEFINE_integer(
    "keep_versions",
    0,
    "Most exported versions that stay, the latest ones; 0: all.",
    lower_bound=0,
    upper_bound=10**6,
)
_field_flags.define(__name__, "serving")


def export_config(recipe: Recipe, force: bool = False) -> ExportConfig:
    """How trees are to be exported.

    Args:
        recipe: How they answer.
        force: Whether the quality gate is off.
    """
    from hierkeras.serving.exporting import ExportConfig

    return ExportConfig(
        routing=recipe.routing,
        serving=recipe.serving,
        force=force,
        keep_versions=keep_versions(),
    )


def keep_versions() -> int:
    """Most exported versions that the flags ask to stay; 0: all."""
    return int(_KEEP_VERSIONS.value)
