"""From any encoded image to its pixels, by graph operations alone.

The served graph and training decode by the same function. It shows an image
as people see it, or says why not; it never guesses.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from hierkeras.data.decoding import (
    blending,
    bmp,
    gif,
    jpeg,
    orientation,
    plain,
    png,
    problems,
    reading,
    webp,
)
from hierkeras.data.decoding.pixels import DEFAULT, Pixels
from hierkeras.data.decoding.reading import Read
from hierkeras.data.decoding.squares import to_square
from hierkeras.data.decoding.tracing import as_written, kept_apart

# Formats that are decoded, by what they begin with (a dot: any byte), then
# those that are refused by name.
_DECODED: Final = (
    jpeg.BEGINNING,
    png.BEGINNING,
    bmp.BEGINNING,
    gif.BEGINNING,
    webp.LOSSY,
    webp.LOSSLESS,
    webp.EXTENDED,
)
_JPEG_KIND, _PNG, _BMP, _GIF, _WEBP, _OTHER = range(6)
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
_HEAD: Final = 16


class Decoded(NamedTuple):
    """An image, or why there is none.

    Args:
        image: uint8 of shape [height, width, 3]; without meaning if there is
            a problem.
        problem: int32 scalar, one of `problems`.
        bits: int32 scalar, that the file's samples use; 0 but where each has
            16.
    """

    image: tf.Tensor
    problem: tf.Tensor
    bits: tf.Tensor


@as_written
def decode_and_resize(
    image: tf.Tensor, image_size: int, pixels: Pixels = DEFAULT
) -> tf.Tensor:
    """Turns an image into a square of a given size.

    Only stateless operations are used, so that training and a served graph
    see the same pixels.

    Args:
        image: scalar string holding an encoded image; or uint8 of shape
            [height, width, channels], with 1, 3 or 4 channels, of which the
            fourth is opacity.
        image_size: side of the result in pixels.
        pixels: how.

    Returns:
        uint8 tensor of shape [image_size, image_size, 3].

    Raises:
        InvalidArgumentError: When run, if it cannot be decoded.
    """
    if image.dtype == tf.string:
        return _square(image, image_size, pixels)
    if image.shape[-1] == 1:
        image = tf.image.grayscale_to_rgb(image)
    elif image.shape[-1] == 4:
        image = blending.over(image, pixels.level)
    return to_square(image, image_size, pixels)


def _square(encoded: tf.Tensor, image_size: int, pixels: Pixels) -> tf.Tensor:
    square, problem, _ = plain.square(encoded, image_size, pixels)

    def other() -> tf.Tensor:
        shown = checked(decode(encoded, pixels), pixels)
        return to_square(shown, image_size, pixels)

    return tf.cond(tf.equal(problem, problems.FINE), lambda: square, other)


@as_written
def checked(decoded: Decoded, pixels: Pixels) -> tf.Tensor:
    """The image itself, uint8 of shape [height, width, 3].

    Args:
        decoded: what was decoded.
        pixels: how.

    Raises:
        InvalidArgumentError: When run, if there is a problem.
    """
    reasons = tf.constant(problems.reasons(pixels))
    fine = tf.debugging.Assert(
        decoded.problem <= problems.FINE,
        [plain.REFUSED, tf.gather(reasons, tf.maximum(decoded.problem, 0))],
    )
    with tf.control_dependencies([fine]):
        return tf.identity(decoded.image)


def _bad(problem: tf.Tensor | int) -> Decoded:
    nothing = tf.zeros([1, 1, 3], tf.uint8)
    return Decoded(nothing, tf.convert_to_tensor(problem), tf.constant(0))


@as_written
def decode(encoded: tf.Tensor, pixels: Pixels) -> Decoded:
    """Decodes an image; a plain one too, if not as fast as `plain` does.

    Args:
        encoded: scalar string.
        pixels: what shows through where it is transparent, and how large it
            may be.

    Raises:
        OpError: When run, if it is damaged.
    """
    limit = tf.constant(pixels.max_pixels, tf.float64)
    result = Decoded(*_decode()(encoded, tf.constant(pixels.level), limit))
    result.image.set_shape([None, None, 3])
    return result


@functools.cache
def _decode() -> Callable[..., Decoded]:
    """Traced once in a process, which takes a second."""

    def decode_it(
        encoded: tf.Tensor, level: tf.Tensor, limit: tf.Tensor
    ) -> Decoded:
        number = _number(reading.head(encoded, _HEAD))
        kinds = tf.constant([_JPEG_KIND, _PNG, _BMP, _GIF, *[_WEBP] * 3])
        last = len(_DECODED)
        kind = tf.where(number < last, tf.gather(kinds, number % last), _OTHER)
        branches: dict[int, Callable[[], tuple[Any, ...]]] = {
            _JPEG_KIND: lambda: _if_it_fits(
                jpeg.pixels(tf.io.extract_jpeg_shape(encoded)),
                limit,
                lambda: jpeg.decode_unusual(encoded),
            ),
            _PNG: lambda: _if_it_fits(
                png.pixels(encoded), limit, lambda: png.decode(encoded, level)
            ),
            _BMP: lambda: _read_bmp(encoded, level, limit),
            _GIF: lambda: _read_gif(encoded, level, limit),
            _WEBP: lambda: _if_it_fits(
                webp.pixels(encoded),
                limit,
                lambda: webp.decode(encoded, level),
            ),
            _OTHER: lambda: _unread(_problem(number)),
        }
        read, problem = tf.switch_case(kind, branches)
        read.image.set_shape([None, None, 3])
        image = orientation.upright(read.image, encoded, read.exif)
        problem = tf.where(read.too_many, problems.TOO_MANY_PARTS, problem)
        return Decoded(image, problem, read.bits)

    return kept_apart(decode_it, tf.string, tf.int32, tf.float64)


def _number(head: tf.Tensor) -> tf.Tensor:
    """Which of the known beginnings an image has; their number if none."""
    beginnings = [*_DECODED, *(beginning for beginning, _ in _REFUSED)]
    table = tf.constant(
        np.array(
            [list(each[:_HEAD].ljust(_HEAD, b".")) for each in beginnings]
        ),
        tf.int32,
    )
    same = (head == table) | (table == ord("."))
    begins = tf.concat([tf.reduce_all(same, axis=1), [True]], axis=0)
    return tf.argmax(begins, output_type=tf.int32)


def _problem(number: tf.Tensor) -> tf.Tensor:
    told = [problems.number_of(kind) for _, kind in _REFUSED]
    known = [problems.FINE] * len(_DECODED)
    return tf.gather(tf.constant([*known, *told, problems.DAMAGED]), number)


def _unread(problem: tf.Tensor | int) -> tuple[Read, tf.Tensor]:
    bad = _bad(problem)
    none = tf.constant(-1), tf.constant(False)
    return Read(bad.image, *none, bad.bits), bad.problem


def _if_it_fits(
    promised: tf.Tensor, limit: tf.Tensor, read: Callable[[], Read]
) -> tuple[Read, tf.Tensor]:
    result, problem = tf.cond(
        promised <= limit,
        lambda: (read(), tf.constant(problems.FINE)),
        lambda: _unread(problems.TOO_LARGE),
    )
    return result, problem


def _unless(
    problem: tf.Tensor, image: Callable[[], tf.Tensor]
) -> tuple[Read, tf.Tensor]:
    def read() -> tuple[Read, tf.Tensor]:
        none = tf.constant(-1), tf.constant(False)
        return Read(image(), *none, tf.constant(0)), problem

    result, problem = tf.cond(
        tf.equal(problem, problems.FINE), read, lambda: _unread(problem)
    )
    return result, problem


def _first_of(*problems_: tuple[tf.Tensor, int]) -> tf.Tensor:
    """The first problem that there is."""
    there = tf.stack([*(is_there for is_there, _ in problems_), True])
    numbers = tf.constant([*(n for _, n in problems_), problems.FINE])
    return numbers[tf.argmax(there)]


def _read_gif(
    encoded: tf.Tensor, level: tf.Tensor, limit: tf.Tensor
) -> tuple[Read, tf.Tensor]:
    first = gif.first_frame(encoded)
    problem = _first_of(
        (first.too_many, problems.TOO_MANY_PARTS),
        (tf.equal(first.place, 0), problems.DAMAGED),
        (first.pixels > limit, problems.TOO_LARGE),
        (tf.logical_not(first.fills), problems.PARTIAL_GIF),
    )
    return _unless(problem, lambda: gif.decode(encoded, first, level))


def _read_bmp(
    encoded: tf.Tensor, level: tf.Tensor, limit: tf.Tensor
) -> tuple[Read, tf.Tensor]:
    told = bmp.header(encoded)
    problem = _first_of(
        (tf.logical_not(told.known), problems.DAMAGED),
        (told.pixels > limit, problems.TOO_LARGE),
        (tf.logical_not(told.usual), problems.UNUSUAL_BMP),
        (tf.logical_not(bmp.is_whole(encoded, told)), problems.DAMAGED),
    )
    return _unless(problem, lambda: bmp.decode(encoded, told, level))
