"""Standard input, output and error, also where there are none or nobody reads.

Whoever starts a process may close any of the three. Their descriptors would
then be those of the next files that are opened: what is printed, also by C++,
would go into them.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Final

_MODES: Final = (
    ("stdin", os.O_RDONLY, "r"),
    ("stdout", os.O_WRONLY, "w"),
    ("stderr", os.O_WRONLY, "w"),
)


def prepare() -> None:
    """Opens what is closed, as the null device, and lets every letter through.

    Call it before anything opens a file that stays open.
    """
    for number, (name, flags, mode) in enumerate(_MODES):
        if not _is_open(number):
            nowhere = os.open(os.devnull, flags)
            os.dup2(nowhere, number)
            if nowhere != number:
                os.close(nowhere)
        # Children have it too, as the three always are theirs.
        os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        # Not every terminal has the letters of every class.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Writes out what was printed.

    Raises:
        OSError: If standard output does not take it; what is left is dropped.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        drop()
        error.filename = "standard output"
        raise


def drop() -> None:
    """Sends what is printed from now on, and what is left, to nobody.

    Python would write what is left as it ends, and complain.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def tell(line: str) -> None:
    """Prints a line on standard error, if that takes it."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        with contextlib.suppress(OSError):
            drop()


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
