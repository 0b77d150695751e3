"""From a JSON body to the messages of a request.

What is taken, and what is said of the rest, is as in TensorFlow Serving's
util/json_tensor.cc; less, it takes no integer that its type cannot hold, and
quotes no value at length.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.example.feature_pb2 import Feature
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis import classification_pb2, predict_pb2

from hierkeras.serving.local.errors import ServingError, invalid
from hierkeras.serving.local.json_values import (
    are_integers,
    check_lossless,
    from_base64,
    is_base64,
    kind_name,
    quoted,
    tensor,
    to_bytes,
    to_value,
)

# Each becomes an object of Python, of some hundred bytes and microseconds: 21
# images of 224 pixels, which should be sent as bytes.
_MAX_VALUES = 2**22


def parse(body: bytes) -> dict[str, Any]:
    """The object that a body is.

    Args:
        body: JSON, with NaN and Infinity.

    Raises:
        ServingError: If it is none.
        RecursionError: If it is nested too deeply, as may what is below.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > _MAX_VALUES:
        raise invalid(
            f"JSON Parse error: more than {_MAX_VALUES:,} values; send images "
            "as bytes in base64"
        )
    try:
        document = json.loads(body.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise invalid(
            f"JSON Parse error: {error.msg} at offset: {error.pos}"
        ) from None
    except UnicodeDecodeError as error:
        raise invalid(
            f"JSON Parse error: not UTF-8 at offset: {error.start}"
        ) from None
    except ValueError:  # Python reads no integer of thousands of digits
        raise invalid("JSON Parse error: Number too big to be stored") from None
    if not isinstance(document, dict):
        raise _unfit(document, "Is not object")
    return document


def fill_predict(
    document: dict[str, Any],
    inputs_of: Callable[[predict_pb2.PredictRequest], Mapping[str, TensorInfo]],
    request: predict_pb2.PredictRequest,
) -> bool:
    """Fills in what a Predict request gives.

    Args:
        document: The body.
        inputs_of: Tells what a request has to give, by name.
        request: Names the model; is filled.

    Returns:
        Whether it is in row format, and so must be the answer.

    Raises:
        ServingError: If it makes no sense.
    """
    _fill_signature(document, request)
    infos = inputs_of(request)
    if not infos:
        name = request.model_spec.signature_name or "DEFAULT"
        raise invalid(f"Failed to get input map for signature: {name}")
    if {"instances", "inputs"} <= document.keys():
        raise _unfit(
            document,
            "Not formatted correctly expecting only one of 'inputs' or "
            "'instances' keys to exist",
        )
    if "instances" in document:
        _fill_rows(document, infos, request)
        return True
    if "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    _fill_columns(document["inputs"], infos, request)
    return False


def fill_classify(
    document: dict[str, Any], request: classification_pb2.ClassificationRequest
) -> None:
    """Fills in what a Classify request gives.

    Args:
        document: The body.
        request: Is filled.

    Raises:
        ServingError: If it makes no sense.
    """
    _fill_signature(document, request)
    given = request.input.example_list
    if "context" in document:
        given = request.input.example_list_with_context
        _fill_example(document["context"], given.context)
    if "examples" not in document:
        raise _unfit(
            document,
            "When method is classify, key 'examples' is expected and was not "
            "found",
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise _unfit(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise _unfit(document, "'examples' value is an empty array")
    for example in examples:
        _fill_example(example, given.examples.add())


def _fill_signature(document: dict[str, Any], request: Any) -> None:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise _unfit(
            document,
            "not formatted correctly. 'signature_name' key must be a string "
            "value.",
        )
    request.model_spec.signature_name = to_bytes(name).decode()


def _fill_rows(
    document: dict[str, Any],
    infos: Mapping[str, TensorInfo],
    request: predict_pb2.PredictRequest,
) -> None:
    """Makes a tensor of each input of all rows."""
    rows = document["instances"]
    if not isinstance(rows, list):
        raise _unfit(document, "Expecting 'instances' to be an list/array")
    if not rows:
        raise _unfit(document, "No values in 'instances' array")
    if not _is_named(rows[0]) and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as "
            "multiple input tensors required as per tensorinfo_map"
        )
    columns: dict[str, list[Any]] = {name: [] for name in infos}
    for number, row in enumerate(rows):
        for name, value in _named(row, number, rows[0], infos).items():
            columns[name].append(value)
    for name, values in columns.items():
        request.inputs[name].CopyFrom(_stacked(name, values, infos[name].dtype))


def _named(
    row: Any, number: int, first: Any, infos: Mapping[str, TensorInfo]
) -> dict[str, Any]:
    """A row's values by the input's name; all rows are of the first's form."""
    if _is_named(row) != _is_named(first):
        wanted, got = "value/list", "object"
        if _is_named(first):
            wanted, got = "object", "list"
        raise invalid(
            f"Expecting {wanted} but got {got} at item {number} of input list"
        )
    if not _is_named(row):
        return {next(iter(infos)): row}
    for name in row:
        if name not in infos:
            raise _in_row(
                number,
                name,
                invalid(f"JSON object: does not have named input: {name}"),
            )
    if row.keys() != infos.keys():
        raise invalid(
            f"Failed to process element: {number} of 'instances' list. JSON "
            f"object: {quoted(row)} keys must be equal to: "
            f"{','.join(sorted(infos))}"
        )
    return row


def _stacked(name: str, values: list[Any], dtype: int) -> TensorProto:
    """Rows of equal shape as one tensor."""
    shape = _shape(values[0])
    flat: list[Any] = []
    for number, value in enumerate(values):
        try:
            if _shape(value) != shape:
                raise invalid(
                    f"Expecting shape {_brackets(shape)} but got: "
                    f"{_brackets(_shape(value))}"
                )
            _flatten(value, 0, shape, dtype, flat)
        except ServingError as error:
            raise _in_row(number, name, error) from None
    return tensor([len(values), *shape], dtype, flat)


def _in_row(number: int, name: str, error: ServingError) -> ServingError:
    return ServingError(
        error.code,
        f"Failed to process element: {number} key: {name} of 'instances' "
        f"list. Error: {error.code.name}: {error.message}",
    )


def _fill_columns(
    given: Any,
    infos: Mapping[str, TensorInfo],
    request: predict_pb2.PredictRequest,
) -> None:
    """Makes a tensor of each input."""
    if not _is_named(given):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as "
                "multiple input tensors required as per tensorinfo_map"
            )
        given = {next(iter(infos)): given}
    for name in infos:
        if name not in given:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        shape = _shape(given[name])
        flat: list[Any] = []
        _flatten(given[name], 0, shape, infos[name].dtype, flat)
        request.inputs[name].CopyFrom(tensor(shape, infos[name].dtype, flat))


def _shape(value: Any) -> list[int]:
    """The shape of a list of lists, if all are as long as the first."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _flatten(
    value: Any, level: int, shape: list[int], dtype: int, flat: list[Any]
) -> None:
    """Appends the values of a list of lists of that shape."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {quoted(value)} found at incorrect level: "
                f"{level + 1} in the JSON DOM. Expected at level: {len(shape)}"
            )
        flat.append(to_value(value, dtype))
        return
    if level >= len(shape):
        raise invalid(
            f"Encountered list at unexpected level: {level} expected < "
            f"{len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: "
            f"{level} expected size: {shape[level]}"
        )
    if level + 1 == len(shape) and are_integers(value, dtype):
        flat.extend(value)
        return
    for each in value:
        _flatten(each, level + 1, shape, dtype, flat)


def _is_named(value: Any) -> bool:
    """Whether it is an object other than bytes in base64."""
    return isinstance(value, dict) and not is_base64(value)


def _fill_example(given: Any, example: Example) -> None:
    if not isinstance(given, dict):
        raise invalid(
            f"Example must be JSON object but got JSON {kind_name(given)}"
        )
    for name, content in given.items():
        feature = example.features.feature[to_bytes(name).decode()]
        for value in content if isinstance(content, list) else [content]:
            _add_to_feature(value, name, feature)


def _add_to_feature(value: Any, name: str, feature: Feature) -> None:
    if isinstance(value, str):
        kind, value = "bytes", to_bytes(value)
    elif isinstance(value, dict) and is_base64(value):
        kind, value = "bytes", from_base64(value)
    elif isinstance(value, float):
        kind = "float"
        check_lossless(value, types_pb2.DT_FLOAT)
    elif isinstance(value, int):
        kind, value = "int64", int(value)  # true and false are 1 and 0
        if not -(2**63) <= value < 2**63:
            raise invalid(
                f"Feature: {name} has uint64 element. Only int64 is supported."
            )
    else:
        raise invalid(
            f"Feature: {name} has element with unexpected JSON type: "
            f"{kind_name(value)}"
        )
    before = feature.WhichOneof("kind")
    if before not in (None, f"{kind}_list"):
        raise invalid(
            f"Unexpected element type in feature: {name} expecting type: "
            f"{before.removesuffix('_list')}"
        )
    getattr(feature, f"{kind}_list").value.append(value)


def _brackets(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _unfit(value: Any, message: str) -> ServingError:
    return invalid(f"JSON Value: {quoted(value)} {message}")
