"""JPEGs and PNGs that only have to be decoded, and turned: fast.

What decodes all else is so large that it takes TensorFlow half a second to
begin with, and every image some time to pass by; most data sets need none of
it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, NamedTuple

import tensorflow as tf

from hierkeras.data.decoding import jpeg, orientation, png, problems, reading
from hierkeras.data.decoding.pixels import Pixels
from hierkeras.data.decoding.squares import to_square, to_upright_square
from hierkeras.data.decoding.tracing import as_written, kept_apart

# What an error begins with that says of an image why it is not decoded.
REFUSED: Final = "an image cannot be decoded; it"
IS_ANOTHER: Final = "is another one than it was"


class Square(NamedTuple):
    """A square, or why there is none.

    Args:
        image: uint8 of shape [image_size, image_size, 3]; without meaning if
            there is a problem.
        problem: int32 scalar, one of `problems`.
        is_upright: bool scalar, whether it is stored as it is seen; the next
            time `upright_square` is enough.
    """

    image: tf.Tensor
    problem: tf.Tensor
    is_upright: tf.Tensor


@as_written
def square(encoded: tf.Tensor, image_size: int, pixels: Pixels) -> Square:
    """The square of a JPEG or PNG that only has to be decoded, and turned.

    What decodes all else is large; this is not, and it is fast.

    Args:
        encoded: scalar string.
        image_size: side of the result in pixels.
        pixels: how.

    Returns:
        The square; its problem is `problems.NOT_PLAIN` of all others.

    Raises:
        OpError: When run, if it is damaged.
    """
    # What most are is decided here, the rest in a function of its own, which
    # costs these nothing.
    is_usual = tf.cond(
        reading.begins(encoded, jpeg.BEGINNING),
        lambda: (
            jpeg.is_usual(encoded, pixels.max_pixels)
            & tf.logical_not(jpeg.has_exif(encoded))
        ),
        lambda: False,
    )
    return Square(
        *tf.cond(
            is_usual,
            lambda: (
                _upright(encoded, image_size, pixels),
                problems.FINE,
                True,
            ),
            lambda: _looked_at(image_size, pixels)(encoded),
        )
    )


@as_written
def upright_square(
    encoded: tf.Tensor, image_size: int, pixels: Pixels
) -> tf.Tensor:
    """The square of what `square` found upright before; faster, for it is.

    A branch costs as much as a quarter of decoding 64 pixels; here is none.

    Raises:
        OpError: When run, if it is damaged, or another file by now.
    """
    fine = tf.debugging.Assert(
        reading.begins(encoded, jpeg.BEGINNING)
        | reading.begins(encoded, png.BEGINNING),
        [REFUSED, IS_ANOTHER],
    )
    with tf.control_dependencies([fine]):
        encoded = tf.identity(encoded)
    return _upright(encoded, image_size, pixels)


def _upright(encoded: tf.Tensor, image_size: int, pixels: Pixels) -> tf.Tensor:
    return to_square(_decoded(encoded), image_size, pixels)


def _decoded(encoded: tf.Tensor) -> tf.Tensor:
    # It decodes JPEG as well.
    image = tf.io.decode_png(encoded, channels=3)
    image.set_shape([None, None, 3])
    return image


@functools.cache
def _looked_at(
    image_size: int, pixels: Pixels
) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
    """From a file to its square, turned, and the other fields of `Square`."""

    def look(encoded: tf.Tensor) -> tuple[tf.Tensor, ...]:
        turn = tf.cond(
            reading.begins(encoded, jpeg.BEGINNING),
            lambda: _turn_of_jpeg(encoded, pixels),
            lambda: _turn_of_png(encoded, pixels),
        )
        square = tf.cond(
            turn > 0,
            lambda: to_upright_square(
                _decoded(encoded), turn, image_size, pixels
            ),
            lambda: tf.zeros([image_size, image_size, 3], tf.uint8),
        )
        problem = tf.where(turn > 0, problems.FINE, problems.NOT_PLAIN)
        return square, problem, tf.equal(turn, orientation.UPRIGHT)

    return kept_apart(look, tf.string)


def _turn_of_jpeg(encoded: tf.Tensor, pixels: Pixels) -> tf.Tensor:
    """In 1..8; 0: it is not plain."""
    return tf.cond(
        jpeg.is_usual(encoded, pixels.max_pixels),
        lambda: jpeg.orientation_of(encoded),
        lambda: 0,
    )


def _turn_of_png(encoded: tf.Tensor, pixels: Pixels) -> tf.Tensor:
    """1; 0: it is no PNG or not plain."""
    is_plain = tf.cond(
        reading.begins(encoded, png.BEGINNING),
        lambda: (
            png.is_plain(encoded) & (png.pixels(encoded) <= pixels.max_pixels)
        ),
        lambda: False,
    )
    return tf.cast(is_plain, tf.int32)
