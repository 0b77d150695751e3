"""What a binary does with Ctrl-C while it is still being imported.

Python would show where it stood, a traceback of somebody else's modules.
`_signals.handled` takes over once they are there.
"""

from __future__ import annotations

import os
import signal
import sys
import types
from typing import Final, NoReturn

_STATUS: Final = 128 + signal.SIGINT
_TOLD: Final = b"error: interrupted as it started; nothing was done\n"


def prepare() -> None:
    """Has the first Ctrl-C end the process, if it is one of our binaries."""
    try:
        _prepare()
    except KeyboardInterrupt:  # it came in between
        _end(signal.SIGINT, None)


def _prepare() -> None:
    # As long as the package of what `python -m` runs is imported.
    is_program = sys.argv[:1] == ["-m"] and any(
        argument.startswith("hierkeras.") for argument in sys.orig_argv
    )
    # A shell has what it starts in the background ignore it.
    if is_program and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: types.FrameType | None) -> NoReturn:
    # An exception might end in a module that makes another one of it.
    try:
        os.write(2, _TOLD)
    finally:
        os._exit(_STATUS)
