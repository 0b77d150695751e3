"""Orders of examples as tf.data, each a pure function of seed and epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import tensorflow as tf

# The stateless generators may pick another algorithm on another device;
# naming one keeps the stream of images the same everywhere.
ALGORITHM: Final = "philox"

# Encoded images that are shuffled together where a source can only be read
# from its beginning to its end.
WINDOW: Final = 4096


def epoch_order(size: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Returns a permutation of range(size), int64 of shape [size]."""
    return tf.random.experimental.stateless_shuffle(
        tf.range(size, dtype=tf.int64), _shuffle_seed(seed, epoch), ALGORITHM
    )


def epochs(
    one_epoch: Callable[[tf.Tensor], tf.data.Dataset],
    first_epoch: int,
    per_epoch: int,
) -> tf.data.Dataset:
    """Returns epochs without end, each cut or repeated to one size.

    Args:
        one_epoch: from a number, scalar int64, to an epoch's examples.
        first_epoch: the first number.
        per_epoch: examples to take of each epoch; where it has fewer, it is
            begun again.
    """
    return tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(
        lambda epoch: one_epoch(epoch).repeat().take(per_epoch)
    )


def positions(
    size: int, seed: int, first_epoch: int, per_epoch: int
) -> tf.data.Dataset:
    """Returns the positions 0 to size - 1, shuffled anew in each epoch."""
    return epochs(
        lambda epoch: tf.data.Dataset.from_tensor_slices(
            epoch_order(size, seed, epoch)
        ),
        first_epoch,
        per_epoch,
    )


def shuffle_windows(
    dataset: tf.data.Dataset, seed: int, epoch: tf.Tensor, window: int = WINDOW
) -> tf.data.Dataset:
    """Shuffles a dataset window by window.

    `Dataset.shuffle` would mix better, but its order also depends on the
    global seed.

    Args:
        dataset: elements are pairs of tensors, each of one shape.
        seed: with `epoch`, decides the order.
        epoch: scalar int64.
        window: number of elements in each window.

    Returns:
        A dataset of the same elements.
    """

    def shuffle(
        number: tf.Tensor, pair: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        first, second = pair
        order = tf.random.experimental.stateless_shuffle(
            tf.range(tf.shape(first)[0]),
            tf.random.fold_in(_shuffle_seed(seed, epoch), number, ALGORITHM),
            ALGORITHM,
        )
        return tf.gather(first, order), tf.gather(second, order)

    return dataset.batch(window).enumerate().map(shuffle).unbatch()


def augment_seed(seed: int, batch_number: tf.Tensor) -> tf.Tensor:
    """Returns the seed, of shape [2], of one batch's augmentation."""
    return tf.stack([tf.constant(2 * seed + 1, tf.int64), batch_number])


def _shuffle_seed(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Returns the seed, of shape [2], of one epoch's order.

    The first word is even for orders and odd for augmentation, so that the
    two never share a stream of random numbers.
    """
    return tf.stack([tf.constant(2 * seed, tf.int64), epoch])


def deterministic(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Sets what every pipeline of the project needs.

    Sharding is off because replicas share one host and one stream: under
    `tf.distribute.MirroredStrategy` each batch is divided among them.

    Args:
        dataset: any.

    Returns:
        The dataset, in one order however many threads run it, prefetched.
    """
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
