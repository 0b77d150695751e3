"""Names in a work directory: what they may be, and how they are shown.

Ids of jobs and names of nodes become names of files. So what a file of a
work directory calls one is believed only if it can be no other path.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

JobId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-z]{1,64}\Z")]
NodeName = Annotated[str, msgspec.Meta(pattern=r"^root(\.[1-9][0-9]*)*\Z")]


def shown(name: str, most: int = 100) -> str:
    r"""A name as a person may be shown it.

    Classes have the names of a stranger's folders: one could hold a line
    break, what moves a terminal's cursor, or 5,000 letters.

    Args:
        name: The name.
        most: Most letters of it.

    Example:
    >>> shown("bee\x1b[31m")
    'bee\\x1b[31m'
    """
    if len(name) > most:
        name = f"{name[: most - 1]}…"
    return printable(name)


def printable(text: str) -> str:
    """A text in which escapes stand for what cannot be printed."""
    return "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape").decode()
        for letter in text
    )
