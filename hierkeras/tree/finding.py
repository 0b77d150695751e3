"""What a check of a work directory finds."""

from __future__ import annotations

import dataclasses
import os
import shlex
from typing import Literal

from etils import epath

Level = Literal["damage", "information"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that a person should know about a work directory.

    Args:
        level: `damage`: something is not what was written, or is not there;
            `information`: nothing has to be done.
        place: The file or folder.
        what: What is the matter with it.
        advice: What to do.
        commands: The shell commands that do it; of damage only.
    """

    level: Level
    place: str
    what: str
    advice: str = ""
    commands: tuple[str, ...] = ()


def command(*words: epath.PathLike) -> str:
    """A shell command of these words."""
    return shlex.join(os.fspath(word) for word in words)
