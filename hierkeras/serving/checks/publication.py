"""Versions under TensorFlow Serving's base path, each complete or not there.

WORKDIR/serving/
  2/                  version 2, a SavedModel
  3.rejected.txt      why version 3 is not there
  .tmp-4-1f0c9a2b/    version 4, being made; TensorFlow Serving and the local
                      server look at bare integers only
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from etils import epath

from hierkeras.tree import atomic, sums

_SAVED_MODEL = "saved_model.pb"
_REJECTED = ".rejected.txt"


def versions(base_path: epath.Path) -> list[int]:
    """The versions that are there, oldest first."""
    if not base_path.exists():
        return []
    return sorted(
        int(path.name)
        for path in base_path.iterdir()
        if path.name.isdecimal() and path.is_dir()
    )


def rejections(base_path: epath.Path) -> list[epath.Path]:
    """The files that say why a version is not there."""
    if not base_path.exists():
        return []
    return sorted(
        path for path in base_path.iterdir() if path.name.endswith(_REJECTED)
    )


@contextlib.contextmanager
def new_version(base_path: epath.Path, version: int) -> Iterator[epath.Path]:
    """Fills a version that appears when the block ends.

    If the block raises, there is no version, and the reason is kept.

    Args:
        base_path: TensorFlow Serving's base path.
        version: The version's number.

    Yields:
        An empty folder on a local disk.
    """
    base_path.mkdir(parents=True, exist_ok=True)
    atomic.remove_debris(base_path)
    rejected = base_path / f"{version}{_REJECTED}"
    path = base_path / str(version)
    make = _uploaded if "://" in os.fspath(base_path) else atomic.new_folder
    try:
        with make(path) as folder:
            yield folder
    except Exception as error:
        # If it is the disk that fails, the first error counts.
        with contextlib.suppress(OSError):
            atomic.write_file(rejected, f"{error}\n".encode())
        raise
    rejected.unlink(missing_ok=True)


@contextlib.contextmanager
def _uploaded(path: epath.Path) -> Iterator[epath.Path]:
    """Fills a folder of an object store, where renaming is not atomic.

    A SavedModel without `saved_model.pb` cannot be loaded: it comes last.
    """
    with tempfile.TemporaryDirectory() as local:
        folder = epath.Path(local) / path.name
        folder.mkdir()
        yield folder
        files = [
            file for file in sums.files(folder) if file.name != _SAVED_MODEL
        ]
        for file in [*files, folder / _SAVED_MODEL]:
            target = path / os.fspath(file.relative_to(folder))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())


def prune(
    base_path: epath.Path, keep: int, made: int | None = None
) -> list[int]:
    """Removes the oldest versions.

    Args:
        base_path: TensorFlow Serving's base path.
        keep: How many of the latest stay; 0: all.
        made: A version that stays in any case, however old.

    Returns:
        The versions that were removed.
    """
    old = versions(base_path)[:-keep] if keep else []
    removed = [version for version in old if version != made]
    for version in removed:
        # Out of sight first: a server must not see half of one.
        hidden = base_path / f"{atomic.TEMPORARY_PREFIX}removed-{version}"
        (base_path / str(version)).rename(hidden)
        atomic.remove_folder(hidden)
    return removed
