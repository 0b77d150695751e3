"""Decoded images in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf


class ImageMemory:
    """Images of one size that can be gathered inside a tf.data pipeline.

    They lie in immutable tensors, one for each call of `add`, so that keeping
    more images never copies those already kept.

    Args:
        size: number of examples of the source.
    """

    def __init__(self, size: int) -> None:
        self._blocks: list[tf.Tensor] = []
        # Example i is row `_rows[i]` of block `_block_of[i]`; -1: not kept.
        self._block_of = np.full(size, -1, np.int32)
        self._rows = np.zeros(size, np.int64)

    def add(
        self, indices: npt.NDArray[np.int64], batches: Sequence[tf.Tensor]
    ) -> None:
        """Keeps some images.

        Args:
            indices: int array of shape (n,): the examples.
            batches: their images, n in all: uint8 tensors of shape [b, size,
                size, 3].
        """
        self._block_of[indices] = len(self._blocks)
        self._rows[indices] = np.arange(len(indices))
        with tf.device("CPU:0"):
            self._blocks.append(tf.concat(batches, axis=0))

    def holds(self, indices: npt.NDArray[np.int64]) -> bool:
        """Returns whether all of some examples are kept."""
        return bool((self._block_of[indices] >= 0).all())

    def loader(
        self, indices: npt.NDArray[np.int64]
    ) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function that gathers from a list of kept examples.

        Args:
            indices: int array of shape (n,): the list.

        Returns:
            A function from int64 positions in the list, of shape [b], to uint8
            images of shape [b, size, size, 3].
        """
        block_of, rows = self._block_of[indices], on_host(self._rows[indices])
        used = np.unique(block_of).tolist()
        if len(used) == 1:
            block = self._blocks[used[0]]
            return lambda positions: tf.gather(
                block, tf.gather(rows, positions)
            )
        blocks = {number: self._blocks[number] for number in used}
        numbers = on_host(block_of)

        def load(positions: tf.Tensor) -> tf.Tensor:
            number, row = (
                tf.gather(numbers, positions),
                tf.gather(rows, positions),
            )
            places = [tf.where(tf.equal(number, n))[:, 0] for n in blocks]
            parts = [
                tf.gather(block, tf.gather(row, place))
                for place, block in zip(places, blocks.values(), strict=True)
            ]
            places = [tf.cast(place, tf.int32) for place in places]
            images = tf.dynamic_stitch(places, parts)
            images.set_shape([positions.shape[0], *parts[0].shape[1:]])
            return images

        return load


def on_host(values: npt.NDArray[np.generic]) -> tf.Tensor:
    """Returns an eager tensor in main memory.

    A function that uses it captures it as an input; an array would become a
    constant of the graph, copied with it and limited to 2 GB.

    Args:
        values: any array.
    """
    with tf.init_scope(), tf.device("CPU:0"):
        return tf.constant(values)
