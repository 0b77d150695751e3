"""What a version is, for programs: manifest.json.

It comes last but for the model card that is made of it, and after both the
check sums of the version's files:
`sha256sum --check assets.extra/SHA256SUMS` in the version's folder.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import msgspec
from etils import epath

from hierkeras import __version__
from hierkeras.recipe.serving import Serving
from hierkeras.serving.checks import model_card
from hierkeras.training.context import Context
from hierkeras.tree import sums
from hierkeras.tree.generation import Generation
from hierkeras.tree.routing import Routing, temperature

if TYPE_CHECKING:  # they import TensorFlow
    from hierkeras.serving.checks.verification import Verified

EXTRA = "assets.extra"
MANIFEST = "manifest.json"


def write(
    folder: epath.Path,
    generation: Generation,
    context: Context,
    routing: Routing,
    serving: Serving,
    verified: Verified,
) -> None:
    """Writes it, the model card, and the check sums of all files.

    Args:
        folder: The version, whose other files are there.
        generation: The generation.
        context: Its data set.
        routing: How the served tree answers.
        serving: What it answers.
        verified: How its answers compared with the tree's.
    """
    content = describe(generation, context, routing, serving, verified)
    raw = msgspec.json.format(msgspec.json.encode(content), indent=1)
    extra = folder / EXTRA
    (extra / MANIFEST).write_bytes(raw + b"\n")
    (extra / model_card.FILE).write_text(model_card.text(content))
    sums.write(folder, extra / sums.SUMS_FILE)


def describe(
    generation: Generation,
    context: Context,
    routing: Routing,
    serving: Serving,
    verified: Verified,
) -> dict[str, Any]:
    """The manifest; errors are top-1, in [0, 1], on validation images."""
    import keras  # not needed to read one
    import tensorflow as tf

    tree, step = generation.tree, generation.step
    return {
        "generation": generation.number,
        "parent": generation.parent,
        "classes": list(tree.classes),
        "tree": tree,
        "jobs": sorted({node.job for node in tree.nodes()}),
        "data": {
            **generation.settings["data"],
            **_data(context, tree.classes),
        },
        "model": generation.settings["recipe"]["network"],
        "routing": msgspec.to_builtins(routing),
        "temperature": temperature(tree, routing.rule),
        "serving": msgspec.to_builtins(serving),
        "validation_error": step.error_after,
        "old_classes_validation_error_before": step.old_error_before,
        "old_classes_validation_error_after": step.old_error_after,
        "verified": dataclasses.asdict(verified),
        "versions": {
            "hierkeras": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
        "exported_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _data(context: Context, classes: tuple[str, ...]) -> dict[str, Any]:
    catalogue = context.catalogue
    return {
        "name": context.source.name,
        "fingerprint": catalogue.fingerprint(classes),
        "validation_images": len(catalogue.indices("validation", classes)),
    }


def differences(
    folder: epath.Path, routing: Routing, serving: Serving
) -> list[str]:
    """How a version answers otherwise than is asked for.

    Args:
        folder: The version.
        routing: How the tree is to answer.
        serving: What it is to answer.

    Returns:
        Such as "contention 0 instead of 0.6"; nothing where the version does
        not say how it answers, which `hierkeras.doctor` reports.
    """
    try:
        raw = (folder / EXTRA / MANIFEST).read_bytes()
        content = msgspec.json.decode(raw, type=_Answering)
    except (OSError, ValueError, RecursionError):
        return []
    asked = msgspec.to_builtins(routing) | msgspec.to_builtins(serving)
    del asked["max_old_class_regression"]  # decides whether it is there
    there = {**msgspec.to_builtins(content.routing), **content.serving}
    used = {"rule", *routing.acting.uses, *Serving.__struct_fields__}
    called = {"rule": "routing"}  # as the flags are
    return [
        f"{called.get(name, name)} {there.get(name, 'unknown')} instead of "
        f"{wanted}"
        for name, wanted in asked.items()
        if name in used and there.get(name) != wanted
    ]


class _Answering(msgspec.Struct):
    """The part of a manifest that says how a version answers."""

    routing: Routing
    serving: dict[str, Any]
