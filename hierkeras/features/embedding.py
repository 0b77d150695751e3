"""Features of images, each computed once in its life.

WORKDIR/features/<trunk id>/
  trunk/       the trunk itself
  whole/       features of images as they are, in shards
  crop-1/      of a random crop of each; turned-1/: half of them mirrored
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sys
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from etils import epath

from hierkeras import _progress
from hierkeras.data.catalogue import Catalogue
from hierkeras.data.images import Images
from hierkeras.features import shards
from hierkeras.features.shards import KEY_BYTES, KEY_TYPE, Keys, Vectors
from hierkeras.features.views import WHOLE, View

# A process that is killed loses so much work at most.
_SECONDS_PER_SHARD = 30.0
_FIRST_SHARD, _LARGEST_SHARD = 512, 16_384

Indices = npt.NDArray[np.int64]


class Embedding:
    """What a trunk says of the images of a data set.

    Args:
        folder: Where features of the trunk are.
        trunk: Loads it: from float32 images in 0..255 to features of shape
            (n, f). It is called if an image is new, and once.
        images: The images.
        batch_size: Images that go through the trunk at once.
        progress: How far it is, on stderr: `bar`, `lines` or `none`.
    """

    def __init__(
        self,
        folder: epath.Path,
        trunk: Callable[[], keras.Model],
        images: Images,
        batch_size: int = 64,
        progress: str = "lines",
    ) -> None:
        self._folder = folder
        self._trunk = trunk
        self._images = images
        self._batch_size = batch_size
        self._progress = progress
        self._known: dict[str, shards.Shards] = {}

    def of(self, indices: Indices, view: View = WHOLE) -> Vectors:
        """The features of some images; those that are new are embedded.

        Args:
            indices: int64 array of shape (n,), n at least 1: examples that
                can be decoded.
            view: Of which view; the default is the image as it is.

        Returns:
            float16 array of shape (n, f).

        Raises:
            UserError: If features in the work directory are damaged, or no
                numbers that float16 takes.
        """
        keys = keys_of(self._images.source.catalogue, indices)
        known = self._known.get(view.name)
        if known is None or not known.has(keys).all():
            # Another process may have embedded some since.
            known = shards.find(self._folder / view.name)
        # Two files of the same content are one image.
        new, first = np.unique(keys[~known.has(keys)], return_index=True)
        if new.size:
            missing = indices[~known.has(keys)][first]
            known = self._embed(np.sort(missing), known, view)
        self._known[view.name] = known
        return known.read(keys)

    def fresh(self, indices: Indices) -> npt.NDArray[np.float32]:
        """The features of some images, computed anew and not rounded.

        Args:
            indices: int64 array of shape (n,), n at least 1, sorted: examples
                that can be decoded.

        Returns:
            float32 array of shape (n, f).
        """
        return self._run(indices, None)

    def _embed(
        self, missing: Indices, known: shards.Shards, view: View
    ) -> shards.Shards:
        lines = _Lines(len(missing), view)
        size, done = _FIRST_SHARD, 0
        with self._shown(len(missing), view) as advance:
            while done < len(missing):
                start = time.monotonic()
                block = missing[done : done + size]
                keys = keys_of(self._images.source.catalogue, block)
                vectors = self._run(block, view.boxes(keys), advance)
                known = known.plus(keys, vectors)
                done += len(block)
                seconds = time.monotonic() - start
                if self._progress == "lines":
                    lines.tell(done)
                if seconds < _SECONDS_PER_SHARD / 2:
                    size = min(2 * size, _LARGEST_SHARD)
        return known

    @contextlib.contextmanager
    def _shown(self, total: int, view: View) -> Iterator[Callable[[int], None]]:
        """A bar on a terminal, which is told how many images are done."""
        if self._progress != "bar":
            yield lambda _: None
            return
        with _progress.bar("features", total, unit=_unit(view)) as bar:
            yield bar.advance

    def _run(
        self,
        block: Indices,
        boxes: npt.NDArray[np.float32] | None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> npt.NDArray[np.float32]:
        batches = self._images.evaluation_batches(block, self._batch_size)
        found, start = [], 0
        for images in batches:
            if boxes is not None:
                here = boxes[start : start + len(images)]
                images = tf.image.crop_and_resize(
                    images, here, tf.range(len(here)), images.shape[1:3]
                )
            found.append(self._runner(images).numpy())
            start += len(images)
            advance(len(images))
        return np.concatenate(found)

    @functools.cached_property
    def _runner(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The trunk, loaded and traced once."""
        trunk = self._trunk()
        shape = [None, *trunk.input_shape[1:]]

        def run(images: tf.Tensor) -> tf.Tensor:
            return tf.cast(trunk(images, training=False), tf.float32)

        traced: Callable[[tf.Tensor], tf.Tensor] = tf.function(
            run, autograph=False, input_signature=[tf.TensorSpec(shape)]
        )
        return traced


def keys_of(catalogue: Catalogue, indices: Indices) -> Keys:
    """What images are, in 16 bytes each.

    Args:
        catalogue: The examples.
        indices: int64 array of shape (n,).
    """
    digests = catalogue.digests[indices]
    if digests.dtype == np.dtype(f"V{KEY_BYTES}"):
        return np.ascontiguousarray(digests).view(KEY_TYPE)
    hashed = [
        hashlib.blake2b(catalogue.digest(i).encode(), digest_size=KEY_BYTES)
        for i in indices.tolist()
    ]
    return np.array([each.digest() for each in hashed], KEY_TYPE)


def _unit(view: View) -> str:
    return "crops" if view.number else "images"


class _Lines:
    """Tells how far the embedding is, a line a shard."""

    def __init__(self, total: int, view: View) -> None:
        self._total = total
        self._unit = _unit(view)
        self._start = time.monotonic()

    def tell(self, done: int) -> None:
        rate = done / max(time.monotonic() - self._start, 1e-9)
        left = (self._total - done) / rate
        line = (
            f"[features] {done:,} of {self._total:,} {self._unit}, "
            f"{rate:,.0f} a second"
        )
        if done < self._total:
            line += f", {left:,.0f} s left"
        print(line, file=sys.stderr, flush=True)
