"""What is written once of an option: its meaning, its bounds, its flag.

    class Training(msgspec.Struct, frozen=True):
        batch_size: Annotated[int, option("Images in a step.", 1, 2**20)] = 128

Command lines, help, checks of recorded recipes and job ids are all made from
such a field; see `hierkeras.recipe`.
"""

from __future__ import annotations

from typing import Any

import msgspec


def option(
    meaning: str,
    least: float | None = None,
    most: float | None = None,
    *,
    flag: str = "",
) -> msgspec.Meta:
    """Describes a field; `Annotated` takes it.

    Args:
        meaning: What `--help` says: one or two sentences, with the unit.
        least: The least number that is accepted; None: any.
        most: The greatest; None: any.
        flag: Name of the flag of its own that increments have for it; empty:
            it is reached by `--set`.
    """
    bounds: dict[str, Any] = {}
    if least is not None:
        bounds["ge"] = least
    if most is not None:
        bounds["le"] = most
    return msgspec.Meta(description=meaning, extra={"flag": flag}, **bounds)
