"""Numbers and places in an encoded image, as graph operations.

Everything here takes what a stranger may have written: reading beyond the end
gives zeros, and no loop goes on for ever.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import tensorflow as tf

# A turn of a loop takes up to 30 microseconds. So what an image costs is
# bounded by its bytes, of which a request has only so many: real parts are of
# kilobytes, and small ones few.
_FREE_PARTS: Final = 128
_PART_BYTES: Final = 1024
_BYTES: Final = [bytes([number]) for number in range(256)]


def most_parts(encoded: tf.Tensor) -> tf.Tensor:
    """How many parts of a file are looked at, scalar int32.

    Args:
        encoded: scalar string, the file.
    """
    return _FREE_PARTS + tf.strings.length(encoded) // _PART_BYTES


def head(encoded: tf.Tensor, length: int) -> tf.Tensor:
    """The first bytes, int32 of shape [length]; zeros beyond the end."""
    raw = tf.io.decode_raw(encoded, tf.uint8, fixed_length=length)
    return tf.cast(tf.reshape(raw, [length]), tf.int32)


def part(encoded: tf.Tensor, place: tf.Tensor, length: int) -> tf.Tensor:
    """Some bytes, int32 of shape [length]; zeros beyond the end.

    Args:
        encoded: scalar string.
        place: scalar int32, at least 0.
        length: how many.
    """
    place = tf.minimum(place, tf.strings.length(encoded))
    return head(tf.strings.substr(encoded, place, length), length)


def begins(encoded: tf.Tensor, words: bytes) -> tf.Tensor:
    """Whether it begins with some bytes, scalar bool."""
    return tf.equal(tf.strings.substr(encoded, 0, len(words)), words)


def contains(encoded: tf.Tensor, words: bytes) -> tf.Tensor:
    """Whether some bytes stand anywhere, scalar bool.

    Splitting is the fastest operation that looks for bytes: some 5 GB/s.

    Args:
        encoded: scalar string.
        words: the bytes.
    """
    return tf.size(_split(encoded, words)) > 1


def place_of(encoded: tf.Tensor, words: bytes) -> tf.Tensor:
    """Where some bytes stand first, scalar int32; the length if nowhere."""
    return tf.strings.length(_split(encoded, words)[0])


def _split(encoded: tf.Tensor, words: bytes) -> tf.Tensor:
    return tf.raw_ops.StringSplitV2(
        input=tf.reshape(encoded, [1]), sep=words, maxsplit=1
    ).values


def little(digits: tf.Tensor) -> tf.Tensor:
    """The number that bytes are, the lowest first.

    Args:
        digits: int32 of shape [..., n], n at most 4.

    Returns:
        int64 of shape [...].
    """
    weights = tf.constant([1, 2**8, 2**16, 2**24], tf.int64)
    weights = weights[: tf.shape(digits)[-1]]
    return tf.reduce_sum(tf.cast(digits, tf.int64) * weights, axis=-1)


def big(digits: tf.Tensor) -> tf.Tensor:
    """As `little`, the highest byte first."""
    return little(tf.reverse(digits, [-1]))


def bytes_of(numbers: tf.Tensor) -> tf.Tensor:
    """Numbers in 0..255, int32, as strings of one byte each."""
    return tf.gather(tf.constant(_BYTES), numbers)


class Read(NamedTuple):
    """An image as it is stored.

    Args:
        image: uint8 of shape [height, width, 3].
        exif: scalar int32, where EXIF begins in the file, which says which
            way up it is; negative: there is none.
        too_many: scalar bool, whether looking for it was given up.
        bits: scalar int32, that samples use; 0 but where each has 16.
    """

    image: tf.Tensor
    exif: tf.Tensor
    too_many: tf.Tensor
    bits: tf.Tensor


def clipped(number: tf.Tensor) -> tf.Tensor:
    """An int64 as int32; what does not fit becomes 2^30."""
    return tf.cast(tf.minimum(number, 2**30), tf.int32)


class Chunk(NamedTuple):
    """A part of a PNG or WebP.

    Args:
        place: scalar int32, where its contents begin; -1: there is none.
        length: scalar int32, of its contents.
        too_many: scalar bool, whether the search was given up.
    """

    place: tf.Tensor
    length: tf.Tensor
    too_many: tf.Tensor


def find_chunk(
    encoded: tf.Tensor, tag: bytes, start: int, *, riff: bool
) -> Chunk:
    """Finds the first chunk of a name.

    Args:
        encoded: scalar string.
        tag: its name, four bytes.
        start: where the first chunk begins.
        riff: whether chunks are a RIFF's (WebP; name, size, contents, padded
            to even), or a PNG's (size, name, contents, check sum).
    """
    wanted, most = tf.constant(list(tag)), most_parts(encoded)
    end = tf.strings.length(encoded)

    def goes_on(
        place: tf.Tensor, found: tf.Tensor, _: tf.Tensor, turn: tf.Tensor
    ) -> tf.Tensor:
        return (place < end) & (found < 0) & (turn < most)

    def visit(
        place: tf.Tensor, found: tf.Tensor, _: tf.Tensor, turn: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        bytes_ = part(encoded, place, 8)
        first, second = bytes_[:4], bytes_[4:]
        name = first if riff else second
        length = clipped(little(second) if riff else big(first))
        here = tf.reduce_all(name == wanted)
        contents = place + 8
        after = contents + length + (length % 2 if riff else 4)
        return (
            tf.minimum(after, end),
            tf.where(here, contents, found),
            length,
            turn + 1,
        )

    _, found, length, turn = tf.while_loop(
        goes_on, visit, tuple(map(tf.constant, (start, -1, 0, 0)))
    )
    return Chunk(found, length, (found < 0) & (turn >= most))
