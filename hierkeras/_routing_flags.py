"""How the tree answers."""

from __future__ import annotations

from hierkeras import _field_flags
from hierkeras.recipe import fields
from hierkeras.recipe.recipe import Recipe

_field_flags.define(__name__, "routing")
_field_flags.define_set(__name__)


def changed(recipe: Recipe, *sections: str) -> Recipe:
    """A remembered recipe with what the flags give of some sections.

    Args:
        recipe: The recipe.
        sections: Beside `routing`.

    Raises:
        UsageError: If the flags make no sense.
    """
    given = _field_flags.given("routing", *sections)
    return fields.changed(recipe, given)
