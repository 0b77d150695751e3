"""JPEG: which way up it is, and four colours.

ITU-T T.81, B.1.1: a file is segments of a marker, FF and another byte, a
length of two bytes and contents. EXIF is one of APP1 (FF E1), what Adobe says
of colours one of APP14 (FF EE).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import tensorflow as tf

from hierkeras.data.decoding import orientation, reading
from hierkeras.data.decoding.reading import Read

BEGINNING: Final = b"\xff\xd8\xff"
_SCAN, _END = 0xDA, 0xD9
_EXIF: Final = b"\xff\xe1..Exif\0\0"
_ADOBE: Final = b"\xff\xee..Adobe"
_LOOKED_AT: Final = 12
# Says: no transform. The numbers are stored inverted, which all that write
# four colours into a JPEG do and all that show them expect.
_ADOBE_SEGMENT: Final = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"


class Told(NamedTuple):
    """What the segments before the image itself say.

    Args:
        exif: scalar int32, where EXIF begins; -1: there is none.
        adobe: scalar bool, whether Adobe's segment is there.
        too_many: scalar bool, whether the search was given up.
    """

    exif: tf.Tensor
    adobe: tf.Tensor
    too_many: tf.Tensor


def is_usual(encoded: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Whether it has fewer than four colours and no more pixels, scalar bool.

    Args:
        encoded: scalar string.
        max_pixels: how many it may have.

    Raises:
        OpError: When run, if it is damaged.
    """
    shape = tf.io.extract_jpeg_shape(encoded)
    return (shape[2] < 4) & (pixels(shape) <= max_pixels)


def pixels(shape: tf.Tensor) -> tf.Tensor:
    """How many an image promises, float64 scalar.

    Args:
        shape: int32 of shape [3], as `tf.io.extract_jpeg_shape` gives it.
    """
    return tf.reduce_prod(tf.cast(shape[:2], tf.float64))


def has_exif(encoded: tf.Tensor) -> tf.Tensor:
    """Whether EXIF may be in it, scalar bool; quickly.

    Args:
        encoded: scalar string.
    """
    return reading.contains(encoded, b"Exif\0\0")


def orientation_of(encoded: tf.Tensor) -> tf.Tensor:
    """Which way up it is.

    Args:
        encoded: scalar string.

    Returns:
        int32 scalar in 1..8, as EXIF numbers them; 0: the search was given
        up.
    """
    told = _told(encoded, to_the_end=False)
    found = tf.cond(
        told.exif >= 0,
        lambda: orientation.of_exif(encoded, told.exif),
        lambda: orientation.UPRIGHT,
    )
    return tf.where(told.too_many, 0, found)


def decode_unusual(encoded: tf.Tensor) -> Read:
    """Decodes one that is not plain.

    Args:
        encoded: scalar string.
    """
    told = _told(encoded, to_the_end=True)
    colours = tf.io.extract_jpeg_shape(encoded)[2]
    inserted = tf.where(
        tf.equal(colours, 4) & tf.logical_not(told.adobe), _ADOBE_SEGMENT, b""
    )
    completed = tf.strings.join(
        [
            tf.strings.substr(encoded, 0, 2),
            inserted,
            tf.strings.substr(encoded, 2, tf.strings.length(encoded)),
        ]
    )
    image = tf.io.decode_jpeg(completed, channels=3)
    return Read(image, told.exif, told.too_many, tf.constant(0))


def _told(encoded: tf.Tensor, *, to_the_end: bool) -> Told:
    """Goes from segment to segment, to the first of EXIF or to the end."""
    end, most = tf.strings.length(encoded), reading.most_parts(encoded)

    def goes_on(
        place: tf.Tensor, exif: tf.Tensor, _: tf.Tensor, turn: tf.Tensor
    ) -> tf.Tensor:
        more = (place < end) & (turn < most)
        return more if to_the_end else more & (exif < 0)

    def visit(
        place: tf.Tensor, exif: tf.Tensor, adobe: tf.Tensor, turn: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        head = reading.part(encoded, place, _LOOKED_AT)
        marker = head[1]
        is_exif = _begins(head, _EXIF) & (exif < 0)
        length = reading.clipped(reading.big(head[2:4]))
        # Any number of FF may stand before a marker.
        after = tf.where(tf.equal(marker, 0xFF), place + 1, place + 2 + length)
        is_last = (head[0] != 0xFF) | (marker == _SCAN) | (marker == _END)
        return (
            tf.where(is_last, end, tf.minimum(after, end)),
            tf.where(is_exif, place + 4, exif),
            adobe | _begins(head, _ADOBE),
            turn + 1,
        )

    _, exif, adobe, turn = tf.while_loop(
        goes_on,
        visit,
        (tf.constant(2), tf.constant(-1), tf.constant(False), tf.constant(0)),
    )
    return Told(exif, adobe, turn >= most)


def _begins(head: tf.Tensor, pattern: bytes) -> tf.Tensor:
    wanted = tf.constant(list(pattern))
    same = (head[: len(pattern)] == wanted) | (wanted == ord("."))
    return tf.reduce_all(same)
