"""Class names that are told apart by no more than their spelling."""

from __future__ import annotations

import collections
import difflib
import unicodedata
from collections.abc import Callable, Iterable

from hierkeras._errors import UserError


def check_text(class_names: Iterable[str]) -> None:
    """Checks that the classes of a data set can be written down.

    Args:
        class_names: names of classes.

    Raises:
        UserError: if one is empty, or is no text.
    """
    for name in class_names:
        if not name or "\0" in name or not is_utf8(name):
            raise UserError(
                f"The data set has a class of the name {name!a}, which is no "
                "valid UTF-8 text; rename it."
            )


def is_utf8(name: str) -> bool:
    """Whether a name is text; on some systems one of a file may be none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_distinct(class_names: Iterable[str]) -> None:
    """Checks that people can tell the classes of a data set apart.

    Args:
        class_names: names of classes, each once.

    Raises:
        UserError: if two are the same text in different Unicode forms.
    """
    for one, other, *_ in _alike(class_names, _normal_form):
        raise UserError(
            f"The data set has the class {one!r} twice, in different Unicode "
            f"forms ({one!a} and {other!a}); rename or merge one of them."
        )


def differing_in_case(class_names: Iterable[str]) -> list[tuple[str, ...]]:
    """Returns the groups of classes that differ in upper and lower case only.

    Args:
        class_names: names of classes, each once.
    """
    return _alike(class_names, _caseless)


def likely_new_name(name: str, candidates: Iterable[str]) -> str | None:
    """Says what a class that is gone may be called now.

    Args:
        name: its name.
        candidates: names of other classes.

    Returns:
        Such as "'Bee' differs from it only in case"; None if none is near.
    """
    candidates = list(candidates)
    for difference, form in (
        ("only in Unicode form", _normal_form),
        ("only in case", _caseless),
    ):
        for other in candidates:
            if form(other) == form(name):
                return f"{other!r} differs from it {difference}"
    near = difflib.get_close_matches(name, candidates, 1)
    return f"{near[0]!r} is near" if near else None


def _alike(
    names: Iterable[str], form: Callable[[str], str]
) -> list[tuple[str, ...]]:
    groups = collections.defaultdict(list)
    for name in names:
        groups[form(name)].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _normal_form(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _caseless(name: str) -> str:
    return _normal_form(_normal_form(name).casefold())
