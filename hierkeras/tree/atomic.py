"""Files and folders that appear whole or not at all.

New content is written under a temporary name, flushed to the disk and
renamed. A reader sees the old state or the new one, also after a crash.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator

from etils import epath

TEMPORARY_PREFIX = ".tmp-"


def write_file(
    path: epath.Path, content: bytes, wait_for_disk: bool = True
) -> None:
    """Writes a file, replacing one that is there.

    Args:
        path: Where; its folder must exist.
        content: What.
        wait_for_disk: Whether it must survive a power cut; else it only
            survives its process.
    """
    temporary = _temporary(path)
    try:
        with naming(path):
            temporary.write_bytes(content)
            if wait_for_disk:
                _flush(temporary)
            temporary.replace(path)
            if wait_for_disk:
                _flush(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error counts
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def new_folder(path: epath.Path) -> Iterator[epath.Path]:
    """Fills a folder that appears under `path` when the block ends.

    Args:
        path: The final place. If it exists when the block ends, what is
            there stays and the new folder is dropped.

    Yields:
        A temporary folder beside `path`; gone if the block raises.
    """
    temporary = _temporary(path)
    temporary.mkdir(parents=True)
    try:
        with naming(path):
            yield temporary
            _flush_folder(temporary)
            if path.exists():
                temporary.rmtree()
            else:
                temporary.rename(path)
                _flush(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error counts
            temporary.rmtree(missing_ok=True)
        raise


@contextlib.contextmanager
def naming(path: epath.Path) -> Iterator[None]:
    """Names a path in errors of the operating system that name none.

    Those of opening a file do; those of writing to it do not.

    Args:
        path: What the block writes.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def remove_folder(path: epath.Path) -> None:
    """Removes a folder under a temporary name, as far as that goes now.

    On NFS a file that another process holds open stays, under a name of .nfs,
    until that closes it: then the folder is debris for a later call.

    Args:
        path: The folder; it may be gone.

    Raises:
        OSError: If it cannot be removed for another reason.
    """
    try:
        path.rmtree(missing_ok=True)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EBUSY):
            raise


def whole(folder: epath.Path) -> list[epath.Path]:
    """The folders in `folder` that have appeared; none if there is none."""
    if not folder.exists():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(TEMPORARY_PREFIX)
    ]


def remove_debris(folder: epath.Path) -> int:
    """Removes what killed writers left in `folder`; returns how much."""
    if not folder.exists():
        return 0
    debris = [
        path
        for path in folder.iterdir()
        if path.name.startswith(TEMPORARY_PREFIX)
    ]
    for path in debris:
        if path.is_dir():
            remove_folder(path)
        else:
            path.unlink(missing_ok=True)
    return len(debris)


def _temporary(path: epath.Path) -> epath.Path:
    return path.parent / f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex[:8]}"


def _flush_folder(folder: epath.Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            _flush_folder(path)
        else:
            _flush(path)
    _flush(folder)


def _flush(path: epath.Path) -> None:
    # Only local file systems have something to flush; an object store's
    # write is durable when it returns.
    if not isinstance(path, os.PathLike) or "://" in os.fspath(path):
        return
    descriptor = os.open(os.fspath(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
