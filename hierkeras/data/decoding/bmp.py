"""BMP of 1, 4, 8, 16, 24 and 32 bits, uncompressed.

A file's header of 14 bytes says where the pixels are; the image's, of 12 or of
40 and more, what they are: BITMAPCOREHEADER, BITMAPINFOHEADER, BITMAPV4HEADER
and BITMAPV5HEADER of Microsoft's "Bitmap Storage".
"""

from __future__ import annotations

from typing import Final, NamedTuple

import tensorflow as tf

from hierkeras.data.decoding import blending, reading

BEGINNING: Final = b"BM"
_CORE, _INFO, _MASKED = 12, 40, 56
_HEADERS: Final = (_INFO, 52, _MASKED, 64, 108, 124)
_PLAIN, _BIT_FIELDS = 0, 3
_HEAD, _MASKS_AT = 70, 54
_MASKS_555: Final = (0x7C00, 0x03E0, 0x001F, 0)
_MASKS_888: Final = (0xFF0000, 0xFF00, 0xFF, 0)
_OPACITY_888: Final = 0xFF000000


class Header(NamedTuple):
    """What a BMP says of itself; scalars, int32 but for the masks.

    Args:
        width: in pixels.
        height: in pixels; rows run from bottom to top where `rises`.
        rises: bool.
        bits: of a pixel.
        start: where the pixels begin.
        palette: where the colours begin.
        entry: bytes of a colour.
        colours: how many there are.
        masks: int64 of shape [4], of red, green, blue and opacity.
        known: bool, whether it is a header at all.
        usual: bool, whether it is of a kind that is decoded here.
    """

    width: tf.Tensor
    height: tf.Tensor
    rises: tf.Tensor
    bits: tf.Tensor
    start: tf.Tensor
    palette: tf.Tensor
    entry: tf.Tensor
    colours: tf.Tensor
    masks: tf.Tensor
    known: tf.Tensor
    usual: tf.Tensor

    @property
    def pixels(self) -> tf.Tensor:
        """How many are promised, float64 scalar."""
        sides = tf.stack([self.width, self.height])
        return tf.reduce_prod(tf.cast(sides, tf.float64))

    @property
    def stride(self) -> tf.Tensor:
        """Bytes of a row, int64 scalar."""
        bits = tf.cast(self.width, tf.int64) * tf.cast(self.bits, tf.int64)
        return (bits + 31) // 32 * 4


def header(encoded: tf.Tensor) -> Header:
    """Reads the header.

    Args:
        encoded: scalar string that begins with `BEGINNING`.
    """
    head = reading.head(encoded, _HEAD)

    def number(place: int, length: int = 4) -> tf.Tensor:
        digits = head[place : place + length]
        return reading.clipped(reading.little(digits))

    length = number(14)
    is_core = tf.equal(length, _CORE)
    # A height is negative where its rows run from top to bottom.
    height = reading.little(head[22:26])
    rises = is_core | (height < 2**31)
    height = reading.clipped(tf.where(rises, height, 2**32 - height))
    bits = tf.where(is_core, number(24, 2), number(28, 2))
    compression = tf.where(is_core, _PLAIN, number(30))
    colours = tf.where(is_core, 0, number(46))
    has_masks = tf.equal(compression, _BIT_FIELDS)
    masks = _masks(head, bits, has_masks, length)
    return Header(
        width=tf.where(is_core, number(18, 2), number(18)),
        height=tf.where(is_core, number(20, 2), height),
        rises=rises,
        bits=bits,
        start=number(10),
        palette=14 + length,
        entry=tf.where(is_core, 3, 4),
        colours=tf.where((colours > 0) & (colours < 256), colours, 256),
        masks=masks,
        known=(length >= _CORE) & (length < 256),
        usual=_is_usual(length, bits, compression, masks),
    )


def _masks(
    head: tf.Tensor, bits: tf.Tensor, has_masks: tf.Tensor, length: tf.Tensor
) -> tf.Tensor:
    told = reading.little(tf.reshape(head[_MASKS_AT:_HEAD], [4, 4]))
    has_opacity = tf.constant([True, True, True, False]) | (length >= _MASKED)
    told = tf.where(has_opacity, told, 0)
    usual = tf.where(
        tf.equal(bits, 16),
        tf.constant(_MASKS_555, tf.int64),
        tf.constant(_MASKS_888, tf.int64),
    )
    return tf.where(has_masks, told, usual)


def _is_usual(
    length: tf.Tensor,
    bits: tf.Tensor,
    compression: tf.Tensor,
    masks: tf.Tensor,
) -> tf.Tensor:
    def among(value: tf.Tensor, *known: int) -> tf.Tensor:
        return tf.reduce_any(value == tf.constant(known))

    plain = tf.equal(compression, _PLAIN) & among(bits, 1, 4, 8, 16, 24, 32)
    fields = (
        tf.equal(compression, _BIT_FIELDS)
        & (among(bits, 16) & tf.equal(masks[3], 0) | among(bits, 32))
        & tf.reduce_all(masks[:3] > 0)
        & (length != 64)
    )
    return among(length, _CORE, *_HEADERS) & (plain | fields)


def is_whole(encoded: tf.Tensor, told: Header) -> tf.Tensor:
    """Whether all pixels that are promised are there, scalar bool."""
    needed = told.stride * tf.cast(told.height, tf.int64)
    given = tf.strings.length(encoded) - told.start
    return (
        (needed <= tf.cast(given, tf.int64))
        & (told.width > 0)
        & (told.height > 0)
    )


def decode(
    encoded: tf.Tensor, told: Header, level: tf.Tensor | int
) -> tf.Tensor:
    """Decodes an image.

    Args:
        encoded: scalar string that begins with `BEGINNING`, and is whole.
        told: its header, of a usual kind.
        level: scalar int32, the background's red, green and blue, in 0..255.

    Returns:
        uint8 of shape [height, width, 3].
    """
    stride = tf.cast(told.stride, tf.int32)
    raw = tf.strings.substr(encoded, told.start, stride * told.height)
    rows = tf.reshape(tf.io.decode_raw(raw, tf.uint8), [told.height, stride])
    standard = tf.reduce_all(
        told.masks[:3] == tf.constant(_MASKS_888[:3], tf.int64)
    ) & tf.reduce_any(told.masks[3] == tf.constant([0, _OPACITY_888], tf.int64))
    branches = [
        lambda: _by_palette(encoded, rows, told),
        lambda: _channels(rows, told, 3)[..., ::-1],
        lambda: _of_four(_channels(rows, told, 4), told, level),
        lambda: _masked(rows, told, level),
    ]
    number = tf.where(
        told.bits <= 8,
        0,
        tf.where(
            tf.equal(told.bits, 24),
            1,
            tf.where(tf.equal(told.bits, 32) & standard, 2, 3),
        ),
    )
    image = tf.switch_case(number, branches)
    image = tf.cond(told.rises, lambda: tf.reverse(image, [0]), lambda: image)
    return tf.ensure_shape(image, [None, None, 3])


def _by_palette(encoded: tf.Tensor, rows: tf.Tensor, told: Header) -> tf.Tensor:
    length = told.colours * told.entry
    raw = tf.strings.substr(encoded, told.palette, length)
    colours = tf.io.decode_raw(raw, tf.uint8)
    whole = tf.size(colours) // told.entry
    colours = tf.reshape(colours[: whole * told.entry], [whole, told.entry])[
        :, 2::-1
    ]
    colours = tf.pad(colours, [[0, 256 - whole], [0, 0]])
    shifts = tf.range(8 - told.bits, -1, -told.bits)
    mask = tf.bitwise.left_shift(1, told.bits) - 1
    parts = tf.cast(rows, tf.int32)[..., tf.newaxis]
    indices = tf.bitwise.right_shift(parts, shifts) & mask
    indices = tf.reshape(indices, [told.height, -1])[:, : told.width]
    return tf.gather(colours, indices)


def _channels(rows: tf.Tensor, told: Header, count: int) -> tf.Tensor:
    return tf.reshape(
        rows[:, : told.width * count], [told.height, told.width, count]
    )


def _of_four(
    channels: tf.Tensor, told: Header, level: tf.Tensor | int
) -> tf.Tensor:
    colours = channels[..., 2::-1]
    return tf.cond(
        told.masks[3] > 0,
        lambda: blending.over(
            tf.concat([colours, channels[..., 3:]], axis=-1), level
        ),
        lambda: colours,
    )


def _masked(rows: tf.Tensor, told: Header, level: tf.Tensor | int) -> tf.Tensor:
    """Pixels of 16 or 32 bits, of which masks tell the colours'."""
    size = told.bits // 8
    digits = tf.reshape(
        rows[:, : told.width * size], [told.height, told.width, size]
    )
    weights = tf.constant([1, 2**8, 2**16, 2**24], tf.int64)[:size]
    values = tf.reduce_sum(tf.cast(digits, tf.int64) * weights, axis=-1)

    def colour(mask: tf.Tensor) -> tf.Tensor:
        lowest = tf.maximum(mask & -mask, 1)
        most = tf.maximum(mask // lowest, 1)
        share = (values & mask) // lowest * 255 // most
        return tf.cast(share, tf.uint8)

    image = tf.stack([colour(told.masks[i]) for i in range(3)], axis=-1)
    return tf.cond(
        told.masks[3] > 0,
        lambda: blending.over(
            tf.concat([image, colour(told.masks[3])[..., tf.newaxis]], -1),
            level,
        ),
        lambda: image,
    )
