"""The folder whose sub-folders are a model's versions.

BASE_PATH/
  2/  3/        versions, each a SavedModel
  .tmp-…/       no integer: not there yet
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from etils import epath

from hierkeras._errors import UserError

_LARGEST = 2**63 - 1
_SAVED_MODEL = "saved_model.pb"
_FLAG = "--model_base_path"
_MAX_FILES = 10_000  # a version has fewer, and links may go round

State = frozenset[tuple[str, int, float]]


def check(base_path: str) -> None:
    """Refuses a folder that stands beside the one that was meant.

    One that is not there, or empty, may be filled later.

    Args:
        base_path: The folder.

    Raises:
        UserError: If it is a version, or a work directory.
    """
    folder = epath.Path(base_path)
    try:
        is_version = (folder / _SAVED_MODEL).exists()
        is_workdir = (folder / "generations").is_dir() and not find(folder)
    except OSError:  # it cannot be read now, and maybe later
        return
    if is_version:
        raise UserError(
            f"{base_path} is itself a version (it holds {_SAVED_MODEL}); "
            f"{_instead(folder)}"
        )
    if is_workdir:
        raise UserError(
            f"{base_path} is a work directory; its versions are in "
            f"{_FLAG}={folder / 'serving'}"
        )


def _instead(version: epath.Path) -> str:
    whole = version.resolve()
    if number(whole.name) is not None:
        return f"give the folder that holds it, {_FLAG}={whole.parent}"
    return (
        f"move it into a folder named by a number, such as {version / '1'}, "
        "and give the folder that holds that one"
    )


def find(base_path: epath.Path) -> dict[int, str]:
    """The versions below a base path, by number.

    Args:
        base_path: The folder.

    Raises:
        OSError: If there is no such folder, or it cannot be read.
    """
    return {
        version: str(entry)
        for entry in base_path.iterdir()
        if (version := number(entry.name)) is not None and entry.is_dir()
    }


def state(folder: str) -> State:
    """What is in a folder: each file's path, bytes and time of its last change.

    Equal if nothing was done to it, so that what failed fails again.

    Args:
        folder: A version.
    """
    try:
        return frozenset(
            itertools.islice(_files(epath.Path(folder)), _MAX_FILES)
        )
    except OSError:  # something in it is on its way in, or out
        return frozenset()


def _files(folder: epath.Path) -> Iterator[tuple[str, int, float]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry)
        else:
            found = entry.stat()
            yield str(entry), found.length, found.mtime


def number(name: str) -> int | None:
    """The version that a folder of this name is, if it is one."""
    if name.isascii() and name.isdigit() and int(name) <= _LARGEST:
        return int(name)
    return None
