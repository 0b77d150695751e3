"""Which way up an image is, by its EXIF, and turning it."""

from __future__ import annotations

from typing import Final

import tensorflow as tf

from hierkeras.data.decoding import reading

UPRIGHT: Final = 1
_ORIENTATION: Final = 0x0112
_SHORT, _LONG = 3, 4
_HEADER: Final = b"Exif\0\0"
# The first directory is what matters, and stands at the beginning.
_LONGEST: Final = 2**16


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
    word = reading.part(encoded, place, len(_HEADER))
    has_word = tf.reduce_all(word == tf.constant(list(_HEADER)))
    place = tf.where(has_word, place + len(_HEADER), place)
    place = tf.minimum(place, tf.strings.length(encoded))
    tiff = tf.strings.substr(encoded, place, _LONGEST)
    data = tf.cast(tf.io.decode_raw(tiff, tf.uint8), tf.int32)
    data = tf.pad(data, [[0, 16]])
    is_little = tf.reduce_all(data[:4] == tf.constant(list(b"II*\0")))
    is_big = tf.reduce_all(data[:4] == tf.constant(list(b"MM\0*")))
    return tf.where(is_little | is_big, _in_directory(data, is_little), UPRIGHT)


def _in_directory(data: tf.Tensor, is_little: tf.Tensor) -> tf.Tensor:
    def number(digits: tf.Tensor) -> tf.Tensor:
        order = tf.where(is_little, digits, tf.reverse(digits, [-1]))
        return reading.little(order)

    start = tf.minimum(reading.clipped(number(data[4:8])), tf.size(data) - 2)
    count = reading.clipped(number(data[start : start + 2]))
    count = tf.minimum(count, (tf.size(data) - start - 2) // 12)
    entries = data[start + 2 : start + 2 + 12 * count]
    entries = tf.reshape(entries, [-1, 12])
    kind = number(entries[:, 2:4])
    value = tf.where(
        tf.equal(kind, _SHORT),
        number(entries[:, 8:10]),
        number(entries[:, 8:12]),
    )
    says = (
        tf.equal(number(entries[:, :2]), _ORIENTATION)
        & (tf.equal(kind, _SHORT) | tf.equal(kind, _LONG))
        & tf.equal(number(entries[:, 4:8]), 1)
        & (value >= 1)
        & (value <= 8)
    )
    found = tf.concat([[UPRIGHT], tf.cast(value[says], tf.int32)], axis=0)
    return found[-1]


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
    return tf.cond(
        tf.equal(orientation, UPRIGHT),
        lambda: image,
        lambda: _turned(image, orientation),
    )


def _turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    # 5 to 8 are rows for columns, and then as below: 6 is mirrored left to
    # right, 7 both ways, 8 upside down.
    def among(*numbers: int) -> tf.Tensor:
        return tf.reduce_any(orientation == tf.constant(numbers))

    image = tf.cond(
        orientation >= 5,
        lambda: _transposed(image),
        lambda: image,
    )
    mirrored = tf.stack([among(3, 4, 7, 8), among(2, 3, 6, 7)])
    return tf.reverse(image, tf.boolean_mask(tf.constant([0, 1]), mirrored))


def _transposed(image: tf.Tensor) -> tf.Tensor:
    # Where a CPU lacks AVX-512, oneDNN writes an error at each `tf.transpose`
    # of bytes, which it then leaves to others.
    height, width = tf.unstack(tf.shape(image)[:2])
    places = tf.range(width)[:, tf.newaxis] + width * tf.range(height)
    return tf.gather(tf.reshape(image, [-1, image.shape[-1]]), places)
