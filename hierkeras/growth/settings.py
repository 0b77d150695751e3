"""What every step of a work directory must agree on."""

from __future__ import annotations

import dataclasses
from typing import Any

from hierkeras._errors import UserError
from hierkeras.data.source import DataConfig, Source
from hierkeras.models.registry import ModelConfig
from hierkeras.tree.generation import Generation
from hierkeras.tree.routing import Routing

# Setting -> the flag that gives it.
_MODEL_FLAGS = {
    "backbone": "--backbone",
    "image_size": "--image_size",
    "width_multiplier": "--width_multiplier",
    "dropout": "--dropout",
}
_DATA_FLAGS = {
    "kind": "--dataset",
    "validation_fraction": "--validation_fraction",
    "test_fraction": "--test_fraction",
}


def to_settings(
    source: Source, data: DataConfig, model: ModelConfig, routing: Routing
) -> dict[str, Any]:
    """What a generation records, for later steps and readers.

    Args:
        source: The opened data set.
        data: How it was opened.
        model: The network of every node.
        routing: How the tree answers.
    """
    return {
        "data": {
            "kind": source.kind,
            **dataclasses.asdict(data),
            "class_list": list(data.class_list),  # as JSON gives it back
        },
        "model": dataclasses.asdict(model),
        "routing": dataclasses.asdict(routing),
    }


def data_config(generation: Generation) -> DataConfig:
    """The data set that a generation was made from."""
    fields = dict(generation.settings["data"])
    fields.pop("kind")
    return DataConfig(**{**fields, "class_list": tuple(fields["class_list"])})


def image_size(generation: Generation) -> int:
    """Height and width, in pixels, of the images that a tree takes."""
    return int(generation.settings["model"]["image_size"])


def routing(generation: Generation) -> Routing:
    """How a tree answers."""
    return Routing(**generation.settings["routing"])


def check_same(
    latest: Generation, wanted: dict[str, Any], source: Source, workdir: str
) -> None:
    """Checks that a step may go on from a generation.

    The folder of a data set may have moved; its kind, its splits, the
    network and the classes that the tree knows may not change.

    Args:
        latest: The generation to go on from.
        wanted: What `to_settings` gives for the step.
        source: The opened data set.
        workdir: For the message.

    Raises:
        UserError: If they differ.
    """
    for part, flags in (("model", _MODEL_FLAGS), ("data", _DATA_FLAGS)):
        for name, flag in flags.items():
            before, now = latest.settings[part][name], wanted[part][name]
            if before != now:
                raise UserError(
                    f"work directory {workdir} was grown with {flag} "
                    f"{before}. Received: {now}; give {flag} as before, or "
                    "another --workdir"
                )
    missing = [
        name
        for name in latest.tree.classes
        if name not in source.catalogue.class_names
    ]
    if missing:
        raise UserError(
            f"data set {source.name} lacks {len(missing)} of the "
            f"{len(latest.tree.classes)} classes that the tree in {workdir} "
            f"knows, {missing[0]!r} first; give the data set that it was "
            "grown from, or another --workdir"
        )
