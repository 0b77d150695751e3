"""GIF: the first frame, over a background.

GIF89a, 15 to 26. A decoder unpacks every frame and knows no transparency. So
the file is cut off behind its first frame, and the colour that stands for
nothing is made the background's in the frame's table of colours.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import tensorflow as tf

from hierkeras.data.decoding import reading

BEGINNING: Final = b"GIF8"
_EXTENSION, _IMAGE, _CONTROL = 0x21, 0x2C, 0xF9
_SIZE, _FLAGS, _HEAD = 6, 10, 13
_LONGEST_TABLE: Final = 3 * 256
# A frame that is not over by then is not looked at: a second of work, and 128
# MB.
_MOST_BYTES: Final = 2**24


class First(NamedTuple):
    """Where a GIF's first frame is.

    Args:
        place: scalar int32, of its description; 0: there is none.
        control: scalar int32, of what says which colour is none; 0: nothing.
        end: scalar int32, behind it.
        pixels: float64 scalar, of it or of the whole, whichever has more.
        fills: scalar bool, whether it fills the whole image.
        too_many: scalar bool, whether the search was given up.
    """

    place: tf.Tensor
    control: tf.Tensor
    end: tf.Tensor
    pixels: tf.Tensor
    fills: tf.Tensor
    too_many: tf.Tensor


def first_frame(encoded: tf.Tensor) -> First:
    """Finds the first frame.

    Args:
        encoded: scalar string that begins with `BEGINNING`.
    """
    blocks = _Blocks(tf.strings.substr(encoded, 0, _MOST_BYTES))
    place, control, turn = blocks.first_image()
    is_image = tf.equal(blocks.number(place), _IMAGE)
    end = blocks.past_sub_blocks(place + 10 + blocks.table(place + 9) + 1)
    whole, own = blocks.sides(tf.constant(_SIZE)), blocks.sides(place + 5)
    corner = blocks.sides(place + 1)
    most = tf.maximum(tf.reduce_prod(whole), tf.reduce_prod(own))
    return First(
        place=tf.where(is_image, place, 0),
        control=control,
        end=end,
        pixels=most,
        fills=tf.reduce_all((own == whole) & (corner == 0.0)),
        too_many=(turn >= blocks.most) | (end >= _MOST_BYTES),
    )


def decode(
    encoded: tf.Tensor, first: First, level: tf.Tensor | int
) -> tf.Tensor:
    """Decodes the first frame.

    Args:
        encoded: scalar string that begins with `BEGINNING`.
        first: its first frame, which fills the whole image.
        level: scalar int32, the background's red, green and blue, in 0..255.

    Returns:
        uint8 of shape [height, width, 3].
    """
    alone = tf.strings.join([tf.strings.substr(encoded, 0, first.end), b";"])
    flags = reading.part(encoded, first.control + 3, 4)
    alone = tf.cond(
        (first.control > 0) & tf.equal(flags[0] & 1, 1),
        lambda: _without_transparency(alone, first, flags[3], level),
        lambda: alone,
    )
    image = tf.raw_ops.DecodeGif(contents=alone)[0]
    return tf.ensure_shape(image, [None, None, 3])


def _without_transparency(
    encoded: tf.Tensor, first: First, colour: tf.Tensor, level: tf.Tensor | int
) -> tf.Tensor:
    own = reading.part(encoded, first.place + 9, 1)[0]
    table = tf.where(own >= 0x80, first.place + 10, _HEAD)
    flags = tf.where(own >= 0x80, own, reading.head(encoded, _HEAD)[_FLAGS])
    known = colour < tf.bitwise.left_shift(2, flags % 8)
    encoded = _replaced(encoded, first.control + 3, tf.constant(b"\0"))
    background = tf.strings.join([reading.bytes_of(level)] * 3)
    return tf.cond(
        known,
        lambda: _replaced(encoded, table + 3 * colour, background),
        lambda: encoded,
    )


def _replaced(
    encoded: tf.Tensor, place: tf.Tensor, new: tf.Tensor
) -> tf.Tensor:
    rest = place + tf.strings.length(new)
    return tf.strings.join(
        [
            tf.strings.substr(encoded, 0, place),
            new,
            tf.strings.substr(encoded, rest, tf.strings.length(encoded)),
        ]
    )


class _Blocks:
    """The blocks of a GIF.

    Args:
        encoded: scalar string.

    Attributes:
        most: scalar int32, how many extensions are passed.
    """

    def __init__(self, encoded: tf.Tensor) -> None:
        self.most = reading.most_parts(encoded)
        data = tf.io.decode_raw(encoded, tf.uint8)
        self._end = tf.size(data)
        # Zeros end every chain of blocks.
        self._data = tf.pad(data, [[0, _HEAD + _LONGEST_TABLE + 1]])
        self._last = self._last_of_chains()

    def first_image(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Where the first image is, the control before it, and the work."""
        first = _HEAD + self.table(tf.constant(_FLAGS))
        place, control, turn = tf.while_loop(
            lambda place, _, turn: (
                tf.equal(self.number(place), _EXTENSION) & (turn < self.most)
            ),
            self._past_extension,
            (tf.minimum(first, self._end), tf.constant(0), tf.constant(0)),
        )
        return place, control, turn

    def _last_of_chains(self) -> tf.Tensor:
        """For each place, taken for a sub-block's, where its chain ends.

        A sub-block is its length and so many bytes; one of none is the last.
        Each turn doubles how far is seen, so that few do.
        """
        places = tf.range(tf.size(self._data))
        lengths = tf.cast(self._data, tf.int32)
        after = tf.minimum(places + lengths + 1, self._end)
        after = tf.where(lengths > 0, after, places)
        _, last = tf.while_loop(
            lambda seen, _: seen < self._end,
            lambda seen, after: (2 * seen, tf.gather(after, after)),
            (tf.constant(1), after),
        )
        return last

    def past_sub_blocks(self, place: tf.Tensor) -> tf.Tensor:
        """Where a chain of sub-blocks ends."""
        last = self._last[tf.minimum(place, self._end)]
        return tf.minimum(last + 1, self._end)

    def number(self, place: tf.Tensor) -> tf.Tensor:
        """The byte at a place, int32."""
        return tf.cast(self._data[place], tf.int32)

    def sides(self, place: tf.Tensor) -> tf.Tensor:
        """The two numbers of two bytes at a place, float64 of shape [2]."""
        digits = tf.cast(self._data[place : place + 4], tf.float64)
        return digits[::2] + 2**8 * digits[1::2]

    def table(self, place: tf.Tensor) -> tf.Tensor:
        """The length of the table of colours that flags at a place tell."""
        flags = self.number(place)
        length = 3 * tf.bitwise.left_shift(2, flags % 8)
        return tf.where(flags >= 0x80, length, 0)

    def _past_extension(
        self, place: tf.Tensor, control: tf.Tensor, turn: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        is_control = tf.equal(self.number(place + 1), _CONTROL)
        after = self.past_sub_blocks(place + 2)
        return after, tf.where(is_control, place, control), turn + 1
