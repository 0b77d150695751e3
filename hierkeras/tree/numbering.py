"""Numbers of generations: in `LATEST`, and in the names of files."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Final

# As file names have six digits.
LARGEST: Final = 999_999
# Those of generations that somebody removed are free, but are not used again.
_LARGEST_GAP: Final = 1_000
_POINTER: Final = re.compile(rb"0{0,12}([0-9]{1,6})[ \t\r\n]*")
_FILE: Final = re.compile(r"([0-9]{6})\.(json|damaged)")
_LIKE_A_FILE: Final = re.compile(r"[0-9]+\.json")


@dataclasses.dataclass(frozen=True)
class Numbers:
    """The numbers that the files of a folder take up.

    Args:
        generations: Those of generations, sorted.
        taken: Those, and those of generations that were put aside.
        strange: Names of files that are no generation, though they are called
            as one: a step never gets as far.
    """

    generations: tuple[int, ...]
    taken: frozenset[int]
    strange: tuple[str, ...]

    @property
    def following(self) -> int:
        """One that no generation has had."""
        return max(self.taken, default=0) + 1


def file_name(number: int) -> str:
    """The name of a generation's file."""
    return f"{number:06d}.json"


def read_pointer(raw: bytes) -> int:
    """The number in `LATEST`.

    Raises:
        ValueError: If it is none.
    """
    found = _POINTER.fullmatch(raw)
    if found is None:
        text = raw[:40].decode("ascii", "replace")
        raise ValueError(
            f"it holds {text!r}, which is no number such as 000002"
        )
    return int(found[1])


def find(names: Iterable[str], latest: int = 0) -> Numbers:
    """Finds the generations among the files of a folder.

    A step takes the number after the last one, so one that is far from all
    before it is not of a step, and the next step does not go on from it.

    Args:
        names: The files' names.
        latest: The number in `LATEST`, which a step has reached.
    """
    names = sorted(names)
    found = {name: int(m[1]) for name in names if (m := _FILE.fullmatch(name))}
    reached = latest + _LARGEST_GAP
    taken: dict[str, int] = {}
    for name, number in sorted(found.items(), key=lambda item: item[1]):
        if 0 < number <= reached:
            taken[name] = number
            reached = max(reached, number + _LARGEST_GAP)
    return Numbers(
        tuple(number for name, number in taken.items() if "json" in name),
        frozenset(taken.values()),
        tuple(
            name
            for name in names
            if _LIKE_A_FILE.fullmatch(name) and name not in taken
        ),
    )
