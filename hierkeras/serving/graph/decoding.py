"""From encoded images to pixels, in the graph, row by row.

A request holds images of strangers. Each row is decoded by itself, so that
one that cannot be decoded is known by its number. Plain images go first: what
decodes all else is large, and costs a request that needs none of it nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from hierkeras.data.decoding import graph, plain, problems
from hierkeras.data.decoding.pixels import Pixels
from hierkeras.data.decoding.squares import to_square


class Decoded(NamedTuple):
    """Images and what was wrong with them.

    Args:
        images: uint8 of shape (n, size, size, 3); black where wrong.
        problems: int32 of shape (n,), as in `hierkeras.data.decoding`.
    """

    images: tf.Tensor
    problems: tf.Tensor


def decode_rows(encoded: tf.Tensor, image_size: int, pixels: Pixels) -> Decoded:
    """Decodes a batch of images as training does.

    Args:
        encoded: string of shape (n,).
        image_size: Height and width of the result in pixels.
        pixels: How images become squares of that size.
    """

    def first(row: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return row, *plain.square(image, image_size, pixels)[:2]

    def other(row: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, ...]:
        shown = graph.decode(image, pixels)
        square = tf.cond(
            tf.equal(shown.problem, problems.FINE),
            lambda: to_square(shown.image, image_size, pixels),
            lambda: _black(image_size),
        )
        return row, square, shown.problem

    found = _decoded(encoded, first, image_size, in_threads=False)
    rows = tf.where(tf.equal(found.problems, problems.NOT_PLAIN))

    def again() -> Decoded:
        others = tf.gather_nd(encoded, rows)
        # Large, so that one of it is enough.
        second = _decoded(others, other, image_size, in_threads=True)
        scattered = map(
            lambda before, now: tf.tensor_scatter_nd_update(before, rows, now),
            found,
            second,
        )
        return Decoded(*scattered)

    return Decoded(*tf.cond(tf.size(rows) > 0, again, lambda: found))


def _decoded(
    encoded: tf.Tensor,
    decode: Callable[..., tuple[tf.Tensor, ...]],
    image_size: int,
    in_threads: bool,
) -> Decoded:
    """Decodes what can be decoded; the rest is damaged.

    Args:
        encoded: string of shape (n,).
        decode: From a row's number and image to its number, its square and
            its problem.
        image_size: Height and width of the squares.
        in_threads: Whether a single row is, too, by a thread of its own.
    """
    count = tf.size(encoded)
    rows = tf.range(count), encoded
    mapped = functools.partial(_map, rows, decode, image_size)
    if in_threads:
        done, images, found = mapped(tf.data.AUTOTUNE)
    else:
        # Threads cost a single image more than they save.
        done, images, found = tf.cond(
            count > 1,
            lambda: mapped(tf.data.AUTOTUNE),
            lambda: mapped(None),
        )
    places = tf.tensor_scatter_nd_update(
        tf.fill([count], tf.size(done)),
        done[:, tf.newaxis],
        tf.range(tf.size(done)),
    )
    return Decoded(tf.gather(images, places), tf.gather(found, places))


def _map(
    rows: tuple[tf.Tensor, ...],
    decode: Callable[..., tuple[tf.Tensor, ...]],
    image_size: int,
    num_parallel_calls: int | None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decodes the rows that can be decoded.

    Returns:
        Their numbers, their images and their problems; images and problems
        have one more at the end, which stands for all that failed.
    """
    numbers, *_ = rows
    failed = tf.zeros([], numbers.dtype), _black(image_size), problems.DAMAGED
    batches = (
        tf.data.Dataset.from_tensor_slices(rows)
        .map(decode, num_parallel_calls=num_parallel_calls)
        .ignore_errors()
        .concatenate(tf.data.Dataset.from_tensors(failed))
        .batch(tf.size(numbers, tf.int64) + 1)
    )
    done, images, found = batches.get_single_element()
    return done[:-1], images, found


def _black(image_size: int) -> tf.Tensor:
    return tf.zeros([image_size, image_size, 3], tf.uint8)
