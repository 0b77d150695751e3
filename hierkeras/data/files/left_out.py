"""What of a data set is not used, and why; every file is accounted for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

_TOLD_KINDS = 6


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Files that are left out for one reason.

    Args:
        why: The reason, such as `an HTML page`.
        count: How many, at least 1.
        example: One of them.
    """

    why: str
    count: int
    example: str


class Tally:
    """Counts what is left out."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, why: str, example: str, count: int = 1) -> None:
        """Counts files.

        Args:
            why: The reason.
            example: One of them.
            count: How many.
        """
        if not count:
            return
        # A name may be no UTF-8, which nothing could print or record.
        example = example.encode(errors="backslashreplace").decode()
        before, first = self._found.get(why, (0, example))
        self._found[why] = before + count, first

    def add_all(self, others: Iterable[LeftOut]) -> None:
        """Counts what others have counted."""
        for one in others:
            self.add(one.why, one.example, one.count)

    def result(self) -> tuple[LeftOut, ...]:
        """What was counted, the most frequent first."""
        found = [LeftOut(why, *about) for why, about in self._found.items()]
        return tuple(sorted(found, key=lambda one: (-one.count, one.why)))


def line(left_out: Iterable[LeftOut]) -> str:
    """What is left out in words; empty if nothing is."""
    left_out = tuple(left_out)
    told = len(left_out) if len(left_out) <= _TOLD_KINDS + 1 else _TOLD_KINDS
    each = [
        f"{one.count:,} {one.why} ({one.example})"
        if one.count == 1
        else f"{one.count:,} {one.why} (such as {one.example})"
        for one in left_out[:told]
    ]
    if others := left_out[told:]:
        count = sum(one.count for one in others)
        each.append(f"{count:,} for {len(others)} other reasons")
    return f"left out: {'; '.join(each)}" if each else ""
