"""Faults of disks, of memory and of data, told in one line.

A programming fault is none of these: it keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Collection
from typing import Final

_MISPLACED: Final = (errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
# What to do about an error number of the operating system.
_REMEDIES: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free space there"),
    errno.EFBIG: "allow larger files (ulimit -f)",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files"),
    **dict.fromkeys(
        (errno.EROFS, errno.EACCES, errno.EPERM),
        "see that this user may read and write it",
    ),
    **dict.fromkeys(
        (
            errno.EIO,
            errno.ENXIO,
            errno.ENODEV,
            errno.ENOTCONN,
            errno.ESTALE,
            errno.ETIMEDOUT,
        ),
        "see that its disk works",
    ),
    **dict.fromkeys((errno.EBUSY, errno.ETXTBSY), "see what else uses it"),
    errno.ENOENT: "bring it back",
    **dict.fromkeys(_MISPLACED, "see what is there instead"),
    errno.ENAMETOOLONG: "give a shorter name",
}
_AGAIN: Final = "run the same command again: what is finished is kept"
_NUMBERS: Final = {os.strerror(number): number for number in _REMEDIES}
_REASON: Final = "|".join(map(re.escape, _NUMBERS))
# TensorFlow and HDF5 pass errors of the operating system on as words.
_PATH_AND_REASON: Final = re.compile(rf"^\s*(.+); ({_REASON})\b", re.MULTILINE)
_REASON_ALONE: Final = re.compile(rf"\b({_REASON})\b")
_GRAPH_NAMES: Final = re.compile(
    r"\{\{(?!node ).*?\}\}"
    r"|Error in user-defined function passed to .*? iterator: \S+: "
)
_DECODING: Final = re.compile(
    r"\bnode \S*\b(Decode(Image|Jpeg|Png|Gif|WebP)|ExtractJpegShape)\b"
    r"|an image cannot be decoded"
)
# Where an op stands in a graph, behind what it says or on a line of its own.
_NODES: Final = re.compile(r"\s*\[\[\{\{node .*?\}\}\]\]")
_ASSERTED: Final = re.compile(r"assertion failed: (\[.*\])")
_BESIDE_REASON: Final = re.compile(
    r"Graph execution error|Detected at node|<stack traces"
    r"|\s*\[\[[^\[\]]*\]\]\s*$|\d+ (successful|derived) "
)
# Of several ops that failed at once, the first; the others follow from it.
_ROOTS: Final = re.compile(
    r"\s*\d+ root error\(s\) found\.\s*\(0\) \w+: (.*?)(?=\s*\(1\) |$)",
    re.DOTALL,
)


def explain(error: BaseException, places: Collection[str] = ()) -> str | None:
    """Tells what failed and what to do.

    Args:
        error: What was raised.
        places: Folders in which something missing is a fault of the disk;
            elsewhere it may be one of ours.

    Returns:
        One line; None if the error may be a fault of the program.
    """
    if isinstance(error, MemoryError):
        return _out_of_memory(str(error))
    if isinstance(error, OSError):
        return _of_system(error, places)
    if not is_of_tensorflow(error):
        return None
    message = _GRAPH_NAMES.sub("", str(error))
    if found := _PATH_AND_REASON.search(message):
        return _line(found[1].strip(), _NUMBERS[found[2]])
    if found := _REASON_ALONE.search(message):
        return _line("", _NUMBERS[found[1]])
    kind = type(error).__name__
    if kind == "ResourceExhaustedError" or re.search(
        r"out of memory", message, re.IGNORECASE
    ):
        return _out_of_memory(reason(error))
    if kind == "DataLossError":
        return f"the data set is damaged ({reason(error)}); prepare it again"
    if is_of_decoding(error):
        return (
            f"an image can no longer be decoded ({reason(error)}); mend or "
            f"remove it and {_AGAIN}"
        )
    return None


def is_of_tensorflow(error: BaseException) -> bool:
    """Whether one of TensorFlow's ops raised an error."""
    tensorflow = sys.modules.get("tensorflow")  # else it raised nothing
    return tensorflow is not None and isinstance(
        error, tensorflow.errors.OpError
    )


def is_of_decoding(error: BaseException) -> bool:
    """Whether an image that cannot be decoded was what an op refused."""
    return is_of_tensorflow(error) and bool(_DECODING.search(str(error)))


def reason(error: BaseException) -> str:
    """The words of one of TensorFlow's errors, without the graph's names."""
    return sentence(str(error))


def sentence(message: str) -> str:
    """The words of one of TensorFlow's messages, without the graph's names."""
    text = _NODES.sub("", _GRAPH_NAMES.sub("", message))
    if found := _ROOTS.match(text):
        text = found[1]
    kept = [
        line for line in text.splitlines() if not _BESIDE_REASON.match(line)
    ]
    words = re.sub(r"\[Op:.*", "", " ".join(kept))
    if asserted := _ASSERTED.search(words):
        words = asserted[1].strip("[]").replace("] [", " ")
    return " ".join(words.split())


def _of_system(error: OSError, places: Collection[str]) -> str | None:
    path, number = os.fsdecode(error.filename or ""), error.errno
    if number not in _REMEDIES:
        found = _REASON_ALONE.search(str(error))
        if not found:
            return None
        number = _NUMBERS[found[1]]
    if "No usable temporary directory" in str(error):
        return (
            f"{error.strerror}; free space in one of them, or name another "
            f"folder in TMPDIR, and {_AGAIN}"
        )
    is_gone = number in (errno.ENOENT, *_MISPLACED)
    if is_gone and not any(_is_below(path, p) for p in places):
        return None
    return _line(path, number)


def _line(path: str, number: int) -> str:
    # Nobody has seen the temporary name, which is gone by now.
    path = re.sub(r"/\.tmp-.*", "", path)
    what = f"{path}: " if path else ""
    return f"{what}{os.strerror(number)}; {_REMEDIES[number]} and {_AGAIN}"


def _out_of_memory(detail: str) -> str:
    detail = f" ({' '.join(detail.split())[:200]})" if detail else ""
    return (
        f"out of memory{detail}; lower --batch_size, or give --cache=none, "
        f"and {_AGAIN}"
    )


def _is_below(path: str, place: str) -> bool:
    try:
        path, place = os.path.abspath(path), os.path.abspath(place)
    except FileNotFoundError:  # there is no working directory any more
        return True
    return path == place or path.startswith(os.path.join(place, ""))
