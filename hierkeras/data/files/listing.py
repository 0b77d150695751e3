"""Every file below a folder: an image, by its name, or accounted for."""

from __future__ import annotations

import array
import dataclasses
import hashlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator

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
        states: What tells that a file is as it was; see `state`.
        empty: Paths of folders that hold nothing.
    """

    paths: list[str]
    states: array.array[int]
    empty: tuple[str, ...] = ()

    def of(self, rows: Iterable[int]) -> Files:
        """Some of the files, in that order."""
        rows = list(rows)
        return Files(
            [self.paths[row] for row in rows],
            array.array("Q", (self.states[row] for row in rows)),
        )


def state(path: str, status: os.stat_result) -> int:
    """64 bits that change when a file may have changed.

    They cover path, size and times. That of the last change of the file's
    entry is among them: who replaces a file may keep the other.

    Args:
        path: The path, by which the file is found again.
        status: What the system says of it.
    """
    text = (
        f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}"
    )
    data = text.encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest())


def walk(root: str, left_out: Tally) -> Files:
    """Lists the files below a folder, but for what systems left behind.

    Args:
        root: The folder.
        left_out: Counts the others.

    Raises:
        OSError: If the folder cannot be read.
    """
    paths: list[str] = []
    states = array.array("Q")
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
        states.append(state(path, status) if status else 0)
    listed = Files(paths, states)
    if any(one > two for one, two in itertools.pairwise(paths)):
        order = sorted(range(len(paths)), key=paths.__getitem__)
        listed = listed.of(order)
    return Files(listed.paths, listed.states, tuple(sorted(empty)))


def whose_debris(name: str) -> str | None:
    """The system that leaves a file or folder of that name behind."""
    if name.startswith("._"):
        return "macOS"
    return _DEBRIS.get(name.lower())


def _entries(
    root: str, left_out: Tally
) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
    """Yields what is no folder, by its path; enters a folder once.

    Of an empty folder there is a path alone. Links to folders come last, so
    that files are named by the folder that they are in.
    """
    entered = {_identity(os.stat(root))}
    # Folders that are yet to be read, and why what is in them is left out.
    pending: list[tuple[str, str | None]] = [("", None)]
    links: list[tuple[str, str | None, tuple[int, int]]] = []
    while pending or links:
        if not pending:
            links.sort(reverse=True)
            path, why, identity = links.pop()
            if identity in entered:
                left_out.add("links to folders that are listed", path)
                continue
            entered.add(identity)
            pending.append((path, why))
        folder, why = pending.pop()
        is_empty = bool(folder) and not why
        below = []
        for path, entry in _sorted_entries(root, folder):
            because = why or _why_not(entry.name)
            is_empty &= because is not None
            if not _is_folder(entry):
                if because:
                    left_out.add(because, path)
                else:
                    yield path, entry
            elif entry.is_symlink():
                links.append((path, because, _identity(entry.stat())))
            else:
                entered.add(_identity(entry.stat()))
                below.append((path, because))
        pending.extend(reversed(below))
        if is_empty:
            yield folder, None


def _sorted_entries(
    root: str, folder: str
) -> list[tuple[str, os.DirEntry[str]]]:
    """What is in a folder, by path, in an order that is always the same."""
    with os.scandir(os.path.join(root, folder)) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    prefix = f"{folder}/" if folder else ""
    return [(prefix + entry.name, entry) for entry in found]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _why_not(name: str) -> str | None:
    if system := whose_debris(name):
        return f"debris of {system}"
    return "hidden" if name.startswith(".") else None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
