"""Heads that are solved above a small trunk, on the digits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hierkeras.data.source import DataConfig
from hierkeras.models.registry import ModelConfig
from hierkeras.recipe.training import Training
from hierkeras.training import trunk_files
from hierkeras.training.context import Context
from hierkeras.training.spec import JobSpec, Solved
from tests import builders, small_trunks

CLASSES = ("0", "1", "2", "3")


@dataclasses.dataclass(frozen=True)
class Ground:
    """A work directory with a trunk.

    Args:
        context: The work directory and the digits.
        network: The trunk by what it computes.
    """

    context: Context
    network: ModelConfig

    def spec(
        self,
        classes: Sequence[str] = CLASSES,
        parent: str | None = None,
        context: Context | None = None,
        **training: Any,
    ) -> JobSpec:
        """The spec of a head; fields of `Training` by name."""
        training = {"augment": "none", "max_epochs": 1, **training}
        here = context or self.context
        return JobSpec(
            classes=tuple(classes),
            network=self.network,
            training=Training(heads="solved", **training),
            data=here.catalogue.fingerprint(tuple(classes)),
            start=Solved(parent),
        )


def ground(folder: Path, depths: int = 1) -> Ground:
    """A new work directory with a small trunk."""
    file = small_trunks.write(folder / "network.keras", size=8)
    recipe = builders.recipe(
        heads="solved", backbone=str(file), feature_depths=depths
    )
    opened = trunk_files.opened(recipe)
    recipe, trunk = opened.recipe, opened.trunk
    data = DataConfig("digits", validation_fraction=0.2)
    context = builders.open_context(folder / "workdir", data=data)
    trunk_files.keep(context.store, trunk, recipe.network)
    return Ground(context, recipe.network)
