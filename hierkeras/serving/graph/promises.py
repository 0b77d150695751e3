"""How many pixels an encoded image promises, before any is decoded.

A decoder allocates what the header says. So the header is read here first,
and read strictly: what the decoder would read from elsewhere is refused.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class _Format(NamedTuple):
    """What a format's images begin with, and where their size stands.

    Args:
        beginning: The first bytes; a dot stands for any byte.
        width: Places of the width's bytes, the lowest first.
        height: Places of the height's.
        height_shift: Bits of the height's bytes that are not the height's.
        bits: Bits of each number.
        less: What the numbers lack.
    """

    beginning: bytes
    width: tuple[int, ...] = ()
    height: tuple[int, ...] = ()
    height_shift: int = 0
    bits: int = 32
    less: int = 0


# PNG: W3C PNG, 11.2.2; it must begin with this chunk, although decoders skip
# unknown ones before it. WebP: RFC 9649, 2.5 to 2.7. JPEG XL is left out: 30
# bytes of it abort TensorFlow 2.21's decoder, and the process.
_JPEG, _GIF = range(2)
_FORMATS = (
    _Format(b"\xff\xd8\xff"),
    _Format(b"GIF8"),
    _Format(
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", (19, 18, 17, 16), (23, 22, 21, 20)
    ),
    _Format(b"BM", (18, 19, 20, 21), (22, 23, 24, 25)),
    _Format(b"RIFF....WEBPVP8 ", (26, 27), (28, 29), bits=14),
    _Format(
        b"RIFF....WEBPVP8L",
        (21, 22, 23, 24),
        (21, 22, 23, 24),
        height_shift=14,
        bits=14,
        less=1,
    ),
    _Format(b"RIFF....WEBPVP8X", (24, 25, 26), (27, 28, 29), less=1),
)
_HEAD = 30


class Promised(NamedTuple):
    """What the first bytes of images say.

    Args:
        known: bool of shape (n,): whether it is a format that is decoded.
        jpeg: bool of shape (n,): whether it is a JPEG.
        pixels: float64 of shape (n,); 0 of a JPEG, which `jpeg_pixels` tells.
    """

    known: tf.Tensor
    jpeg: tf.Tensor
    pixels: tf.Tensor


def read(encoded: tf.Tensor) -> Promised:
    """Reads what images promise; it never fails.

    Args:
        encoded: string of shape (n,).
    """
    heads = tf.io.decode_raw(encoded, tf.uint8, fixed_length=_HEAD)
    padded = [list(each.beginning.ljust(_HEAD, b".")) for each in _FORMATS]
    beginnings = tf.constant(padded, tf.uint8)
    begins = tf.reduce_all(
        (heads[:, tf.newaxis] == beginnings) | (beginnings == ord(".")), axis=2
    )
    numbers = tf.argmax(begins, axis=1, output_type=tf.int32)
    known = tf.reduce_any(begins, axis=1)
    gifs = tf.where(known & (numbers == _GIF))
    return Promised(
        known,
        known & (numbers == _JPEG),
        tf.tensor_scatter_nd_update(
            _fixed_pixels(heads, numbers),
            gifs,
            tf.map_fn(
                lambda image: _Gif(image).pixels(),
                tf.gather_nd(encoded, gifs),
                fn_output_signature=tf.float64,
            ),
        ),
    )


def jpeg_pixels(image: tf.Tensor) -> tf.Tensor:
    """Number of pixels that a JPEG promises.

    Args:
        image: scalar string.

    Returns:
        float64 scalar.

    Raises:
        InvalidArgumentError: When run, if its header is damaged.
    """
    shape = tf.io.extract_jpeg_shape(image)
    return tf.reduce_prod(tf.cast(shape[:2], tf.float64))


def _fixed_pixels(heads: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
    weights = np.zeros([len(_FORMATS), 2, _HEAD])
    for each, weight in zip(_FORMATS, weights, strict=True):
        for places, row in zip((each.width, each.height), weight, strict=True):
            row[list(places)] = 2.0 ** (8 * np.arange(len(places)))
    shifts = np.array([[0, each.height_shift] for each in _FORMATS])
    bits = np.array([[each.bits] for each in _FORMATS])
    less = np.array([[each.less] for each in _FORMATS], np.float64)

    def of(table: np.ndarray) -> tf.Tensor:
        return tf.gather(tf.constant(table), numbers)

    values = tf.reduce_sum(
        of(weights) * tf.cast(heads, tf.float64)[:, tf.newaxis], axis=2
    )
    values = tf.math.floormod(tf.floor(values / of(2.0**shifts)), of(2.0**bits))
    # A BMP's height is negative where its rows run from top to bottom.
    values = tf.minimum(values + of(less), 2.0**32 - values)
    return tf.reduce_prod(values, axis=1)


# What follows finds a GIF's images (GIF89a, 15 to 26). All of them are
# unpacked although only the first is wanted, and the result is as high as
# the highest and as wide as the widest of them. So each block is visited, up
# to a limit on the work, about a second: 20 MB of an ordinary GIF.
_EXTENSION, _IMAGE = 0x21, 0x2C
_SCREEN_SIZE, _SCREEN_FLAGS, _SCREEN_END = 6, 10, 13
_IMAGE_SIZE, _IMAGE_FLAGS, _IMAGE_TABLE = 5, 9, 10
_LONGEST_TABLE = 3 * 256
_MOST_WORK, _BLOCK_WORK, _SUB_BLOCK_WORK = 100_000, 8, 1


class _Gif:
    """The blocks of a GIF.

    Args:
        image: scalar string.
    """

    def __init__(self, image: tf.Tensor) -> None:
        data = tf.io.decode_raw(image, tf.uint8)
        self._end = tf.size(data)
        # Zeros end every chain of blocks.
        self._data = tf.pad(data, [[0, _SCREEN_END + _LONGEST_TABLE + 1]])

    def pixels(self) -> tf.Tensor:
        """How many are unpacked, float64 scalar; infinite beyond the limit."""
        first = _SCREEN_END + self._table(tf.constant(_SCREEN_FLAGS))
        _, work, total, most = tf.while_loop(
            self._goes_on,
            self._visit,
            (
                tf.minimum(first, self._end),
                tf.constant(0),
                tf.constant(0.0, tf.float64),
                self._size(tf.constant(_SCREEN_SIZE)),
            ),
        )
        return tf.where(
            work < _MOST_WORK,
            tf.maximum(total, tf.reduce_prod(most)),
            tf.constant(float("inf"), tf.float64),
        )

    def _goes_on(
        self, place: tf.Tensor, work: tf.Tensor, *_: tf.Tensor
    ) -> tf.Tensor:
        kind = self._number(place)
        known = (kind == _EXTENSION) | (kind == _IMAGE)
        return known & (work < _MOST_WORK)

    def _visit(
        self,
        place: tf.Tensor,
        work: tf.Tensor,
        total: tf.Tensor,
        most: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        is_image = self._number(place) == _IMAGE
        here = tf.where(is_image, self._size(place + _IMAGE_SIZE), 0.0)
        table = self._table(place + _IMAGE_FLAGS)
        header = tf.where(is_image, _IMAGE_TABLE + table + 1, 2)
        place, work = self._past_sub_blocks(place + header, work + _BLOCK_WORK)
        return (
            tf.minimum(place + 1, self._end),
            work,
            total + tf.reduce_prod(here),
            tf.maximum(most, here),
        )

    def _past_sub_blocks(
        self, place: tf.Tensor, work: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.while_loop(
            lambda place, work: (self._data[place] > 0) & (work < _MOST_WORK),
            lambda place, work: (
                tf.minimum(place + self._number(place) + 1, self._end),
                work + _SUB_BLOCK_WORK,
            ),
            (tf.minimum(place, self._end), work),
        )

    def _number(self, place: tf.Tensor) -> tf.Tensor:
        return tf.cast(self._data[place], tf.int32)

    def _size(self, place: tf.Tensor) -> tf.Tensor:
        digits = tf.cast(self._data[place : place + 4], tf.float64)
        return digits[::2] + 2**8 * digits[1::2]

    def _table(self, place: tf.Tensor) -> tf.Tensor:
        flags = self._number(place)
        length = 3 * tf.bitwise.left_shift(2, flags % 8)
        return tf.where(flags >= 0x80, length, 0)
