"""How the functions of this package are traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import tensorflow as tf

_Function = TypeVar("_Function", bound=Callable[..., object])


def as_written(function: _Function) -> _Function:
    """Keeps AutoGraph, which tf.data uses, from a function and what it calls.

    It would look in all of it for Python to convert, which takes seconds.
    """
    converted = tf.autograph.experimental.do_not_convert(function)
    return cast(_Function, converted)
