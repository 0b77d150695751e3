"""What every step of a work directory must agree on."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from hierkeras._errors import UsageError, UserError
from hierkeras.data import names
from hierkeras.data.source import DataConfig, Source
from hierkeras.models.registry import ModelConfig, check_config
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

_MAX_BEAM_WIDTH = 10**6  # as --beam_width has it


@dataclasses.dataclass(frozen=True)
class _Data(DataConfig):
    kind: str = dataclasses.field(kw_only=True)


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    data: _Data
    model: ModelConfig
    routing: Routing


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
        "routing": msgspec.to_builtins(routing),
    }


def data_config(generation: Generation) -> DataConfig:
    """The data set that a generation was made from.

    Raises:
        UserError: If the generation's settings make no sense.
    """
    data = _typed(generation).data
    return DataConfig(
        **{
            field.name: getattr(data, field.name)
            for field in dataclasses.fields(DataConfig)
        }
    )


def image_size(generation: Generation) -> int:
    """Height and width, in pixels, of the images that a tree takes.

    Raises:
        UserError: If the generation's settings make no sense.
    """
    return _typed(generation).model.image_size


def routing(generation: Generation) -> Routing:
    """How a tree answers.

    Raises:
        UserError: If the generation's settings make no sense.
    """
    return _typed(generation).routing


def _typed(generation: Generation) -> _Settings:
    recorded = generation.settings
    try:
        typed = msgspec.convert(recorded, _Settings)
        for part, fields in msgspec.to_builtins(typed).items():
            if unknown := sorted(recorded[part].keys() - fields.keys()):
                raise ValueError(f"{unknown[0]!r} is no setting of {part}")
        # A file of weights is needed for the first generation only.
        check_config(dataclasses.replace(typed.model, backbone_weights="none"))
        if typed.routing.beam_width > _MAX_BEAM_WIDTH:
            raise ValueError(f"beam_width is {typed.routing.beam_width}")
    except (msgspec.ValidationError, UsageError, ValueError) as error:
        raise UserError(
            f"the settings in generations/{generation.number:06d}.json of the "
            f"work directory make no sense ({error}); restore the file, or "
            "point LATEST at an earlier generation"
        ) from None
    return typed


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
    recorded = _typed(latest)
    typed = {"model": recorded.model, "data": recorded.data}
    for part, flags in (("model", _MODEL_FLAGS), ("data", _DATA_FLAGS)):
        for name, flag in flags.items():
            before, now = getattr(typed[part], name), wanted[part][name]
            if before != now:
                raise UserError(
                    f"work directory {workdir} was grown with {flag} "
                    f"{before}. Received: {now}; give {flag} as before, or "
                    "another --workdir"
                )
    check_classes(latest, source, workdir)


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
