"""What is in files: the hash of their bytes, and the format.

An image is its bytes: to rename or move it changes nothing, and to replace
it does, whatever its size. A file whose size and time are as they were is not
read again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from concurrent import futures
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from hierkeras.data.decoding import formats
from hierkeras.data.files.listing import Files

NO_IMAGE: Final = "no images"
_DIGEST_BYTES: Final = 16
_AT_ONCE: Final = 2**16
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

    def why_not(self, row: int) -> str | None:
        """Why a file is no image; None if it is one."""
        name = self.names[self.kinds[row]]
        return None if name.startswith(_IS_FORMAT) else name

    def of(self, rows: npt.NDArray[np.int64]) -> Contents:
        """The same of some files."""
        return Contents(self.digests[rows], self.kinds[rows], self.names)


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept between runs: columns of files and of their contents."""

    root: bytes
    paths: bytes
    sizes: bytes
    times: bytes
    digests: bytes
    kinds: bytes
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
    if before := _matching(root, files, kept):
        rows, old = before
        digests[rows], kinds[rows] = old.digests, old.kinds
        names = list(old.names)
    numbers = {name: number for number, name in enumerate(names)}
    new = np.flatnonzero(kinds < 0).tolist()
    with futures.ThreadPoolExecutor() as threads:
        for start in range(0, len(new), _AT_ONCE):
            part = new[start : start + _AT_ONCE]
            paths = [os.path.join(root, files.paths[row]) for row in part]
            for row, read in zip(part, threads.map(_read, paths), strict=True):
                kinds[row] = numbers.setdefault(read.name, len(numbers))
                digests[row] = np.frombuffer(read.digest, np.uint8)
    return Contents(digests, kinds, tuple(numbers))


def to_bytes(root: str, files: Files, contents: Contents) -> bytes:
    """What `look` needs to know in a later run."""
    return msgspec.msgpack.encode(
        _Kept(
            os.fsencode(os.path.realpath(root)),
            _joined(files.paths),
            files.sizes.tobytes(),
            files.times.tobytes(),
            contents.digests.tobytes(),
            contents.kinds.tobytes(),
            contents.names,
        )
    )


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
        return _Read(_NO_DIGEST, f"that cannot be read ({error.strerror})")


def _why_not(head: bytes, suffix: str) -> str:
    """Why a file is no image; of one that is called so, more exactly."""
    if suffix and suffix not in formats.SUFFIXES:
        return f"{NO_IMAGE} ({suffix})"
    what = formats.not_an_image(head)
    called = "called images" if suffix else "without a suffix"
    return f"{called} that {'are ' + what if what else 'no one can tell'}"


def _blake2b() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)


def _joined(paths: Sequence[str]) -> bytes:
    return b"\0".join(map(os.fsencode, paths))


def _matching(
    root: str, files: Files, kept: bytes
) -> tuple[npt.NDArray[np.int64], Contents] | None:
    """The files that are as they were, and what was in them."""
    try:
        before = msgspec.msgpack.decode(kept, type=_Kept)
        sizes = np.frombuffer(before.sizes, np.int64)
        times = np.frombuffer(before.times, np.int64)
        digests = np.frombuffer(before.digests, np.uint8)
        old = Contents(
            digests.reshape(len(sizes), _DIGEST_BYTES),
            np.frombuffer(before.kinds, np.int16),
            before.names,
        )
    except (msgspec.DecodeError, ValueError):
        return None  # there is none, or it is damaged
    if before.root != os.fsencode(os.path.realpath(root)):
        return None
    paths = before.paths.split(b"\0")
    if not len(paths) == len(sizes) == len(times) == len(old.kinds):
        return None
    rows, places = _same_paths(files, before.paths, paths)
    now_sizes, now_times = np.array(files.sizes), np.array(files.times)
    same = (now_sizes[rows] == sizes[places]) & (
        now_times[rows] == times[places]
    )
    # What could not be read may be readable by now, with no other time.
    same &= old.digests[places].any(axis=1) | (sizes[places] >= 0)
    return rows[same], old.of(places[same])


def _same_paths(
    files: Files, joined: bytes, paths: list[bytes]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of paths that are there now and were before; and where they were."""
    if joined == _joined(files.paths):  # as a rule, and quicker
        every = np.arange(len(paths))
        return every, every
    place_of = {path: place for place, path in enumerate(paths)}
    places = [place_of.get(os.fsencode(path), -1) for path in files.paths]
    found = np.array(places, np.int64)
    rows = np.flatnonzero(found >= 0)
    return rows, found[rows]
