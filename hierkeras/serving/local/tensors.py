"""From the message of a tensor to its values, once it is known to have them.

A message of some bytes may promise any number of values. TensorFlow's reader
believes it, and repeats the last value that there is; so what a tensor carries
is counted before.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

from hierkeras.serving.local.errors import ServingError, invalid, type_name
from hierkeras.serving.local.limits import Budget

_MAX_RANK = 32  # of arrays
_VALUES = (
    *("float_val", "double_val", "int_val", "string_val", "int64_val"),
    *("bool_val", "uint32_val", "uint64_val", "half_val"),
)


def to_array(
    proto: TensorProto,
    alias: str,
    info: TensorInfo,
    number: int,
    budget: Budget,
) -> np.ndarray:
    """The values of an input.

    Args:
        proto: As it was sent.
        alias: The input's name.
        info: What the signature takes.
        number: The input's place among those of the signature.
        budget: Of the request.

    Raises:
        ServingError: If it is not what the signature takes, does not carry
            what it promises, or has too many rows.
    """
    shape = _shape(proto, alias)
    _check_carries(proto, alias, math.prod(shape))
    if proto.dtype != info.dtype:
        raise invalid(
            f"Expects arg[{number}] to be {type_name(info.dtype)} but "
            f"{type_name(proto.dtype)} is provided"
        )
    taken = tf.TensorShape(info.tensor_shape)
    if not taken.is_compatible_with(shape):
        raise invalid(
            f"input {alias} has shape {tf.TensorShape(shape)}; the signature "
            f"takes {taken}"
        )
    budget.check_rows(shape[0] if shape else 1)
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError, KeyError, OverflowError):
        raise _unreadable(alias) from None


def _shape(proto: TensorProto, alias: str) -> list[int]:
    shape = [dim.size for dim in proto.tensor_shape.dim]
    has_none = proto.tensor_shape.unknown_rank or len(shape) > _MAX_RANK
    if has_none or min(shape, default=0) < 0:
        raise invalid(
            f"input {alias} has a shape that no tensor has; give each "
            "dimension's size"
        )
    return shape


def _check_carries(proto: TensorProto, alias: str, promised: int) -> None:
    """Refuses a tensor of more or fewer values than its shape promises."""
    try:
        dtype = tf.as_dtype(proto.dtype)
        carried: float = max(len(getattr(proto, name)) for name in _VALUES)
        carried = max(carried, len(proto.scomplex_val) / 2)
        if proto.tensor_content:
            carried = len(proto.tensor_content) / dtype.size
    except (TypeError, ZeroDivisionError):  # no such type, or of no fixed size
        raise _unreadable(alias) from None
    if carried != promised:
        raise invalid(
            f"tensor parsing error: {alias} carries {carried:g} values, and "
            f"its shape promises {promised}; send them all"
        )


def _unreadable(alias: str) -> ServingError:
    return invalid(f"tensor parsing error: {alias}")
