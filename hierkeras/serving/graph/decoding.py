"""From encoded images to pixels, in the graph, row by row.

A request holds images of strangers. Each row is decoded by itself, so that
one that cannot be decoded is known by its number, and its header is read
first, so that a small file which claims to be huge is not believed. How each
format promises its size is in `promises.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from hierkeras.data.images import decode_and_resize
from hierkeras.serving.graph import promises

FINE, UNREADABLE, TOO_LARGE = range(3)


class Decoded(NamedTuple):
    """Images and what was wrong with them.

    Args:
        images: uint8 of shape (n, size, size, 3); black where wrong.
        problems: int32 of shape (n,): `FINE`, `UNREADABLE` or `TOO_LARGE`.
    """

    images: tf.Tensor
    problems: tf.Tensor


def decode_rows(
    encoded: tf.Tensor, image_size: int, max_pixels: int
) -> Decoded:
    """Decodes a batch of images as training does.

    Args:
        encoded: string of shape (n,): JPEG, PNG, BMP, WebP or GIF (first
            frame).
        image_size: Height and width of the result in pixels.
        max_pixels: Most pixels that an image's header may promise.
    """
    promised = promises.read(encoded)
    fits = promised.pixels <= max_pixels
    tried = tf.cast(tf.where(promised.known & fits)[:, 0], tf.int32)
    rows = tried, tf.gather(encoded, tried), tf.gather(promised.jpeg, tried)

    decode = functools.partial(_decode, image_size, max_pixels)
    # Threads cost a single image more than they save.
    decoded, images, problems = tf.cond(
        tf.size(tried) > 1,
        lambda: _map(rows, decode, image_size, tf.data.AUTOTUNE),
        lambda: _map(rows, decode, image_size, None),
    )
    count = tf.size(encoded)
    places = tf.tensor_scatter_nd_update(
        tf.fill([count], tf.size(decoded)),
        decoded[:, tf.newaxis],
        tf.range(tf.size(decoded)),
    )
    return Decoded(
        tf.gather(images, places),
        tf.where(fits, tf.gather(problems, places), TOO_LARGE),
    )


def _decode(
    image_size: int,
    max_pixels: int,
    row: tf.Tensor,
    image: tf.Tensor,
    jpeg: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Decodes a row; a JPEG's header is read first."""
    fits = tf.cond(
        jpeg,
        lambda: promises.jpeg_pixels(image) <= max_pixels,
        lambda: True,
    )
    pixels = tf.cond(
        fits,
        lambda: decode_and_resize(image, image_size),
        lambda: _black(image_size),
    )
    return row, pixels, tf.where(fits, FINE, TOO_LARGE)


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
    failed = tf.zeros([], numbers.dtype), _black(image_size), UNREADABLE
    batches = (
        tf.data.Dataset.from_tensor_slices(rows)
        .map(decode, num_parallel_calls=num_parallel_calls)
        .ignore_errors()
        .concatenate(tf.data.Dataset.from_tensors(failed))
        .batch(tf.size(numbers, tf.int64) + 1)
    )
    done, images, problems = batches.get_single_element()
    return done[:-1], images, problems


def _black(image_size: int) -> tf.Tensor:
    return tf.zeros([image_size, image_size, 3], tf.uint8)
