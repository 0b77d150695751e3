"""WebP: opacity, where EXIF is, and the first of several frames.

RFC 9649, 2.3 to 2.7: RIFF chunks from byte 12 on. The first is the image
itself, lossy or lossless, or a head that says what others there are.
"""

from __future__ import annotations

from typing import Final

import tensorflow as tf

from hierkeras.data.decoding import blending, reading
from hierkeras.data.decoding.reading import Read

LOSSY: Final = b"RIFF....WEBPVP8 "
LOSSLESS: Final = b"RIFF....WEBPVP8L"
EXTENDED: Final = b"RIFF....WEBPVP8X"
_FIRST_CHUNK: Final = 12
_KIND, _FLAGS, _HEAD = 15, 20, 30
_ANIMATED, _HAS_EXIF, _OPACITY = 0x02, 0x08, 0x10


def pixels(encoded: tf.Tensor) -> tf.Tensor:
    """How many an image promises, float64 scalar."""
    head = reading.head(encoded, _HEAD)
    # 14 bits each; then 14 bits and 14 bits, less 1; then 24 bits, less 1.
    lossy = reading.little(tf.reshape(head[26:30], [2, 2])) % 2**14
    packed = reading.little(head[21:25])
    lossless = tf.stack([packed % 2**14, packed // 2**14 % 2**14]) + 1
    extended = reading.little(tf.reshape(head[24:30], [2, 3])) + 1
    sides = tf.where(
        tf.equal(head[_KIND], ord(" ")),
        lossy,
        tf.where(tf.equal(head[_KIND], ord("L")), lossless, extended),
    )
    return tf.reduce_prod(tf.cast(sides, tf.float64))


def decode(encoded: tf.Tensor, level: tf.Tensor | int) -> Read:
    """Decodes an image, of several frames the first.

    Args:
        encoded: scalar string that begins with `LOSSY`, `LOSSLESS` or
            `EXTENDED`.
        level: scalar int32, the background's red, green and blue, in 0..255.
    """
    head = reading.head(encoded, _HEAD)
    flags = tf.where(tf.equal(head[_KIND], ord("X")), head[_FLAGS], 0)

    def has(flag: int) -> tf.Tensor:
        return tf.equal(flags & flag, flag)

    first, gave_up = tf.cond(
        has(_ANIMATED),
        lambda: _first_frame(encoded),
        lambda: (encoded, tf.constant(False)),
    )
    # The decoder gives as many channels as there are; asked for others it
    # fails, and asked for any it aborts where frames are said to be opaque.
    image = tf.cond(
        has(_ANIMATED) | _has_opacity(encoded, head),
        lambda: blending.over(_decoded(first, 4), level),
        lambda: _decoded(first, 3),
    )
    exif, too_many = tf.cond(
        has(_HAS_EXIF),
        lambda: _exif(encoded),
        lambda: (tf.constant(-1), tf.constant(False)),
    )
    return Read(image, exif, gave_up | too_many, tf.constant(0))


def _has_opacity(encoded: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Whether it is decoded to four channels: lossless data say so first."""
    says = tf.equal(head[_FLAGS] & _OPACITY, _OPACITY)
    lossy, is_extended = (
        tf.equal(head[_KIND], ord(letter)) for letter in (" ", "X")
    )
    place = tf.cond(
        lossy,
        lambda: -1,
        lambda: (
            reading.find_chunk(encoded, b"VP8L", _FIRST_CHUNK, riff=True).place
        ),
    )
    data = reading.part(encoded, tf.maximum(place, 0) + 4, 1)[0]
    return tf.where(
        place >= 0,
        tf.equal(data & _OPACITY, _OPACITY),
        is_extended & says,
    )


def _decoded(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    frames = tf.raw_ops.DecodeWebP(contents=encoded, channels=channels)
    return tf.ensure_shape(frames[0], [None, None, channels])


def _first_frame(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cuts off what follows the first frame, which would be decoded too.

    Says that there is opacity, for without it frames are not decoded.
    """
    chunk = reading.find_chunk(encoded, b"ANMF", _FIRST_CHUNK, riff=True)
    end = tf.minimum(
        tf.maximum(chunk.place, 8) + chunk.length + chunk.length % 2,
        tf.strings.length(encoded),
    )
    shifts = tf.constant([0, 8, 16, 24])
    digits = tf.bitwise.right_shift(end - 8, shifts) & 255
    size = tf.strings.reduce_join(reading.bytes_of(digits))
    parts = [
        tf.strings.substr(encoded, 0, 4),
        size,
        tf.strings.substr(encoded, 8, _FLAGS - 8),
        reading.bytes_of(reading.head(encoded, _HEAD)[_FLAGS] | _OPACITY),
        tf.strings.substr(encoded, _FLAGS + 1, end - _FLAGS - 1),
    ]
    return tf.strings.join(parts), chunk.too_many


def _exif(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    chunk = reading.find_chunk(encoded, b"EXIF", _FIRST_CHUNK, riff=True)
    return chunk.place, chunk.too_many
