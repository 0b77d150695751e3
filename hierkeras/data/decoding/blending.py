"""What shows through where an image is transparent, and deep samples."""

from __future__ import annotations

from typing import Final

import tensorflow as tf

# As many bits as a file with 16 for a sample is taken to use.
_DEPTHS: Final = (8, 10, 12, 14)
FULL_DEPTH: Final = 16


def over(image: tf.Tensor, level: tf.Tensor | int) -> tf.Tensor:
    """Lays an image over a background.

    Args:
        image: uint8 of shape [height, width, 4], the fourth being opacity.
        level: scalar int32, the background's red, green and blue, in 0..255.

    Returns:
        uint8 of shape [height, width, 3].
    """
    colours = tf.cast(image[..., :3], tf.int32)
    opacity = tf.cast(image[..., 3:], tf.int32)
    mixed = colours * opacity + level * (255 - opacity)
    return tf.cast((mixed + 127) // 255, tf.uint8)


def used_bits(samples: tf.Tensor, least: tf.Tensor) -> tf.Tensor:
    """How many bits the samples of an image use.

    The file has 16 for each, but cameras, microscopes and scanners put 10, 12
    or 14 into them as they are. By the largest sample there is, the fewest of
    8, 10, 12, 14 or 16 that hold it.

    Args:
        samples: uint16 of shape [height, width, n].
        least: scalar int32; what the file says of it: no fewer than these.

    Returns:
        int32 scalar.
    """
    largest = tf.reduce_max(tf.cast(samples, tf.int32))
    fits = largest < tf.constant([2**depth for depth in _DEPTHS])
    depths = tf.where(fits, tf.constant(_DEPTHS), FULL_DEPTH)
    return tf.minimum(
        tf.maximum(tf.reduce_min(depths), least), tf.constant(FULL_DEPTH)
    )


def to_bytes(samples: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Deep samples in 8 bits.

    Args:
        samples: uint16 of any shape, below 2^bits.
        bits: int32 scalar.
    """
    largest = tf.bitwise.left_shift(1, bits) - 1
    wide = tf.cast(samples, tf.int32)
    return tf.cast((wide * 255 + largest // 2) // largest, tf.uint8)
