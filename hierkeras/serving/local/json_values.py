"""Single values of JSON, as those of tensors and as messages quote them.

Each raises `ServingError` for a value that is not what is asked for.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto

from hierkeras.serving.local.errors import ServingError, invalid, type_name

_LONGEST_QUOTE = 200
# Where a tensor's message keeps values of a type.
_FIELDS = {
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_UINT8: "int_val",
}
_RANGES = {
    dtype: (tf.as_dtype(dtype).min, tf.as_dtype(dtype).max)
    for dtype in _FIELDS
    if tf.as_dtype(dtype).is_integer
}
# The largest integer that, as all below it, a number of the type can be, and
# the largest number.
_DECIMALS = {
    types_pb2.DT_FLOAT: (2**24 - 1, float(np.finfo(np.float32).max)),
    types_pb2.DT_DOUBLE: (2**53 - 1, float(np.finfo(np.float64).max)),
}


def tensor(shape: list[int], dtype: int, flat: list[Any]) -> TensorProto:
    """A tensor of that shape and type, of values that `to_value` made."""
    proto = TensorProto(dtype=dtype)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    if flat:
        getattr(proto, _FIELDS[dtype]).extend(flat)
    return proto


def to_value(value: Any, dtype: int) -> Any:
    """A JSON value as one of a tensor of that type."""
    if dtype not in _FIELDS:
        raise ServingError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"Conversion of JSON Value: {quoted(value)} to type: "
            f"{type_name(dtype)}",
        )
    if dtype == types_pb2.DT_STRING and isinstance(value, dict):
        return from_base64(value)
    if not _is_of(value, dtype):
        raise invalid(
            f"JSON Value: {quoted(value)} Type: {kind_name(value)} is not of "
            f"expected type: {type_name(dtype)}"
        )
    if dtype in _DECIMALS:
        check_lossless(value, dtype)
    return to_bytes(value) if isinstance(value, str) else value


def _is_of(value: Any, dtype: int) -> bool:
    """Whether a tensor of that type can hold such a JSON value."""
    if dtype == types_pb2.DT_STRING:
        return isinstance(value, str)
    if dtype == types_pb2.DT_BOOL:
        return isinstance(value, bool)
    if dtype in _DECIMALS:
        return type(value) in (int, float)
    lowest, highest = _RANGES[dtype]
    return type(value) is int and lowest <= value <= highest


def are_integers(values: list[Any], dtype: int) -> bool:
    """Whether all are integers that the type can hold, told fast: pixels."""
    if dtype not in _RANGES or set(map(type, values)) != {int}:
        return False
    lowest, highest = _RANGES[dtype]
    return bool(lowest <= min(values) and max(values) <= highest)


def check_lossless(value: float, dtype: int) -> None:
    """Refuses a number that a decimal of that type cannot be."""
    integer, number = _DECIMALS[dtype]
    if isinstance(value, int):
        is_lossless = abs(value) <= integer
    else:
        is_lossless = not math.isfinite(value) or abs(value) <= number
    if not is_lossless:
        raise invalid(
            f"Cannot convert JSON value: {quoted(value)} to {type_name(dtype)} "
            "without loss of precision."
        )


def is_base64(value: dict[str, Any]) -> bool:
    """Whether an object is bytes: {"b64": ...}."""
    return value.keys() == {"b64"} and isinstance(value["b64"], str)


def from_base64(value: dict[str, Any]) -> bytes:
    """The bytes of an object {"b64": ...}; padding may be missing."""
    if not is_base64(value):
        raise invalid(
            f"JSON Value: {quoted(value)} not formatted correctly for base64 "
            "data"
        )
    try:
        text = value["b64"].encode("ascii").translate(None, b" \t\r\n")
        if not text.endswith(b"="):
            text += b"=" * (-len(text) % 4)
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise invalid("Unable to base64 decode") from None


def to_bytes(text: str) -> bytes:
    """A string as it stands in a tensor."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise invalid(
            "JSON Parse error: The surrogate pair in string is invalid."
        ) from None


def quoted(value: Any) -> str:
    """A JSON value in a message, cut off where it is long."""
    if isinstance(value, str):  # an image, maybe
        value = value[: _LONGEST_QUOTE + 1]
    pieces = json.JSONEncoder(ensure_ascii=False).iterencode(value)
    text = ""
    for piece in itertools.islice(pieces, _LONGEST_QUOTE):
        text += piece[: _LONGEST_QUOTE + 1]
        if len(text) > _LONGEST_QUOTE:
            break
    if len(text) <= _LONGEST_QUOTE:
        return text
    return f"{text[:_LONGEST_QUOTE]}..."


def kind_name(value: Any) -> str:
    """What JSON calls a value."""
    if isinstance(value, bool):
        return str(value)
    return {
        type(None): "Null",
        dict: "Object",
        list: "Array",
        str: "String",
    }.get(type(value), "Number")
