"""Check sums of a folder's files, as `sha256sum --check` takes them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator

from etils import epath

SUMS_FILE = "SHA256SUMS"

_LINE = re.compile(r"([0-9a-f]{64})  ([!-.0-~][ -~]*)\n")


def files(folder: epath.Path) -> Iterator[epath.Path]:
    """Every file below a folder, sorted within each folder."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from files(path)
        else:
            yield path


def size(path: epath.Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 if it is gone."""
    try:
        if path.is_dir():
            return sum(size(below) for below in path.iterdir())
        return int(path.stat().length)
    except FileNotFoundError:  # by another process, meanwhile
        return 0


def write(folder: epath.Path, sums: epath.Path) -> None:
    """Writes the check sums of every file that is below a folder.

    Args:
        folder: The folder.
        sums: The new file, somewhere below it.
    """
    lines = [f"{_sum(f)}  {_relative(f, folder)}\n" for f in files(folder)]
    sums.write_text("".join(lines))


def read(folder: epath.Path, name: str) -> bytes:
    """Reads a file of a folder that holds its check sums itself.

    Args:
        folder: The folder.
        name: The file's name in it.

    Raises:
        OSError: If it, or the file of check sums, cannot be read.
        ValueError: If it is not what was written.
    """
    raw: bytes = (folder / name).read_bytes()
    lines = _LINE.findall((folder / SUMS_FILE).read_text())
    if (hashlib.sha256(raw).hexdigest(), name) not in lines:
        raise ValueError(f"{name} is not what was written")
    return raw


def problems(
    folder: epath.Path, sums: epath.Path, needed: tuple[str, ...]
) -> list[str]:
    """What is wrong with the files of a folder.

    Args:
        folder: The folder.
        sums: The file of their check sums, somewhere below it.
        needed: Names, relative to the folder, that must be among them.

    Returns:
        A few words on each file that is damaged; none if it is whole.
    """
    name = _relative(sums, folder)
    try:
        content = sums.read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        return [f"{name} is missing"]
    except OSError as error:
        return [f"{name} cannot be read ({error.strerror})"]
    lines = _LINE.findall(content)
    if "".join(f"{total}  {file}\n" for total, file in lines) != content:
        return [f"{name} is damaged"]
    listed = {file: total for total, file in lines}
    found = [f"{name} lacks {file}" for file in needed if file not in listed]
    for file, total in listed.items():
        if ".." in file.split("/"):
            found.append(f"{name} names {file!r}, which is no file of its own")
        else:
            found += _problem(folder / file, file, total)
    return found


def _problem(path: epath.Path, name: str, total: str) -> list[str]:
    try:
        if _sum(path) == total:
            return []
        return [f"{name} is not what was written"]
    except FileNotFoundError:
        return [f"{name} is missing"]
    except OSError as error:
        return [f"{name} cannot be read ({error.strerror})"]


def unlisted(folder: epath.Path, sums: epath.Path) -> list[str]:
    """The files of a whole folder that its check sums do not name."""
    listed = {file for _, file in _LINE.findall(sums.read_text())}
    names = (_relative(path, folder) for path in files(folder))
    return [
        name for name in names if name not in {*listed, _relative(sums, folder)}
    ]


def _relative(path: epath.Path, folder: epath.Path) -> str:
    name: str = os.fspath(path.relative_to(folder))
    return name.replace(os.sep, "/")


def _sum(path: epath.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
