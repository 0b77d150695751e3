"""Recipes that have a name: a module each, whose docstring says for what.

A module holds `RECIPE`. Its docstring tells for what the recipe is, what it
costs and the error that was measured.
"""

from __future__ import annotations

import importlib
import inspect

from hierkeras._errors import UsageError
from hierkeras.recipe.recipe import Recipe

NAMES = ("photos", "pretrained", "stream", "exemplars", "digits", "paper")


def preset(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        UsageError: If there is none.
    """
    recipe: Recipe = _module(name).RECIPE
    return recipe


def about(name: str) -> str:
    """For what the recipe of a name is, its cost and its error.

    Raises:
        UsageError: If there is none.
    """
    return inspect.getdoc(_module(name)) or ""


def _module(name: str):
    if name not in NAMES:
        raise UsageError(
            f"--recipe takes one of {', '.join(NAMES)}, or help. "
            f"Received: {name!r}"
        )
    return importlib.import_module(f"{__name__}.{name}")
