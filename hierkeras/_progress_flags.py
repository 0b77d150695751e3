"""How much is told while it runs."""

from __future__ import annotations

import sys

from absl import flags

from hierkeras._errors import UsageError

_QUIET = flags.DEFINE_bool(
    "quiet", False, "Tell no progress: only what may surprise, and the result."
)
_VERBOSE = flags.DEFINE_bool(
    "verbose",
    False,
    "A line an epoch, which stays, on a terminal, too; elsewhere it is so.",
)


def progress() -> str:
    """How far jobs are is told by a `bar`, by `lines`, or not: `none`.

    Raises:
        UsageError: If both less and more is asked for.
    """
    if _QUIET.value and _VERBOSE.value:
        raise UsageError("--quiet and --verbose were given; give one")
    if _QUIET.value:
        return "none"
    is_watched = sys.stderr.isatty() and not _VERBOSE.value
    return "bar" if is_watched else "lines"
