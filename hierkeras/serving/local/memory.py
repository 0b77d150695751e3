"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
from typing import Final

# Of a request; less is soon used again, and looking for it takes time.
LARGE_BYTES: Final = 2**22


def give_back() -> None:
    """Gives back what was freed; glibc keeps most of it otherwise.

    Each of its arenas, one for a thread or two, keeps the most that it ever
    held.
    """
    if _TRIM is not None:
        _TRIM(0)


def _trim() -> ctypes._FuncPointer | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library
        return None


_TRIM: Final = _trim()
