"""How the functions of this package are traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import tensorflow as tf

_Function = TypeVar("_Function", bound=Callable[..., object])


def as_written(function: _Function) -> _Function:
    """Keeps AutoGraph, which tf.data uses, from a function and what it calls.

    It would look in all of it for Python to convert, which takes seconds.
    """
    converted = tf.autograph.experimental.do_not_convert(function)
    return cast(_Function, converted)


def kept_apart(
    function: Callable[..., Any], *dtypes: tf.DType
) -> Callable[..., Any]:
    """A graph function of scalars that is not made a part of its callers.

    The operations of a branch that is not taken are looked at, each, for
    every image; a function that is not called is one.
    """
    traced: Callable[..., Any] = tf.function(
        function,
        autograph=False,
        input_signature=[tf.TensorSpec([], dtype) for dtype in dtypes],
        experimental_attributes={"_noinline": True},
    )
    return traced
