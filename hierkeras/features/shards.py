"""Features on disk, by what an image is.

    FOLDER/
      3f2a…/              some images' features, never rewritten
        keys.npy          uint8 of shape (n, 16): what each image is
        features.npy      float16 of shape (n, f)
        SHA256SUMS        of both

A shard is named after its keys. It appears whole or not at all, so that a
process which is killed loses no more than the shard that it was filling.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from etils import epath

from hierkeras import _archives
from hierkeras._errors import UserError
from hierkeras.tree import atomic, sums

_KEYS_FILE, _FEATURES_FILE = "keys.npy", "features.npy"
FILES = (_KEYS_FILE, _FEATURES_FILE)

KEY_BYTES = 16
# All features are below it; float16 ends there.
_LARGEST = float(np.finfo(np.float16).max)

# All of one length, so that a zero at the end makes no two of them equal.
KEY_TYPE = f"S{KEY_BYTES}"

Keys = npt.NDArray[np.bytes_]
Vectors = npt.NDArray[np.float16]


class Shards:
    """The features of images that were seen so far.

    Args:
        folder: Where they are.
        names: The shards.
        keys: Of each, as of `has`.
    """

    def __init__(
        self,
        folder: epath.Path,
        names: Sequence[str] = (),
        keys: Sequence[Keys] = (),
    ) -> None:
        self.folder = folder
        self._names, self._keys = tuple(names), tuple(keys)
        all_keys = np.concatenate([np.zeros(0, KEY_TYPE), *keys])
        lengths = np.array([len(shard) for shard in keys], np.int64)
        self._order = np.argsort(all_keys, kind="stable")
        self._sorted = all_keys[self._order]
        self._shard = np.repeat(np.arange(len(keys)), lengths)
        starts = np.cumsum(lengths) - lengths
        self._row = np.arange(len(all_keys)) - np.repeat(starts, lengths)

    def has(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Which images there are features of.

        Args:
            keys: Array of shape (n,), 16 bytes each: what the images are.
        """
        return self._places(keys) >= 0

    def read(self, keys: Keys) -> Vectors:
        """The features of images.

        Args:
            keys: As of `has`; there are features of all of them.

        Returns:
            float16 array of shape (n, f); without images, (0, 0).

        Raises:
            KeyError: If there are none of one.
            UserError: If a shard is damaged.
        """
        places = self._places(keys)
        if (places < 0).any():
            raise KeyError(f"no features of {(places < 0).sum()} images")
        found: Vectors | None = None
        for shard in np.unique(self._shard[places]).tolist():
            vectors = self._vectors(self._names[shard])
            if found is None:
                found = np.empty((len(keys), vectors.shape[1]), np.float16)
            here = np.flatnonzero(self._shard[places] == shard)
            found[here] = vectors[self._row[places[here]]]
        return np.zeros((0, 0), np.float16) if found is None else found

    def plus(self, keys: Keys, vectors: npt.NDArray[np.floating]) -> Shards:
        """Writes a shard.

        Args:
            keys: As of `has`, each once; of images without features.
            vectors: Float array of shape (n, f), n at least 1.

        Returns:
            What there is with it.

        Raises:
            UserError: If a feature is no finite number of float16.
        """
        if not (np.abs(vectors) <= _LARGEST).all():
            raise UserError(
                f"{self.folder} takes features of at most {_LARGEST:g}. "
                "Received: a larger one, or one that is no number; the trunk "
                "does not fit these images, or its input_range is wrong"
            )
        name = hashlib.sha256(keys.tobytes()).hexdigest()[:16]
        with atomic.new_folder(self.folder / name) as folder:
            for file, array in (
                (_KEYS_FILE, _as_numbers(keys)),
                (_FEATURES_FILE, vectors.astype(np.float16)),
            ):
                with (folder / file).open("wb") as opened:
                    np.save(opened, array, allow_pickle=False)
            sums.write(folder, folder / sums.SUMS_FILE)
        return Shards(self.folder, (*self._names, name), (*self._keys, keys))

    def _places(self, keys: Keys) -> npt.NDArray[np.int64]:
        """The place of each key among all; -1 where there is none."""
        if not len(self._sorted):
            return np.full(len(keys), -1, np.int64)
        at = np.searchsorted(self._sorted, keys)
        at = np.minimum(at, len(self._sorted) - 1)
        return np.where(self._sorted[at] == keys, self._order[at], -1)

    @functools.lru_cache(maxsize=4)  # noqa: B019 - lives as long as a run
    def _vectors(self, name: str) -> Vectors:
        vectors: Vectors = _array(self.folder / name, _FEATURES_FILE)
        return vectors


def find(folder: epath.Path) -> Shards:
    """The features in a folder, which need not exist.

    Raises:
        UserError: If a shard is damaged.
    """
    found = atomic.whole(folder)
    return Shards(
        folder, [path.name for path in found], list(map(_keys, found))
    )


def _keys(shard: epath.Path) -> Keys:
    array = _array(shard, _KEYS_FILE)
    if array.dtype != np.uint8 or array.shape[1:] != (KEY_BYTES,):
        raise _damage(shard, f"{_KEYS_FILE} holds no keys")
    return np.ascontiguousarray(array).view(KEY_TYPE)[:, 0]


def _array(shard: epath.Path, file: str) -> npt.NDArray[Any]:
    try:
        raw = sums.read(shard, file)
        with _archives.told_damaged():
            found: npt.NDArray[Any] = np.load(
                io.BytesIO(raw), allow_pickle=False
            )
        return found
    except (OSError, ValueError, EOFError) as error:
        raise _damage(shard, str(error)) from None


def _damage(shard: epath.Path, why: str) -> UserError:
    return UserError(
        f"features {shard} are damaged ({why}); remove that folder, and its "
        "images are embedded again"
    )


def _as_numbers(keys: Keys) -> npt.NDArray[np.uint8]:
    whole = np.ascontiguousarray(keys, KEY_TYPE)
    return whole.view(np.uint8).reshape(len(keys), KEY_BYTES)
