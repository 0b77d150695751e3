"""Reads the tensors of a server's answer, without believing them.

`tf.make_ndarray` repeats a value as often as a shape says: a few bytes could
ask for any amount of memory.
"""

from __future__ import annotations

import math

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto

from hierkeras.serving.client import outputs
from hierkeras.serving.client.outputs import BadOutput


def to_array(name: str, tensor: TensorProto, count: int) -> np.ndarray:
    """One output of an answer.

    Args:
        name: Which.
        tensor: As it came.
        count: The number of images that were asked about.

    Returns:
        float32, or bytes in an object array.

    Raises:
        BadOutput: If it is not what the signature promises.
    """
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    outputs.check_form(name, _kind(tensor.dtype), shape, count)
    if any(size < 0 for size in shape):
        raise BadOutput(f"{name} are of shape {list(shape)}")
    values = _values(tensor)
    if len(values) != math.prod(shape):
        raise BadOutput(
            f"{name} promise {math.prod(shape):,} values and hold "
            f"{len(values):,}"
        )
    return values.reshape(shape)


def _values(tensor: TensorProto) -> np.ndarray:
    if tensor.dtype == types_pb2.DT_STRING:
        strings = np.empty(len(tensor.string_val), object)
        strings[:] = list(tensor.string_val)
        return strings
    content = tensor.tensor_content
    if content:
        whole = len(content) // 4 * 4
        return np.frombuffer(content[:whole], "<f4").astype(np.float32)
    return np.array(tensor.float_val, np.float32)


def _kind(number: int) -> str:
    """NumPy's name of a `DataType`, where it matters."""
    if number not in types_pb2.DataType.values():
        return f"number {number}"
    name = types_pb2.DataType.Name(number).removeprefix("DT_").lower()
    return "float32" if name == "float" else name
