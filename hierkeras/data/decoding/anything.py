"""Decoding for training: in the graph, and by a library what it refuses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import tensorflow as tf

from hierkeras.data.decoding import graph, library, plain, problems, reading
from hierkeras.data.decoding.graph import Decoded
from hierkeras.data.decoding.pixels import Pixels
from hierkeras.data.decoding.squares import to_square
from hierkeras.data.decoding.tracing import as_written, kept_apart

_PROFILES: Final = (b"ICC_PROFILE\0", b"iCCP", b"ICCP")
_FULL_DEPTH: Final = 16


@as_written
def decode_and_resize(
    image: tf.Tensor, image_size: int, pixels: Pixels
) -> tuple[tf.Tensor, tf.Tensor]:
    """As `graph.decode_and_resize`, of more formats; no served graph may.

    Returns:
        The square; and what may surprise in it, scalar string, mostly empty.
    """
    if image.dtype != tf.string:
        square = graph.decode_and_resize(image, image_size, pixels)
        return square, tf.constant("")
    square, problem, _ = plain.square(image, image_size, pixels)

    def other() -> tuple[tf.Tensor, tf.Tensor]:
        decoded = _decode(image, pixels)
        shown = graph.checked(decoded, pixels)
        return to_square(shown, image_size, pixels), _note(image, decoded)

    square, note = tf.cond(
        tf.equal(problem, problems.FINE),
        lambda: (square, _note_of_plain(image)),
        other,
    )
    return square, note


class Plain(NamedTuple):
    """What `decode_plain` gives.

    Args:
        square: uint8 of shape [image_size, image_size, 3].
        note: what may surprise in it, scalar string, mostly empty.
        is_plain: scalar bool; if not, the square means nothing.
        is_upright: scalar bool, for `decode_again`.
    """

    square: tf.Tensor
    note: tf.Tensor
    is_plain: tf.Tensor
    is_upright: tf.Tensor


@as_written
def decode_plain(image: tf.Tensor, image_size: int, pixels: Pixels) -> Plain:
    """As `decode_and_resize`, of plain JPEGs, PNGs and arrays only."""
    if image.dtype != tf.string:
        square = graph.decode_and_resize(image, image_size, pixels)
        true = tf.constant(True)
        return Plain(square, tf.constant(""), true, true)
    square, problem, is_upright = plain.square(image, image_size, pixels)
    is_plain = tf.equal(problem, problems.FINE)
    return Plain(square, _note_of_plain(image), is_plain, is_upright)


@as_written
def decode_again(
    image: tf.Tensor, image_size: int, pixels: Pixels, *, is_upright: bool
) -> tf.Tensor:
    """The square of what was plain when it was looked at.

    Args:
        image: as of `decode_and_resize`.
        image_size: side of the square in pixels.
        pixels: how.
        is_upright: whether it was upright, too.

    Raises:
        InvalidArgumentError: When run, if it is no longer.
    """
    if image.dtype != tf.string:
        return graph.decode_and_resize(image, image_size, pixels)
    if is_upright:
        return plain.upright_square(image, image_size, pixels)
    square, problem, _ = plain.square(image, image_size, pixels)
    fine = tf.debugging.Assert(
        tf.equal(problem, problems.FINE), [plain.REFUSED, plain.IS_ANOTHER]
    )
    with tf.control_dependencies([fine]):
        return tf.identity(square)


def decode_now(
    image: tf.Tensor, image_size: int, pixels: Pixels
) -> tuple[tf.Tensor, str]:
    """As `decode_and_resize`, at once; any number of threads may.

    Args:
        image: as of it, no tensor of a graph.
        image_size: side of the square in pixels.
        pixels: how.

    Raises:
        CannotDecode: If it is refused by name.
        OpError: If it is damaged.
    """
    if image.dtype != tf.string:
        return graph.decode_and_resize(image, image_size, pixels), ""
    decoded, content = graph.decode(image, pixels), image.numpy()
    problem = int(decoded.problem)
    if problem in problems.BY_LIBRARY:
        shown = tf.constant(library.decode(content, pixels))
    elif problem:
        raise library.CannotDecode(problems.reasons(pixels)[problem])
    else:
        shown = decoded.image
    square = to_square(shown, image_size, pixels)
    return square, _in_words(content, problem, int(decoded.bits))


def _in_words(encoded: bytes, problem: int, bits: int) -> str:
    if problem:
        return "of a kind that a served model refuses by name"
    if 0 < bits < _FULL_DEPTH:
        return f"16-bit samples that use {bits} bits"
    name = library.profile(encoded)
    return f"colour profile {name}, not applied" if name else ""


def _note(encoded: tf.Tensor, decoded: Decoded) -> tf.Tensor:
    def in_words(encoded: bytes, problem: np.int32, bits: np.int32) -> bytes:
        return _in_words(encoded, int(problem), int(bits)).encode()

    def noted() -> tf.Tensor:
        given = [encoded, decoded.problem, decoded.bits]
        return tf.ensure_shape(
            tf.numpy_function(in_words, given, tf.string), []
        )

    surprises = tf.stack(
        [_has_profile(encoded), decoded.problem < 0, decoded.bits > 0]
    )
    return tf.cond(tf.reduce_any(surprises), noted, lambda: "")


def _note_of_plain(encoded: tf.Tensor) -> tf.Tensor:
    return tf.cond(_has_profile(encoded), lambda: _noted()(encoded), lambda: "")


@functools.cache
def _noted() -> Callable[[tf.Tensor], tf.Tensor]:
    def in_words(encoded: bytes) -> bytes:
        return _in_words(encoded, problems.FINE, 0).encode()

    def noted(encoded: tf.Tensor) -> tf.Tensor:
        words = tf.numpy_function(in_words, [encoded], tf.string)
        return tf.ensure_shape(words, [])

    return kept_apart(noted, tf.string)


def _has_profile(encoded: tf.Tensor) -> tf.Tensor:
    """Whether one may be in it, scalar bool."""
    return tf.reduce_any([reading.contains(encoded, w) for w in _PROFILES])


def _decode(encoded: tf.Tensor, pixels: Pixels) -> Decoded:
    """As `graph.decode`, and by the library what that refuses by name.

    Of such an image the problem is told as its negative.
    """

    def by_library(encoded: bytes) -> tuple[np.ndarray, bytes]:
        try:
            return library.decode(encoded, pixels), b""
        except library.CannotDecode as error:
            return np.zeros([1, 1, 3], np.uint8), str(error).encode()

    def decoded(encoded: tf.Tensor, problem: tf.Tensor) -> Decoded:
        image, reason = tf.numpy_function(
            by_library, [encoded], [tf.uint8, tf.string]
        )
        fine = tf.debugging.Assert(
            tf.equal(reason, ""), [plain.REFUSED, reason]
        )
        with tf.control_dependencies([fine]):
            image = tf.ensure_shape(image, [None, None, 3])
        return Decoded(image, -problem, tf.constant(0))

    result = graph.decode(encoded, pixels)
    is_known = tf.reduce_any(
        result.problem == tf.constant(list(problems.BY_LIBRARY))
    )
    return Decoded(
        *tf.cond(
            is_known,
            lambda: decoded(encoded, result.problem),
            lambda: result,
        )
    )
