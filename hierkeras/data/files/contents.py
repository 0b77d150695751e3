"""What is in files: the hash of their bytes, and the format.

An image is its bytes: to rename or move it changes nothing, and to replace
it does, whatever its size. A file whose size and times are as they were is not
read again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from concurrent import futures
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from hierkeras.data.decoding import formats
from hierkeras.data.files.listing import Files

NO_IMAGE: Final = "no images"
_DIGEST_BYTES: Final = 16
_AT_ONCE: Final = 2**12
_UNREADABLE: Final = "that cannot be read"
_NO_DIGEST: Final = bytes(_DIGEST_BYTES)
_IS_FORMAT: Final = "="


@dataclasses.dataclass(frozen=True)
class Contents:
    """What is in some files, in their order.

    Args:
        digests: uint8 array of shape (n, 16): 128 bits of BLAKE2b of the
            bytes; zeros of what is no image.
        kinds: int16 array of shape (n,): index into `names`.
        names: A format as `=PNG`; of what is no image, why it is none.
    """

    digests: npt.NDArray[np.uint8]
    kinds: npt.NDArray[np.int16]
    names: tuple[str, ...]

    def why_not(self, kind: int) -> str | None:
        """Why files of a kind are no images; None if they are."""
        name = self.names[kind]
        return None if name.startswith(_IS_FORMAT) else name


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept between runs, of files that could be read."""

    root: bytes
    states: memoryview
    digests: memoryview
    kinds: memoryview
    names: tuple[str, ...]


def look(root: str, files: Files, kept: bytes = b"") -> Contents:
    """Finds out what is in files.

    Args:
        root: The folder that they are in.
        files: The files.
        kept: What `to_bytes` gave in an earlier run; it may be of something
            else, or damaged.
    """
    count = len(files.paths)
    digests = np.zeros((count, _DIGEST_BYTES), np.uint8)
    kinds = np.full(count, -1, np.int16)
    names: list[str] = []
    if before := _kept(root, kept):
        states, old = before
        rows, places = _same(files, states)
        digests[rows], kinds[rows] = old.digests[places], old.kinds[places]
        names = list(old.names)
    numbers = {name: number for number, name in enumerate(names)}
    new = np.flatnonzero(kinds < 0)
    with futures.ThreadPoolExecutor() as threads:
        for start in range(0, len(new), _AT_ONCE):
            part = new[start : start + _AT_ONCE].tolist()
            paths = [os.path.join(root, files.paths[row]) for row in part]
            for row, read in zip(part, threads.map(_read, paths), strict=True):
                kinds[row] = numbers.setdefault(read.name, len(numbers))
                digests[row] = np.frombuffer(read.digest, np.uint8)
    return Contents(digests, kinds, tuple(numbers))


def to_bytes(root: str, files: Files, contents: Contents) -> bytes:
    """What `look` needs to know in a later run.

    What could not be read is not kept: it may be readable by then.
    """
    states = np.array(files.states, np.uint64)
    order = np.argsort(states, kind="stable")
    failed = [name.startswith(_UNREADABLE) for name in contents.names]
    order = order[~np.array([*failed, False])[contents.kinds[order]]]
    return msgspec.msgpack.encode(
        _Kept(
            _identity(root),
            states[order].data,
            contents.digests[order].data,
            contents.kinds[order].data,
            contents.names,
        )
    )


def is_image(path: str) -> bool:
    """Whether a file is an image by its first bytes."""
    try:
        with open(path, "rb") as file:
            return formats.kind_of(file.read(formats.HEAD_BYTES)) is not None
    except OSError:
        return False


class _Read(NamedTuple):
    digest: bytes
    name: str


def _read(path: str) -> _Read:
    """What is in a file, by its first bytes; all are read of an image."""
    suffix = os.path.splitext(path)[1].lower()
    try:
        with open(path, "rb") as file:
            head = file.read(formats.HEAD_BYTES)
            kind = formats.kind_of(head)
            if kind is None:
                return _Read(_NO_DIGEST, _why_not(head, suffix))
            file.seek(0)
            digest = hashlib.file_digest(file, _blake2b).digest()
            return _Read(digest, _IS_FORMAT + kind)
    except OSError as error:
        return _Read(_NO_DIGEST, f"{_UNREADABLE} ({error.strerror})")


def _why_not(head: bytes, suffix: str) -> str:
    """Why a file is no image; of one that is called so, more exactly."""
    if suffix and suffix not in formats.SUFFIXES:
        return f"{NO_IMAGE} ({suffix})"
    what = formats.not_an_image(head)
    called = "called images" if suffix else "without a suffix"
    return f"{called} that {'are ' + what if what else 'no one can tell'}"


def _blake2b() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)


def _identity(root: str) -> bytes:
    return os.fsencode(os.path.realpath(root))


def _kept(
    root: str, kept: bytes
) -> tuple[npt.NDArray[np.uint64], Contents] | None:
    """Sorted states of files, and what was in them; None: there is none."""
    try:
        before = msgspec.msgpack.decode(kept, type=_Kept)
        states = np.frombuffer(before.states, np.uint64)
        digests = np.frombuffer(before.digests, np.uint8)
        kinds = np.frombuffer(before.kinds, np.int16)
        digests = digests.reshape(len(states), _DIGEST_BYTES)
    except (msgspec.DecodeError, ValueError):
        return None  # it is damaged, or of another version
    is_whole = len(kinds) == len(states) > 0
    is_whole = is_whole and 0 <= kinds.min() <= kinds.max() < len(before.names)
    if before.root != _identity(root) or not is_whole:
        return None
    return states, Contents(digests, kinds, before.names)


def _same(
    files: Files, states: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of files that are as they were, and where they were."""
    now = np.array(files.states, np.uint64)
    places = np.searchsorted(states, now).clip(max=len(states) - 1)
    rows = np.flatnonzero((states[places] == now) & (now != 0))
    return rows, places[rows]
