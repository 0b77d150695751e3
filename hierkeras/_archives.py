"""Archives of arrays, as `numpy.savez` writes them, that others may have made.

NumPy reads an array's header with Python's own parser. So what is raised for a
file that is none may be anything: an error of zlib, of tokens, of recursion.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def told_damaged() -> Iterator[None]:
    """Has whatever a damaged archive makes NumPy raise be a ValueError.

    Raises:
        ValueError: In a line, why it cannot be read.
        MemoryError: If memory does not suffice.
        OSError: If the disk fails.
    """
    try:
        yield
    except (MemoryError, OSError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise ValueError(lines[0] if lines else repr(error)) from None
