"""From the messages of an answer to JSON.

As TensorFlow Serving's util/json_tensor.cc and model_servers/
http_rest_api_util.cc write it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
)

from hierkeras.serving.local.errors import invalid
from hierkeras.serving.local.model import SIGNATURE_DEF

# Whose strings are bytes, by their name.
_BYTES_SUFFIX = "_bytes"
_DECIMALS = {"float32", "float64"}
_PLAIN = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")
}


def to_body(document: Mapping[str, Any]) -> bytes:
    """An answer as it is sent; strings that are no text pass as they are."""
    text = json.dumps(document, ensure_ascii=False)
    return f"{text}\n".encode(errors="surrogateescape")


def predictions(
    outputs: Mapping[str, TensorProto], is_rows: bool
) -> dict[str, Any]:
    """What a Predict request is answered with.

    Args:
        outputs: Tensors by name.
        is_rows: Whether they are told row by row, or each at once.

    Raises:
        ServingError: If they cannot be told so.
    """
    values = {name: _values(name, outputs[name]) for name in sorted(outputs)}
    if not is_rows:
        return {"outputs": _named(values)}
    count: int | None = None
    for name, proto in sorted(outputs.items()):
        if not proto.tensor_shape.dim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        size = proto.tensor_shape.dim[0].size
        if count not in (None, size):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {size} "
                f"expecting: {count}"
            )
        count = size
    return {
        "predictions": [
            _named({name: value[row] for name, value in values.items()})
            for row in range(count or 0)
        ]
    }


def classifications(
    result: classification_pb2.ClassificationResult,
) -> dict[str, Any]:
    """What a Classify request is answered with."""
    return {
        "results": [
            [
                [one.label, _decimal(np.float32(one.score))]
                for one in row.classes
            ]
            for row in result.classifications
        ]
    }


def status(
    response: get_model_status_pb2.GetModelStatusResponse,
) -> dict[str, Any]:
    """Where each version stands."""
    return _plain(response)


def metadata(
    response: get_model_metadata_pb2.GetModelMetadataResponse,
) -> dict[str, Any]:
    """The signatures of a version."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[SIGNATURE_DEF].Unpack(signatures)
    return {
        "model_spec": _plain(response.model_spec),
        "metadata": {SIGNATURE_DEF: _plain(signatures)},
    }


def _plain(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


def _named(values: dict[str, Any]) -> Any:
    """By name, unless there is only one."""
    return values if len(values) > 1 else next(iter(values.values()))


def _values(name: str, proto: TensorProto) -> Any:
    """A tensor as a list of lists, or as its only value."""
    array = tf.make_ndarray(proto)
    kind = array.dtype.name
    if kind in _PLAIN:
        return array.tolist()
    if kind in _DECIMALS:
        return _each(array, _decimal)
    if kind == "object":
        is_bytes = name.endswith(_BYTES_SUFFIX)
        return _each(array, _base64 if is_bytes else _text)
    raise invalid(f"Failed to write JSON value for tensor type: {kind}")


def _each(array: np.ndarray, write: Callable[[Any], Any]) -> Any:
    told = np.empty(array.shape, object)
    for place, value in np.ndenumerate(array):
        told[place] = write(value)
    return told.tolist()


def _decimal(value: np.floating) -> float:
    """The number that it is written as: with six digits if they are exact.

    As the nearest double, a float would be written with digits of noise.
    """
    short = float(f"{value:.6g}")
    if np.isnan(value) or type(value)(short) == value:
        return short
    digits = 9 if isinstance(value, np.float32) else 17
    return float(f"{value:.{digits}g}")


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")


def _base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}
