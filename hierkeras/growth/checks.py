"""Checks of the data set, and of what else a tree was grown from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from hierkeras._errors import UserError
from hierkeras.data import registry
from hierkeras.recipe import remembered
from hierkeras.tree.finding import Finding
from hierkeras.tree.generation import Generation
from hierkeras.tree.store import Store

# One needs TensorFlow, and nothing can be wrong with the other.
_UNCHECKED = ("tfds", "digits")


def trunks(generations: Iterable[Generation]) -> set[str]:
    """Ids of the trunks that generations stand on, as far as they tell."""
    found = set()
    for generation in generations:
        with contextlib.suppress(UserError):
            found.add(remembered.read(generation).recipe.network.trunk)
    return found - {""}


def check_data(store: Store, latest: Generation) -> list[Finding]:
    """Checks that the data set is there, and has the classes of the tree.

    Args:
        store: The work directory.
        latest: The generation that `LATEST` points at.
    """
    place = "--dataset"
    try:
        data = remembered.read(latest).data
        place = data.dataset
        if place.partition(":")[0] in _UNCHECKED:
            return []
        source = registry.open_source(data)
        remembered.check_classes(latest, source, str(store.root))
    except UserError as error:
        return [
            Finding(
                "information",
                place,
                f"the data set cannot be used: {error}",
                "bring it back; or, if it has moved, say by --dataset where "
                "it is now",
            )
        ]
    return []
