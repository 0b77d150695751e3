"""From any encoded image to its pixels, by graph operations alone.

The served graph and training decode by the same function. It shows an image
as people see it, or says why not; it never guesses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import tensorflow as tf

from hierkeras.data.decoding import (
    blending,
    bmp,
    gif,
    jpeg,
    png,
    problems,
    reading,
    webp,
)
from hierkeras.data.decoding.pixels import Pixels
from hierkeras.data.decoding.squares import to_square

# Formats that are decoded, by what they begin with (a dot: any byte), then
# those that are refused by name.
_DECODED: Final = (
    png.BEGINNING,
    bmp.BEGINNING,
    gif.BEGINNING,
    webp.LOSSY,
    webp.LOSSLESS,
    webp.EXTENDED,
)
_PNG, _BMP, _GIF, _WEBP, _OTHER = range(5)
_REFUSED: Final = (
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0..ftypavi", "AVIF"),
    (b"\0\0..ftyphe", "HEIC"),
    (b"\0\0..ftypmif", "HEIC"),
    (b"\0\0..ftypmsf", "HEIC"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    # A damaged one aborts TensorFlow 2.21, and with it the process.
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"qoif", "QOI"),
    *((b"P%d\n" % n, "PNM") for n in range(1, 7)),
    *((b"P%d " % n, "PNM") for n in range(1, 7)),
    (b"\0\0\1\0", "ICO"),
    (b"8BPS", "PSD"),
)
_JPEG: Final = b"\xff\xd8\xff"
_HEAD: Final = 16


class Decoded(NamedTuple):
    """An image, or why there is none.

    Args:
        image: uint8 of shape [height, width, 3]; without meaning if there is
            a problem.
        problem: int32 scalar, one of `problems`.
        bits: int32 scalar, that the file's samples use; 8 but where each has
            16.
    """

    image: tf.Tensor
    problem: tf.Tensor
    bits: tf.Tensor


def decode(encoded: tf.Tensor, pixels: Pixels) -> Decoded:
    """Decodes an image.

    Args:
        encoded: scalar string.
        pixels: what shows through where it is transparent, and how large it
            may be.

    Raises:
        OpError: When run, if it is damaged.
    """
    head = reading.head(encoded, len(_JPEG))
    # What is rare is a function of its own: its operations would be looked
    # at, though not run, for every JPEG.
    result = tf.cond(
        tf.reduce_all(head == tf.constant(list(_JPEG))),
        lambda: _decode_jpeg(encoded, pixels),
        lambda: _others(pixels)(encoded),
    )
    result = Decoded(*result)
    result.image.set_shape([None, None, 3])
    return result


def decode_and_resize(
    image: tf.Tensor, image_size: int, pixels: Pixels | None = None
) -> tf.Tensor:
    """Turns an image into a square of a given size.

    Only stateless operations are used, so that training and a served graph
    see the same pixels.

    Args:
        image: scalar string holding an encoded image; or uint8 of shape
            [height, width, channels], with 1, 3 or 4 channels, of which the
            fourth is opacity.
        image_size: side of the result in pixels.
        pixels: how; None: as `Pixels()`.

    Returns:
        uint8 tensor of shape [image_size, image_size, 3].

    Raises:
        InvalidArgumentError: When run, if it cannot be decoded.
    """
    pixels = pixels or Pixels()
    if image.dtype == tf.string:
        decoded = decode(image, pixels)
        with tf.control_dependencies([_refuse(decoded.problem, pixels)]):
            image = tf.identity(decoded.image)
    elif image.shape[-1] == 1:
        image = tf.image.grayscale_to_rgb(image)
    elif image.shape[-1] == 4:
        image = blending.over(image, pixels.level)
    return to_square(image, image_size, pixels)


def _refuse(problem: tf.Tensor, pixels: Pixels) -> tf.Operation:
    reasons = tf.constant(problems.reasons(pixels))
    return tf.debugging.Assert(
        tf.equal(problem, problems.FINE),
        ["the image", tf.gather(reasons, problem)],
    )


def _fine(image: tf.Tensor, bits: tf.Tensor | int = 8) -> tuple:
    return image, tf.constant(problems.FINE), tf.convert_to_tensor(bits)


def _bad(problem: tf.Tensor | int) -> tuple:
    nothing = tf.zeros([1, 1, 3], tf.uint8)
    return nothing, tf.convert_to_tensor(problem), tf.constant(8)


def _decode_jpeg(encoded: tf.Tensor, pixels: Pixels) -> tuple:
    shape = tf.io.extract_jpeg_shape(encoded)
    promised = tf.reduce_prod(tf.cast(shape[:2], tf.float32))
    return tf.cond(
        jpeg.is_plain(encoded, shape) & (promised <= pixels.max_pixels),
        lambda: _fine(tf.io.decode_jpeg(encoded, channels=3)),
        lambda: _unusual_jpeg(pixels)(encoded, promised),
    )


@functools.cache
def _unusual_jpeg(pixels: Pixels) -> Callable[..., tuple]:
    def decode_it(encoded: tf.Tensor, promised: tf.Tensor) -> tuple:
        return tf.cond(
            promised <= pixels.max_pixels,
            lambda: _unless_too_many(*jpeg.decode_unusual(encoded)),
            lambda: _bad(problems.TOO_LARGE),
        )

    return _apart(decode_it, tf.string, tf.float32)


@functools.cache
def _others(pixels: Pixels) -> Callable[[tf.Tensor], tuple]:
    """Decodes what is no JPEG."""

    def decode_it(encoded: tf.Tensor) -> tuple:
        number = _number(reading.head(encoded, _HEAD))
        # The three beginnings of WebP are one branch.
        kinds = tf.constant([_PNG, _BMP, _GIF, *[_WEBP] * 3])
        last = len(_DECODED)
        kind = tf.where(number < last, tf.gather(kinds, number % last), _OTHER)
        branches = {
            _PNG: lambda: _decode_png(encoded, pixels),
            _BMP: lambda: _decode_bmp(encoded, pixels),
            _GIF: lambda: _decode_gif(encoded, pixels),
            _WEBP: lambda: _decode_webp(encoded, pixels),
            _OTHER: lambda: _bad(_problem(number)),
        }
        return tf.switch_case(kind, branches)

    return _apart(decode_it, tf.string)


def _apart(function: Callable, *dtypes: tf.DType) -> Callable:
    """A function of scalars that stays one in the graph."""
    return tf.function(
        function,
        autograph=False,
        input_signature=[tf.TensorSpec([], dtype) for dtype in dtypes],
        experimental_attributes={"_noinline": True},
    )


def _number(head: tf.Tensor) -> tf.Tensor:
    """Which of the known beginnings an image has; their number if none."""
    beginnings = [*_DECODED, *(beginning for beginning, _ in _REFUSED)]
    table = tf.constant(
        np.array([list(each[:_HEAD].ljust(_HEAD, b".")) for each in beginnings])
    )
    same = (head == tf.cast(table, tf.int32)) | (table == ord("."))
    begins = tf.concat([tf.reduce_all(same, axis=1), [True]], axis=0)
    return tf.argmax(begins, output_type=tf.int32)


def _problem(number: tf.Tensor) -> tf.Tensor:
    told = [problems.number_of(kind) for _, kind in _REFUSED]
    known = [problems.FINE] * len(_DECODED)
    return tf.gather(tf.constant([*known, *told, problems.DAMAGED]), number)


def _if_it_fits(
    promised: tf.Tensor, pixels: Pixels, then: Callable[[], tuple]
) -> tuple:
    return tf.cond(
        promised <= pixels.max_pixels,
        then,
        lambda: _bad(problems.TOO_LARGE),
    )


def _unless_too_many(
    image: tf.Tensor, too_many: tf.Tensor, bits: tf.Tensor | int = 8
) -> tuple:
    problem = tf.where(too_many, problems.TOO_MANY_PARTS, problems.FINE)
    return image, problem, tf.convert_to_tensor(bits)


def _decode_png(encoded: tf.Tensor, pixels: Pixels) -> tuple:
    return _if_it_fits(
        png.pixels(encoded),
        pixels,
        lambda: _unless_too_many(*png.decode(encoded, pixels.level)),
    )


def _decode_webp(encoded: tf.Tensor, pixels: Pixels) -> tuple:
    return _if_it_fits(
        webp.pixels(encoded),
        pixels,
        lambda: _unless_too_many(*webp.decode(encoded, pixels.level)),
    )


def _decode_gif(encoded: tf.Tensor, pixels: Pixels) -> tuple:
    first = gif.first_frame(encoded)
    problem = tf.case(
        [
            (first.too_many, lambda: problems.TOO_MANY_PARTS),
            (tf.equal(first.place, 0), lambda: problems.DAMAGED),
            (first.pixels > pixels.max_pixels, lambda: problems.TOO_LARGE),
            (tf.logical_not(first.fills), lambda: problems.PARTIAL_GIF),
        ],
        default=lambda: problems.FINE,
    )
    return tf.cond(
        tf.equal(problem, problems.FINE),
        lambda: _fine(gif.decode(encoded, first, pixels.level)),
        lambda: _bad(problem),
    )


def _decode_bmp(encoded: tf.Tensor, pixels: Pixels) -> tuple:
    told = bmp.header(encoded)
    problem = tf.case(
        [
            (told.pixels > pixels.max_pixels, lambda: problems.TOO_LARGE),
            (tf.logical_not(told.usual), lambda: problems.UNUSUAL_BMP),
            (
                tf.logical_not(bmp.is_whole(encoded, told)),
                lambda: problems.DAMAGED,
            ),
        ],
        default=lambda: problems.FINE,
    )
    return tf.cond(
        tf.equal(problem, problems.FINE),
        lambda: _fine(bmp.decode(encoded, told, pixels.level)),
        lambda: _bad(problem),
    )
