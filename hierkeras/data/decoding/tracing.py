"""Functions of graph operations that are traced as they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import tensorflow as tf

_Function = TypeVar("_Function", bound=Callable[..., Any])


def as_written(function: _Function) -> _Function:
    """A function in which AutoGraph looks for no Python to convert.

    It would look into all that is called from there, which takes seconds.

    Args:
        function: Has no branches or loops that depend on tensors but those
            of `tf.cond`, `tf.switch_case` and `tf.while_loop`.
    """
    decorated = tf.autograph.experimental.do_not_convert(function)
    return cast(_Function, decorated)
