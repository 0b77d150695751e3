"""Which way up an image is, by its EXIF, and turning it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import tensorflow as tf

from hierkeras.data.decoding import reading
from hierkeras.data.decoding.tracing import kept_apart

UPRIGHT: Final = 1
# EXIF 2.32, 4.6.4: whether rows and columns are, by the orientation, from 1.
_REVERSED: Final = [
    [number in (3, 4, 6, 7) for number in range(1, 9)],
    [number in (2, 3, 7, 8) for number in range(1, 9)],
]
_TAG: Final = (0x01, 0x12)
_ENTRY: Final = 12
_SHORT, _LONG = 3, 4
_HEADER: Final = b"Exif\0\0"


def of_exif(encoded: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Reads the orientation.

    TIFF 6.0, section 2, and EXIF 2.32, 4.6.4: a header that says the order
    of bytes and where the first directory is; entries of 12 bytes.

    Args:
        encoded: scalar string.
        place: scalar int32, where EXIF begins in it, with or without the
            word "Exif".

    Returns:
        int32 scalar in 1..8; 1 if nothing says otherwise.
    """
    orientation = _of_exif()(encoded, place)
    orientation.set_shape([])
    return orientation


@functools.cache
def _of_exif() -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    return kept_apart(_read, tf.string, tf.int32)


def _read(encoded: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    word = reading.part(encoded, place, len(_HEADER))
    has_word = tf.reduce_all(word == tf.constant(list(_HEADER)))
    place = tf.where(has_word, place + len(_HEADER), place)
    header = reading.part(encoded, place, 8)
    is_little = tf.reduce_all(header[:4] == tf.constant(list(b"II*\0")))
    is_big = tf.reduce_all(header[:4] == tf.constant(list(b"MM\0*")))

    def found() -> tf.Tensor:
        offset = reading.clipped(_number(header[4:], is_little))
        return _in_directory(encoded, place + offset, is_little)

    return tf.cond(is_little | is_big, found, lambda: UPRIGHT)


def _number(digits: tf.Tensor, is_little: tf.Tensor) -> tf.Tensor:
    order = tf.where(is_little, digits, tf.reverse(digits, [-1]))
    return reading.little(order)


def _in_directory(
    encoded: tf.Tensor, place: tf.Tensor, is_little: tf.Tensor
) -> tf.Tensor:
    promised = _number(reading.part(encoded, place, 2), is_little)
    place = tf.minimum(place + 2, tf.strings.length(encoded))
    entries = tf.strings.substr(
        encoded, place, _ENTRY * reading.clipped(promised)
    )
    whole = tf.strings.length(entries) // _ENTRY
    entries = tf.reshape(
        tf.io.decode_raw(
            tf.strings.substr(entries, 0, _ENTRY * whole), tf.uint8
        ),
        [-1, _ENTRY],
    )
    # Of the many that a camera writes, that of the orientation alone.
    tag = tf.where(is_little, _TAG[::-1], _TAG)
    here = tf.reduce_all(entries[:, :2] == tf.cast(tag, tf.uint8), axis=1)
    entries = tf.cast(tf.boolean_mask(entries, here), tf.int32)
    kind = _number(entries[:, 2:4], is_little)
    value = tf.where(
        tf.equal(kind, _SHORT),
        _number(entries[:, 8:10], is_little),
        _number(entries[:, 8:12], is_little),
    )
    says = (
        (tf.equal(kind, _SHORT) | tf.equal(kind, _LONG))
        & tf.equal(_number(entries[:, 4:8], is_little), 1)
        & (value >= 1)
        & (value <= 8)
    )
    told = tf.cast(tf.boolean_mask(value, says), tf.int32)
    return tf.concat([[UPRIGHT], told], axis=0)[-1]


def upright(image: tf.Tensor, encoded: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
    """Turns an image the way that its EXIF says.

    Args:
        image: uint8 of shape [height, width, 3].
        encoded: scalar string, the file.
        exif: scalar int32, where EXIF begins in it; negative: there is none.
    """
    orientation = tf.cond(
        exif >= 0, lambda: of_exif(encoded, exif), lambda: UPRIGHT
    )
    return turned(image, orientation)


def turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image from how it is stored to how it is seen.

    Args:
        image: uint8 of shape [height, width, 3].
        orientation: int32 scalar in 1..8.
    """
    return tf.cond(
        tf.equal(orientation, UPRIGHT),
        lambda: image,
        lambda: _turned(image, orientation),
    )


def reversed_axes(orientation: tf.Tensor) -> tf.Tensor:
    """Which of the axes of an image as it is stored are seen in reverse.

    Args:
        orientation: int32 scalar in 1..8.

    Returns:
        bool of shape [2]: rows, columns.
    """
    return tf.constant(_REVERSED)[:, orientation - 1]


def _turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    reverse = tf.boolean_mask(tf.constant([0, 1]), reversed_axes(orientation))
    image = tf.reverse(image, reverse)
    # 5 to 8 are columns for rows besides.
    return tf.cond(orientation >= 5, lambda: _transposed(image), lambda: image)


def _transposed(image: tf.Tensor) -> tf.Tensor:
    # Where a CPU lacks AVX-512, oneDNN writes an error at each `tf.transpose`
    # of bytes, which it then leaves to others.
    height, width = tf.unstack(tf.shape(image)[:2])
    places = tf.range(width)[:, tf.newaxis] + width * tf.range(height)
    return tf.gather(tf.reshape(image, [-1, image.shape[-1]]), places)
