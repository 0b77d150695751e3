"""Every file below a folder: an image, by its name, or accounted for."""

from __future__ import annotations

import array
import dataclasses
import os
import stat
from collections.abc import Iterator

from hierkeras.data.files.left_out import Tally

# Names of what systems leave behind, in lower case, and whose it is.
_DEBRIS = {
    "__macosx": "macOS",
    ".ds_store": "macOS",
    ".appledouble": "macOS",
    ".spotlight-v100": "macOS",
    ".fseventsd": "macOS",
    ".trashes": "macOS",
    "thumbs.db": "Windows",
    "ehthumbs.db": "Windows",
    "desktop.ini": "Windows",
    "$recycle.bin": "Windows",
    "system volume information": "Windows",
    ".git": "git",
    ".gitignore": "git",
    ".gitattributes": "git",
    ".gitmodules": "git",
    ".gitkeep": "git",
    ".svn": "Subversion",
    ".ipynb_checkpoints": "Jupyter",
    "@eadir": "Synology",
}


@dataclasses.dataclass(frozen=True)
class Files:
    """Files below a folder, column by column, sorted by path.

    Args:
        paths: Their paths relative to the folder, with "/".
        sizes: Their sizes in bytes; -1 of what cannot be looked at.
        times: When they were written, in nanoseconds.
        empty: Paths of folders that hold nothing.
    """

    paths: list[str]
    sizes: array.array[int]
    times: array.array[int]
    empty: tuple[str, ...] = ()


def walk(root: str, left_out: Tally) -> Files:
    """Lists the files below a folder, but for what systems left behind.

    Args:
        root: The folder.
        left_out: Counts the others.

    Raises:
        OSError: If the folder cannot be read.
    """
    paths: list[str] = []
    sizes, times = array.array("q"), array.array("q")
    empty: list[str] = []
    for path, entry in _entries(root, left_out):
        if entry is None:
            empty.append(path)
            continue
        try:
            status = entry.stat()
        except OSError:  # a link that leads nowhere
            status = None
        if status is not None and not stat.S_ISREG(status.st_mode):
            left_out.add("no files but pipes or devices", path)
            continue
        paths.append(path)
        sizes.append(status.st_size if status else -1)
        times.append(status.st_mtime_ns if status else 0)
    order = sorted(range(len(paths)), key=paths.__getitem__)
    return Files(
        [paths[i] for i in order],
        array.array("q", (sizes[i] for i in order)),
        array.array("q", (times[i] for i in order)),
        tuple(sorted(empty)),
    )


def whose_debris(name: str) -> str | None:
    """The system that leaves a file or folder of that name behind."""
    if name.startswith("._"):
        return "macOS"
    return _DEBRIS.get(name.lower())


def _entries(
    root: str, left_out: Tally
) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Yields what is no folder, by its path; enters a folder once.

    Of an empty folder there is a path alone.
    """
    entered = {_identity(os.stat(root))}
    # Folders that are yet to be read, and why what is in them is left out.
    pending: list[tuple[str, str | None]] = [("", None)]
    while pending:
        folder, why = pending.pop()
        is_empty = bool(folder) and not why
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                is_empty = False
                path = f"{folder}/{entry.name}" if folder else entry.name
                because = why or _why_not(entry.name)
                if not _is_folder(entry):
                    if because:
                        left_out.add(because, path)
                    else:
                        yield path, entry
                elif (here := _identity(entry.stat())) not in entered:
                    entered.add(here)
                    pending.append((path, because))
                else:
                    left_out.add("links to folders that are listed", path)
        if is_empty:
            yield folder, None


def _why_not(name: str) -> str | None:
    if system := whose_debris(name):
        return f"debris of {system}"
    return "hidden" if name.startswith(".") else None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
