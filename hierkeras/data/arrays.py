"""A source whose images lie in one array."""

from __future__ import annotations

import functools
import zlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from hierkeras.data.catalogue import Catalogue
from hierkeras.data.source import Source

if TYPE_CHECKING:
    import tensorflow as tf


class ArraySource(Source):
    """Images of one size, held in memory.

    Args:
        name: the data set's name as it was given.
        kind: the kind of source.
        catalogue: one row for each image.
        images: uint8 array of shape (n, height, width, 3), or (n, height,
            width) for grey images.
        is_photos: whether augmentation makes sense.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        catalogue: Catalogue,
        images: npt.NDArray[np.uint8],
        *,
        is_photos: bool = True,
    ) -> None:
        super().__init__(name, catalogue)
        self.kind = kind
        self.is_photos = is_photos
        self._images = images

    def typical_side(self) -> int:
        """See `Source.typical_side`."""
        height, width = self._images.shape[1:3]
        return int(min(height, width))

    def thumbnails(
        self, indices: npt.NDArray[np.int64], side: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """See `Source.thumbnails`."""
        size, box = (side, side), Image.Resampling.BOX
        images = [
            np.asarray(Image.fromarray(image).convert("RGB").resize(size, box))
            for image in self._images[indices]
        ]
        shape = len(images), side, side, 3
        return indices, np.array(images, np.uint8).reshape(shape)

    def read(
        self, indices: npt.NDArray[np.int64] | tf.Tensor
    ) -> tf.data.Dataset:
        """See `Source.read`; the images are uint8 [height, width, 3]."""
        import tensorflow as tf

        images = self._tensor
        dataset = tf.data.Dataset.from_tensor_slices(indices)
        if images.shape.rank == 4:
            return dataset.map(lambda index: tf.gather(images, index))
        return dataset.map(
            lambda index: tf.repeat(
                tf.gather(images, index)[..., tf.newaxis], 3, axis=-1
            )
        )

    @functools.cached_property
    def _tensor(self) -> tf.Tensor:
        import tensorflow as tf

        with tf.init_scope(), tf.device("CPU:0"):
            return tf.constant(self._images)


def checksums(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Returns the CRC-32 of each image's bytes.

    Args:
        images: array of shape (n, ...).

    Returns:
        uint32 array of shape (n,).
    """
    rows = np.ascontiguousarray(images)
    return np.array([zlib.crc32(row) for row in rows], np.uint32)
