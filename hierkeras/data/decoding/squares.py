"""From an image of any size to a square of one."""

from __future__ import annotations

from typing import Final, TypeAlias

import tensorflow as tf

from hierkeras.data.decoding import orientation as orientation_lib
from hierkeras.data.decoding.pixels import Pixels
from hierkeras.data.decoding.tracing import as_written

_CHANNELS: Final = 3
# Rows and columns: 1 if they are seen in reverse.
_Flipped: TypeAlias = tf.Tensor | tuple[int, int]
_NOT_FLIPPED: Final = (0, 0)


@as_written
def to_upright_square(
    image: tf.Tensor, orientation: tf.Tensor, image_size: int, pixels: Pixels
) -> tf.Tensor:
    """As `to_square` of the image turned; the square is turned, which is less.

    Where an odd number of pixels is cut off or added, it is so on the sides
    where it would be of the image turned.

    Args:
        image: uint8 of shape [height, width, 3].
        orientation: int32 scalar in 1..8, how it is to be turned.
        image_size: side of the result in pixels.
        pixels: how.

    Returns:
        uint8 tensor of shape [image_size, image_size, 3].
    """
    flipped = tf.cast(orientation_lib.reversed_axes(orientation), tf.int32)
    if pixels.resize == "pad":
        square = _padded(image, image_size, pixels.level, flipped)
    else:
        if pixels.resize == "crop":
            image = _central(image, flipped)
        square = _resized(image, image_size)
    turned = orientation_lib.turned(square, orientation)
    return tf.ensure_shape(turned, [image_size, image_size, _CHANNELS])


@as_written
def to_square(images: tf.Tensor, image_size: int, pixels: Pixels) -> tf.Tensor:
    """Crops, pads or stretches images to a square and resizes it.

    Resized bilinearly with antialiasing.

    Args:
        images: uint8 of shape [..., height, width, 3] with at most one
            dimension before the height.
        image_size: side of the result in pixels.
        pixels: how.

    Returns:
        uint8 tensor of shape [..., image_size, image_size, 3].
    """
    images = tf.convert_to_tensor(images)
    static = images.shape[-3:-1].as_list()
    if pixels.resize == "pad":
        if static == [image_size, image_size]:
            return images
        return _padded(images, image_size, pixels.level, _NOT_FLIPPED)
    if pixels.resize == "crop":
        images = _central(images, _NOT_FLIPPED)
        static = static if None in static else [min(static)] * 2
    if None in static:
        return _resized(images, image_size)
    # With sizes known a graph would have a branch that cannot be built.
    same = static == [image_size, image_size]
    return images if same else _scaled(images, [image_size, image_size])


def _central(images: tf.Tensor, flipped: _Flipped) -> tf.Tensor:
    height, width = tf.unstack(tf.shape(images)[-3:-1])
    side = tf.minimum(height, width)
    top = (height - side + flipped[0]) // 2
    left = (width - side + flipped[1]) // 2
    return images[..., top : top + side, left : left + side, :]


def _resized(images: tf.Tensor, image_size: int) -> tf.Tensor:
    size = [image_size, image_size]
    batch = [-1 if size is None else size for size in images.shape[:-3]]
    # Resizing to the same size changes nothing, but takes longer than
    # decoding a small JPEG. With `ensure_shape` TensorFlow's constant folding
    # would take a side for `image_size` outside of this branch, too.
    return tf.cond(
        tf.reduce_all(tf.shape(images)[-3:-1] == tf.constant(size)),
        lambda: tf.reshape(images, [*batch, *size, _CHANNELS]),
        lambda: _scaled(images, size),
    )


def _padded(
    images: tf.Tensor, image_size: int, level: int, flipped: _Flipped
) -> tf.Tensor:
    sides = tf.shape(images)[-3:-1]
    longest = tf.reduce_max(sides)
    # To the nearest; a line of a pixel stays one.
    scaled = tf.maximum((2 * sides * image_size + longest) // (2 * longest), 1)
    before = (image_size - scaled + flipped) // 2
    around = tf.stack([before, image_size - scaled - before], axis=1)
    none = tf.zeros([1, 2], tf.int32)
    batch = [none] * (len(images.shape) - 3)
    padded = tf.pad(
        _scaled(images, scaled),
        tf.concat([*batch, around, none], axis=0),
        constant_values=level,
    )
    size = [image_size, image_size, _CHANNELS]
    return tf.ensure_shape(padded, [*images.shape[:-3], *size])


def _scaled(images: tf.Tensor, size: list[int] | tf.Tensor) -> tf.Tensor:
    return tf.cast(
        tf.round(tf.image.resize(images, size, antialias=True)), tf.uint8
    )
