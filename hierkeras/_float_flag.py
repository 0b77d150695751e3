"""A flag that is a number within bounds; absl lets NaN pass them."""

from __future__ import annotations

import math
from typing import Any

from absl import flags

flags.disclaim_key_flags()  # they are those of the module that defines them


def define_float(
    name: str,
    default: float | None,
    help_text: str,
    lower_bound: float,
    upper_bound: float,
) -> flags.FlagHolder[Any]:
    """Defines a flag, as `flags.DEFINE_float` does.

    Args:
        name: Its name.
        default: Its value if it is not given.
        help_text: What `--help` says of it.
        lower_bound: The least value that is accepted.
        upper_bound: The greatest.
    """
    return flags.DEFINE(
        _Parser(lower_bound, upper_bound),
        name,
        default,
        help_text,
        serializer=flags.ArgumentSerializer(),
    )


class _Parser(flags.FloatParser):
    def is_outside_bounds(self, val: float) -> bool:
        return math.isnan(val) or super().is_outside_bounds(val)
