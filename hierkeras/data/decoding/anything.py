"""Decoding for training: in the graph, and by a library what it refuses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import numpy as np
import tensorflow as tf

from hierkeras.data.decoding import graph, library, problems, reading
from hierkeras.data.decoding.graph import Decoded
from hierkeras.data.decoding.pixels import Pixels

_PROFILES: Final = (b"ICC_PROFILE\0", b"iCCP", b"ICCP")
_FULL_DEPTH: Final = 16


def decode_and_resize(
    image: tf.Tensor, image_size: int, pixels: Pixels
) -> tf.Tensor:
    """As `graph.decode_and_resize`, of more formats; no served graph may."""
    return graph.decode_and_resize(image, image_size, pixels, _others(pixels))


def note(image: tf.Tensor, pixels: Pixels) -> tf.Tensor:
    """What may surprise in an image's colours, scalar string; empty: nothing.

    Args:
        image: as of `decode_and_resize`; it can be decoded.
        pixels: how.
    """
    if image.dtype != tf.string:
        return tf.constant("")
    has_profile = [reading.contains(image, word) for word in _PROFILES]
    head = reading.head(image, 25)
    # A PNG's bits of a sample.
    is_deep = tf.equal(head[0], 0x89) & tf.equal(head[24], _FULL_DEPTH)
    return tf.cond(
        tf.reduce_any(has_profile) | is_deep,
        lambda: _noted(image, pixels),
        lambda: "",
    )


def _noted(image: tf.Tensor, pixels: Pixels) -> tf.Tensor:
    def in_words(encoded: bytes, bits: np.int32) -> bytes:
        if 0 < bits < _FULL_DEPTH:
            return f"16-bit samples that use {bits} bits".encode()
        name = library.profile(encoded)
        return f"colour profile {name}".encode() if name else b""

    bits = graph.rare(pixels)(image).bits
    noted = tf.numpy_function(in_words, [image, bits], tf.string)
    return tf.ensure_shape(noted, [])


@functools.cache
def _others(pixels: Pixels) -> Callable[[tf.Tensor], Decoded]:
    """As `graph.rare`, and by the library what that refuses by name."""

    def by_library(encoded: bytes) -> tuple[np.ndarray, bytes]:
        try:
            return library.decode(encoded, pixels), b""
        except library.CannotDecode as error:
            return np.zeros([1, 1, 3], np.uint8), str(error).encode()

    def decoded(encoded: tf.Tensor) -> Decoded:
        image, reason = tf.numpy_function(
            by_library, [encoded], [tf.uint8, tf.string]
        )
        fine = tf.debugging.Assert(
            tf.equal(reason, ""), [graph.REFUSED, reason]
        )
        with tf.control_dependencies([fine]):
            image = tf.ensure_shape(image, [None, None, 3])
        return Decoded(image, tf.constant(problems.FINE), tf.constant(0))

    def decode_it(encoded: tf.Tensor) -> Decoded:
        result = graph.rare(pixels)(encoded)
        is_known = tf.reduce_any(
            result.problem == tf.constant(list(problems.BY_LIBRARY))
        )
        return Decoded(
            *tf.cond(is_known, lambda: decoded(encoded), lambda: result)
        )

    return decode_it
