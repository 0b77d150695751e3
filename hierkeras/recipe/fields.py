"""The fields of a recipe by name, for command lines and for people.

A name is unique in the whole recipe, so that `--set leaf_layers=4` needs no
path.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import msgspec

from hierkeras._errors import UsageError
from hierkeras.recipe.recipe import Recipe

_UNSET = "unset"


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of the recipe.

    Args:
        section: The part of the recipe that has it, such as `training`.
        name: Its name there.
        flag: The flag that it has of its own; empty: none.
        meaning: What it is.
        valid: Its valid values, in words; empty: any text.
        values: All of them, if they can be told; else none.
        kind: Its type, as `msgspec.convert` takes it.
        default: Its value in a bare recipe.
    """

    section: str
    name: str
    flag: str
    meaning: str
    valid: str
    values: tuple[str, ...]
    kind: Any
    default: Any

    def parse(self, text: str) -> Any:
        """The value that a text means.

        Raises:
            UsageError: If it means none that is valid.
        """
        word = text.strip()
        if self.valid:
            # msgspec's word for no value is null.
            word = {_UNSET: "null", "null": _UNSET}.get(word, word)
        try:
            value = msgspec.convert(word, self.kind, strict=False)
        except (msgspec.ValidationError, UnicodeEncodeError):
            raise UsageError(
                f"{self.flag or self.name} takes {self.valid}. "
                f"Received: {text!r}"
            ) from None
        return value


@functools.cache
def fields() -> Mapping[str, Field]:
    """Every field by its name, the most used of each section first."""
    found = {}
    for section in msgspec.structs.fields(Recipe):
        kinds = {f.name: f.type for f in msgspec.structs.fields(section.type)}
        for field in _described(section.type):
            found[field.name] = _field(section.name, field, kinds[field.name])
    return found


def value(recipe: Recipe, name: str) -> Any:
    """The value of a field."""
    return getattr(getattr(recipe, fields()[name].section), name)


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with other values of some fields.

    Args:
        recipe: The recipe.
        changes: Name of a field to its value.
    """
    sections: dict[str, dict[str, Any]] = {}
    for name, new in changes.items():
        sections.setdefault(fields()[name].section, {})[name] = new
    return msgspec.structs.replace(
        recipe,
        **{
            section: msgspec.structs.replace(getattr(recipe, section), **new)
            for section, new in sections.items()
        },
    )


def find(name: str, sections: tuple[str, ...] = ()) -> Field:
    """The field of a name, or of the flag that has it.

    Args:
        name: The name.
        sections: Those that may be asked for; none: all.

    Raises:
        UsageError: If there is no such field.
    """
    asked = [
        field
        for field in fields().values()
        if not sections or field.section in sections
    ]
    for field in asked:
        if name in (field.name, field.flag):
            return field
    raise UsageError(
        f"there is no field {name!r}; valid are "
        + ", ".join(field.name for field in asked)
    )


def as_text(value: Any) -> str:
    """A field's value as its flag takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return _UNSET
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _described(section: type) -> list[msgspec.inspect.Field]:
    info = msgspec.inspect.type_info(section)
    assert isinstance(info, msgspec.inspect.StructType)
    return list(info.fields)


def _field(section: str, field: msgspec.inspect.Field, kind: Any) -> Field:
    described: Any = field.type
    if isinstance(described, msgspec.inspect.UnionType):
        # A number, or none.
        described = next(t for t in described.types if hasattr(t, "extra"))
    values = _values(described.type)
    return Field(
        section=section,
        name=field.name,
        flag=described.extra["flag"],
        meaning=described.extra_json_schema["description"],
        valid=_valid(described.type, values),
        values=values,
        kind=kind,
        default=field.default,
    )


def _values(kind: Any) -> tuple[str, ...]:
    if isinstance(kind, msgspec.inspect.LiteralType):
        return tuple(str(value) for value in kind.values)
    if isinstance(kind, msgspec.inspect.BoolType):
        return ("true", "false")
    return ()


def _valid(kind: Any, values: tuple[str, ...]) -> str:
    if values:
        return f"{', '.join(values[:-1])} or {values[-1]}"
    if isinstance(kind, msgspec.inspect.StrType):
        return ""
    whole = isinstance(kind, msgspec.inspect.IntType)
    noun = "a whole number" if whole else "a number"
    return f"{noun} from {as_text(kind.ge)} to {as_text(kind.le)}"
