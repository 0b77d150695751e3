"""A network's features of images, to train on instead of the images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hierkeras.data import pipeline
from hierkeras.data.memory import on_host
from hierkeras.data.source import Augmentation


class Features:
    """Features of some examples, kept in memory.

    Args:
        indices: int64 array of shape (n,): the examples, each once.
        vectors: float32 array of shape (n, f): their features.
    """

    def __init__(
        self, indices: npt.NDArray[np.int64], vectors: npt.NDArray[np.float32]
    ) -> None:
        order = np.argsort(indices)
        self._indices = indices[order]
        self._vectors = on_host(vectors[order])

    def training_batches(
        self,
        indices: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int32],
        *,
        batch_size: int,
        seed: int,
        augment: Augmentation = "none",
        first_batch: int = 0,
        per_epoch: int | None = None,
    ) -> tf.data.Dataset:
        """Batches without end, in the order of `Images.training_batches`.

        Args:
            indices: int64 array of shape (m,): examples that are kept.
            labels: int32 array of shape (m,): what the model is to answer.
            batch_size: Number of examples in a batch.
            seed: Of the order, in [0, 2^62).
            augment: none: what was not seen has no features.
            first_batch: Number of batches to skip.
            per_epoch: Length of an epoch, as there.

        Returns:
            A dataset of pairs: float32 features of shape [batch_size, f] and
            int32 labels of shape [batch_size].

        Raises:
            ValueError: If `augment` is asked for.
        """
        if augment != "none":
            raise ValueError("Features of augmented images are not kept.")
        rows = on_host(np.searchsorted(self._indices, indices))
        targets = on_host(labels.astype(np.int32))
        per_epoch = per_epoch or len(indices)
        first_epoch, skipped = divmod(first_batch * batch_size, per_epoch)
        order = pipeline.positions(len(indices), seed, first_epoch, per_epoch)
        return pipeline.deterministic(
            order.skip(skipped)
            .batch(batch_size, drop_remainder=True)
            .map(
                lambda places: (
                    tf.gather(self._vectors, tf.gather(rows, places)),
                    tf.gather(targets, places),
                ),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        )

    def evaluation_batches(
        self, indices: npt.NDArray[np.int64], batch_size: int
    ) -> tf.data.Dataset:
        """Features in the order of their indices, as of `Images`.

        Args:
            indices: int64 array of shape (m,): examples that are kept.
            batch_size: Number of examples in a batch.

        Returns:
            A dataset of float32 features of shape [b, f]; the last batch may
            be smaller.
        """
        rows = on_host(np.searchsorted(self._indices, indices))
        return pipeline.deterministic(
            tf.data.Dataset.from_tensor_slices(rows)
            .batch(batch_size)
            .map(lambda places: tf.gather(self._vectors, places))
        )
