"""The generation that a binary is about, and the images it was grown from."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from absl import flags

from hierkeras import _common_flags
from hierkeras._errors import UserError
from hierkeras.data import places, told
from hierkeras.growth import changes, summary
from hierkeras.recipe import remembered
from hierkeras.training import results, startup
from hierkeras.training.context import Context, ContextConfig
from hierkeras.tree.generation import Generation
from hierkeras.tree.store import Store

_GENERATION = flags.DEFINE_integer(
    "generation", None, "Which tree; the latest if not given.", lower_bound=1
)


def read(store: Store) -> Generation:
    """Reads the generation that the flag picks.

    Raises:
        UserError: If there is none, or it is damaged.
    """
    latest = store.latest()
    if latest is None:
        raise UserError(
            f"work directory {store.root} holds no tree; grow one with "
            f"python -m hierkeras.increment --workdir={store.root}"
        )
    number = _GENERATION.value
    if number is None:
        return latest
    return numbered(store, number, "generation")


def numbered(store: Store, number: int, flag: str) -> Generation:
    """Reads the generation of a number that a flag gives.

    Args:
        store: The work directory.
        number: The number.
        flag: The flag's name.

    Raises:
        UserError: If there is none, or it is damaged.
    """
    # Later ones than the latest are there after a roll-back.
    numbers = store.numbers().generations
    if number not in numbers:
        there = ", ".join(map(str, numbers))
        raise UserError(
            f"--{flag}={number}: work directory {store.root} has {there}; "
            "give one of these"
        )
    return store.read(number)


def open_context(store: Store, generation: Generation) -> Context:
    """Opens the data set that a generation was grown from.

    Raises:
        UserError: If it cannot be read, or lacks a class of the tree; or if
            the generation does not fit its settings or its jobs.
    """
    recorded = remembered.read(generation)
    data, image_size = recorded.data, recorded.recipe.network.image_size
    results.check_jobs(store, generation, image_size)
    if _common_flags.DATASET.value is not None:
        data = dataclasses.replace(data, dataset=_common_flags.DATASET.value)
    else:
        data = places.found(data, str(store.root))
    if data.dataset.startswith("tfds:"):
        startup.start_tensorflow()  # which such a data set needs at once
    context = Context(
        ContextConfig(
            workdir=str(store.root),
            data=data,
            image_size=image_size,
            pixels=recorded.recipe.pixels,
            unreadable=generation.step.unreadable_images,
            exemplars=generation.step.exemplars,
        )
    )
    remembered.check_classes(generation, context.source, str(store.root))
    return context


def tell(generation: Generation, context: Context) -> dict[str, Any]:
    """Says which data it is, and how they differ from those of the tree.

    Args:
        generation: The tree.
        context: As `open_context` gave it.

    Returns:
        The same for programs.
    """
    found = changes.find_changes(generation, context)
    lines = told.lines(context.source)
    if found.classes:
        lines.append(
            "these are not the images that the tree was grown from: those of "
            f"{len(found.classes)} of {len(generation.tree.classes)} classes "
            "differ"
        )
    for line in [*lines, *summary.change_lines(found)]:
        print(line, file=sys.stderr)
    return {
        "data": told.as_object(context.source),
        "changed_classes": [dataclasses.asdict(one) for one in found.classes],
    }
