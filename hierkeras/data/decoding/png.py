"""PNG: opacity, deep samples, and where EXIF is.

W3C PNG (third edition), 11: a signature of 8 bytes, then chunks, of which the
first, IHDR, says width, height, bits of a sample and kind of colour.
"""

from __future__ import annotations

from typing import Final

import tensorflow as tf

from hierkeras.data.decoding import blending, reading
from hierkeras.data.decoding.reading import Read

BEGINNING: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_FIRST_CHUNK: Final = 8
_SIZE, _DEPTH, _COLOUR, _HEAD = 16, 24, 25, 26
# Bits of the kind of colour.
_HAS_COLOUR, _HAS_OPACITY = 2, 4


def pixels(encoded: tf.Tensor) -> tf.Tensor:
    """How many an image promises, float64 scalar."""
    size = reading.part(encoded, tf.constant(_SIZE), 8)
    sides = reading.big(tf.reshape(size, [2, 4]))
    return tf.reduce_prod(tf.cast(sides, tf.float64))


def is_plain(encoded: tf.Tensor) -> tf.Tensor:
    """Whether decoding is all that is to be done, scalar bool; quickly.

    Args:
        encoded: scalar string that begins with `BEGINNING`.
    """
    head = tf.strings.substr(encoded, 0, _HEAD)
    place = tf.minimum(_DEPTH, tf.strings.length(head))
    says = tf.strings.substr(head, place, 2)
    # Up to 8 bits a sample; grey, colours or a palette, without opacity.
    shallow = [b"\1\0", b"\2\0", b"\4\0", b"\x08\0", b"\x08\2"]
    palette = [b"\1\3", b"\2\3", b"\4\3", b"\x08\3"]
    rare = reading.contains(encoded, b"tRNS") | reading.contains(
        encoded, b"eXIf"
    )
    known = tf.reduce_any(says == tf.constant([*shallow, *palette]))
    return known & tf.logical_not(rare)


def decode(encoded: tf.Tensor, level: tf.Tensor | int) -> Read:
    """Decodes an image.

    Args:
        encoded: scalar string that begins with `BEGINNING`.
        level: scalar int32, the background's red, green and blue, in 0..255.
    """
    head = reading.head(encoded, _HEAD)
    has_opacity = tf.equal(
        head[_COLOUR] & _HAS_OPACITY, _HAS_OPACITY
    ) | reading.contains(encoded, b"tRNS")
    image, bits = tf.cond(
        tf.equal(head[_DEPTH], blending.FULL_DEPTH),
        lambda: _deep(encoded, head, has_opacity, level),
        lambda: (_shallow(encoded, has_opacity, level), tf.constant(0)),
    )
    image.set_shape([None, None, 3])
    exif, too_many = tf.cond(
        reading.contains(encoded, b"eXIf"),
        lambda: _exif(encoded),
        lambda: (tf.constant(-1), tf.constant(False)),
    )
    return Read(image, exif, too_many, bits)


def _shallow(
    encoded: tf.Tensor, has_opacity: tf.Tensor, level: tf.Tensor | int
) -> tf.Tensor:
    return tf.cond(
        has_opacity,
        lambda: blending.over(tf.io.decode_png(encoded, channels=4), level),
        lambda: tf.io.decode_png(encoded, channels=3),
    )


def _deep(
    encoded: tf.Tensor,
    head: tf.Tensor,
    has_opacity: tf.Tensor,
    level: tf.Tensor | int,
) -> tuple[tf.Tensor, tf.Tensor]:
    least = tf.cond(
        reading.contains(encoded, b"sBIT"),
        lambda: _significant(encoded, head[_COLOUR]),
        lambda: 0,
    )

    def clear() -> tuple[tf.Tensor, tf.Tensor]:
        samples = tf.io.decode_png(encoded, channels=4, dtype=tf.uint16)
        bits = blending.used_bits(samples[..., :3], least)
        opacity = samples[..., 3:]
        parts = (
            blending.to_bytes(samples[..., :3], bits),
            blending.to_bytes(opacity, blending.used_bits(opacity, least)),
        )
        return blending.over(tf.concat(parts, axis=-1), level), bits

    def opaque() -> tuple[tf.Tensor, tf.Tensor]:
        samples = tf.io.decode_png(encoded, channels=3, dtype=tf.uint16)
        bits = blending.used_bits(samples, least)
        return blending.to_bytes(samples, bits), bits

    image, bits = tf.cond(has_opacity, clear, opaque)
    return image, bits


def _significant(encoded: tf.Tensor, colour: tf.Tensor) -> tf.Tensor:
    """The most bits that chunk sBIT says of a colour (11.3.2.7)."""
    chunk = reading.find_chunk(encoded, b"sBIT", _FIRST_CHUNK, riff=False)
    said = reading.part(encoded, tf.maximum(chunk.place, 0), 3)
    said = tf.where(
        tf.equal(colour & _HAS_COLOUR, _HAS_COLOUR),
        tf.reduce_max(said),
        said[0],
    )
    return tf.where(chunk.place >= 0, said, 0)


def _exif(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    chunk = reading.find_chunk(encoded, b"eXIf", _FIRST_CHUNK, riff=False)
    return chunk.place, chunk.too_many
