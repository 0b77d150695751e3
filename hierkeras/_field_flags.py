"""Flags that are made from the recipe's fields."""

from __future__ import annotations

from typing import Any

from absl import flags

from hierkeras._errors import UsageError
from hierkeras.recipe import fields

flags.disclaim_key_flags()  # they are those of the module that defines them

_SET = "set"


def define(module: str, *sections: str) -> None:
    """Defines the flags of the fields of some sections that have one.

    Args:
        module: Name of the module whose flags they are.
        sections: Of the recipe.
    """
    for field in fields.fields().values():
        if field.section in sections and field.flag:
            _define(field, module)


def define_set(module: str) -> None:
    """Defines the flag that reaches every field of the recipe."""
    flags.DEFINE_multi_string(
        _SET,
        [],
        "FIELD=VALUE: any other field of the recipe; may be given several "
        "times.",
        module_name=module,
    )


def given(*sections: str) -> dict[str, Any]:
    """What the flags give of some sections, field by field.

    Raises:
        UsageError: If `--set` makes no sense, or contradicts a flag.
    """
    found: dict[str, Any] = {}
    for field in fields.fields().values():
        if field.section in sections and field.flag in flags.FLAGS:
            value = getattr(flags.FLAGS, field.flag)
            if value is not None:
                found[field.name] = value
    assigned: dict[str, Any] = {}
    for text in getattr(flags.FLAGS, _SET):
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"--set takes FIELD=VALUE. Received: {text!r}")
        field = fields.find(name.strip(), sections)
        new = field.parse(value)
        before = assigned.setdefault(field.name, new)
        if before != new:
            raise UsageError(
                f"--set {field.name}={fields.as_text(before)} contradicts "
                f"--set {field.name}={fields.as_text(new)}; give one of them"
            )
    for name, value in assigned.items():
        if found.get(name, value) != value:
            raise UsageError(
                f"--set {name}={fields.as_text(value)} contradicts "
                f"--{fields.fields()[name].flag}="
                f"{fields.as_text(found[name])}; give one of them"
            )
    return found | assigned


def _define(field: fields.Field, module: str) -> None:
    if field.values == ("true", "false"):
        flags.DEFINE_bool(field.flag, None, field.meaning, module_name=module)
        return
    valid = f" Valid: {field.valid}." if field.valid else ""
    flags.DEFINE(
        _Parser(field),
        field.flag,
        None,
        field.meaning + valid,
        serializer=flags.ArgumentSerializer(),
        module_name=module,
    )


class _Parser(flags.ArgumentParser[Any]):
    """Parses a field's value."""

    def __init__(self, field: fields.Field) -> None:
        super().__init__()
        self._field = field

    def parse(self, argument: Any) -> Any:
        """The value that a text means.

        Raises:
            ValueError: If it means none; absl names the flag.
        """
        try:
            return self._field.parse(str(argument))
        except UsageError as error:
            raise ValueError(str(error)) from None
