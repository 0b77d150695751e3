"""JSON becomes messages, and messages JSON, as json_tensor.cc has it."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis import classification_pb2, predict_pb2

from hierkeras.serving.local import json_answers, json_requests
from hierkeras.serving.local.errors import ServingError


def info(dtype):
    return TensorInfo(dtype=dtype.as_datatype_enum)


def filled(body, **infos):
    """The arrays that a Predict request of these inputs gives."""
    if not isinstance(body, str):
        body = json.dumps(body)
    request = predict_pb2.PredictRequest()
    json_requests.fill_predict(
        json_requests.parse(body.encode()), lambda _: infos, request
    )
    return {
        name: tf.make_ndarray(proto) for name, proto in request.inputs.items()
    }


def check_refused(message, body, **infos):
    with pytest.raises(ServingError) as caught:
        filled(body, **infos)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (tf.bool, [True, False]),
        (tf.int8, [-128, 127]),
        (tf.int16, [-(2**15), 2**15 - 1]),
        (tf.int32, [-(2**31), 2**31 - 1]),
        (tf.int64, [-(2**63), 2**63 - 1]),
        (tf.uint8, [0, 255]),
        (tf.uint32, [0, 2**32 - 1]),
        (tf.uint64, [0, 2**64 - 1]),
        (tf.float32, [0.1, 3, -(2**24) + 1]),
        (tf.float64, [1e300, 2**53 - 1]),
        (tf.string, ["a", "é"]),
    ],
)
def test_values_become_those_of_the_input_s_type(dtype, values):
    (array,) = filled({"instances": values}, x=info(dtype)).values()
    expected = tf.constant(values, dtype).numpy()
    assert array.dtype == expected.dtype
    assert (array == expected).all()


def test_numbers_that_are_none_are_numbers():
    body = '{"inputs": [NaN, Infinity, -Infinity]}'
    (array,) = filled(body, x=info(tf.float32)).values()
    np.testing.assert_array_equal(array, [np.nan, np.inf, -np.inf])


def test_bytes_come_in_base64():
    # With padding, without, and with white space.
    bytes_ = [{"b64": text} for text in ("/+8=", "/+8", " /+\n8= ", "")]
    (array,) = filled({"instances": bytes_}, x_bytes=info(tf.string)).values()
    assert array.tolist() == [b"\xff\xef"] * 3 + [b""]


def test_several_inputs_come_by_name():
    infos = {"a": info(tf.int32), "b": info(tf.float32)}
    rows = [{"a": [1, 2], "b": 0.5}, {"a": [3, 4], "b": 1.5}]
    columns = {"a": [[1, 2], [3, 4]], "b": [0.5, 1.5]}
    for body in {"instances": rows}, {"inputs": columns}:
        arrays = filled(body, **infos)
        assert {name: x.tolist() for name, x in arrays.items()} == columns
    check_refused(
        "instances is a plain list, but expecting list of objects as multiple "
        "input tensors required as per tensorinfo_map",
        {"instances": [1, 2]},
        **infos,
    )
    check_refused(
        "inputs is a plain value/list, but expecting an object as multiple "
        "input tensors required as per tensorinfo_map",
        {"inputs": [1, 2]},
        **infos,
    )
    check_refused(
        "Failed to process element: 0 of 'instances' list. JSON object: "
        '{"a": 1} keys must be equal to: a,b',
        {"instances": [{"a": 1}]},
        **infos,
    )


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (
            "a",
            tf.int32,
            'JSON Value: "a" Type: String is not of expected type: int32',
        ),
        (
            True,
            tf.int32,
            "JSON Value: true Type: True is not of expected type: int32",
        ),
        (
            1.5,
            tf.uint8,
            "JSON Value: 1.5 Type: Number is not of expected type: uint8",
        ),
        (
            256,
            tf.uint8,
            "JSON Value: 256 Type: Number is not of expected type: uint8",
        ),
        (
            None,
            tf.string,
            "JSON Value: null Type: Null is not of expected type: string",
        ),
        (
            2**24,
            tf.float32,
            "Cannot convert JSON value: 16777216 to float without loss of "
            "precision.",
        ),
        (
            1e39,
            tf.float32,
            "Cannot convert JSON value: 1e+39 to float without loss of "
            "precision.",
        ),
        (
            {"b64": "="},
            tf.string,
            "Unable to base64 decode",
        ),
        (
            {"b65": ""},
            tf.string,
            'JSON Value: {"b65": ""} not formatted correctly for base64 data',
        ),
        (1, tf.complex64, "Conversion of JSON Value: 1 to type: complex64"),
    ],
)
def test_a_value_of_another_type_is_refused(value, dtype, message):
    check_refused(message, {"inputs": {"x": value}}, x=info(dtype))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            [[1, 2], [3]],
            "Encountered list at unexpected size: 1 at level: 1 expected "
            "size: 2",
        ),
        (
            [[1, 2], 3],
            "JSON Value: 3 found at incorrect level: 2 in the JSON DOM. "
            "Expected at level: 2",
        ),
        (
            [[[1], [2]], [3, 4]],
            "JSON Value: 3 found at incorrect level: 3 in the JSON DOM. "
            "Expected at level: 3",
        ),
        (
            [1, [2]],
            "Encountered list at unexpected level: 1 expected < 1",
        ),
    ],
)
def test_a_list_that_is_no_tensor_is_refused(value, message):
    check_refused(message, {"inputs": value}, x=info(tf.int32))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "JSON Value: {\"instances\": []} No values in 'instances' array"),
        (
            3,
            "JSON Value: {\"instances\": 3} Expecting 'instances' to be an "
            "list/array",
        ),
        (
            [[1], [2, 3]],
            "Failed to process element: 1 key: x of 'instances' list. Error: "
            "INVALID_ARGUMENT: Expecting shape [1] but got: [2]",
        ),
        (
            [{"x": 1}, 2],
            "Expecting object but got list at item 1 of input list",
        ),
        (
            [1, {"x": 2}],
            "Expecting value/list but got object at item 1 of input list",
        ),
    ],
)
def test_rows_that_do_not_fit_together_are_refused(rows, message):
    check_refused(message, {"instances": rows}, x=info(tf.int32))


def test_a_body_is_in_one_format():
    body = {"instances": [1], "inputs": [1]}
    check_refused(
        f"JSON Value: {json.dumps(body)} Not formatted correctly expecting "
        "only one of 'inputs' or 'instances' keys to exist",
        body,
        x=info(tf.int32),
    )
    body = {"instances": [1], "signature_name": 3}
    check_refused(
        f"JSON Value: {json.dumps(body)} not formatted correctly. "
        "'signature_name' key must be a string value.",
        body,
        x=info(tf.int32),
    )


def test_a_signature_without_inputs_cannot_be_asked():
    check_refused(
        "Failed to get input map for signature: DEFAULT", {"instances": [1]}
    )


def test_a_body_of_very_many_values_is_refused(monkeypatch):
    body = json.dumps({"instances": [[[0, 255]] * 3] * 2})
    (array,) = filled(body, x=info(tf.uint8)).values()
    assert array.tolist() == [[[0, 255]] * 3] * 2
    monkeypatch.setattr(json_requests, "_MAX_VALUES", 10)
    check_refused(
        "JSON Parse error: more than 10 values; send images as bytes in base64",
        body,
        x=info(tf.uint8),
    )


def test_a_long_value_is_not_quoted_at_length():
    with pytest.raises(ServingError) as caught:
        filled({"inputs": ["x" * 10**6]}, x=info(tf.int32))
    assert len(caught.value.message) < 300


def classify(body):
    request = classification_pb2.ClassificationRequest()
    json_requests.fill_classify(body, request)
    return request


def test_examples_hold_features_of_their_kind():
    given = {
        "bytes": ["a", {"b64": "/w=="}],
        "float": [0.5, 1.0],
        "int": [1, True],
        "one": 7,
        "none": [],
    }
    (example,) = classify({"examples": [given]}).input.example_list.examples
    features = example.features.feature
    assert features["bytes"].bytes_list.value == [b"a", b"\xff"]
    assert features["float"].float_list.value == [0.5, 1.0]
    assert features["int"].int64_list.value == [1, 1]
    assert features["one"].int64_list.value == [7]
    assert features["none"].WhichOneof("kind") is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {},
            "JSON Value: {} When method is classify, key 'examples' is "
            "expected and was not found",
        ),
        (
            {"examples": {}},
            "JSON Value: {\"examples\": {}} Expecting 'examples' value to be "
            "an list/array",
        ),
        (
            {"examples": []},
            "JSON Value: {\"examples\": []} 'examples' value is an empty array",
        ),
        (
            {"examples": [3]},
            "Example must be JSON object but got JSON Number",
        ),
        (
            {"examples": [{"a": [1, "b"]}]},
            "Unexpected element type in feature: a expecting type: int64",
        ),
        (
            {"examples": [{"a": [[1]]}]},
            "Feature: a has element with unexpected JSON type: Array",
        ),
        (
            {"examples": [{"a": 2**63}]},
            "Feature: a has uint64 element. Only int64 is supported.",
        ),
    ],
)
def test_what_is_no_example_is_refused(body, message):
    with pytest.raises(ServingError) as caught:
        classify(body)
    assert caught.value.message == message


def told(is_rows, **outputs):
    document = json_answers.predictions(
        {name: tf.make_tensor_proto(x) for name, x in outputs.items()}, is_rows
    )
    return json_answers.to_body(document).decode()


def test_one_output_is_told_without_its_name():
    scores = np.array([[0.1, 1], [1 / 3, 0]], np.float32)
    # 9 digits where 6 are not exact, and the point that makes a decimal.
    numbers = "[[0.1, 1.0], [0.333333343, 0.0]]"
    assert told(True, scores=scores) == f'{{"predictions": {numbers}}}\n'
    assert told(False, scores=scores) == f'{{"outputs": {numbers}}}\n'


def test_several_outputs_are_told_by_name():
    outputs = {"a": [1, 2], "b": ["x", "é"]}
    assert told(True, **outputs) == (
        '{"predictions": [{"a": 1, "b": "x"}, {"a": 2, "b": "é"}]}\n'
    )
    assert told(False, **outputs) == (
        '{"outputs": {"a": [1, 2], "b": ["x", "é"]}}\n'
    )


def test_bytes_are_told_in_base64_if_they_are_named_so():
    assert told(True, x_bytes=[b"\xff"]) == (
        '{"predictions": [{"b64": "/w=="}]}\n'
    )
    # Others pass as they are, whatever they are.
    document = json_answers.predictions(
        {"x": tf.make_tensor_proto([b"\xff"])}, True
    )
    assert json_answers.to_body(document) == b'{"predictions": ["\xff"]}\n'


def test_numbers_that_are_none_are_told():
    values = np.array([np.nan, np.inf, -np.inf], np.float32)
    assert told(False, x=values) == '{"outputs": [NaN, Infinity, -Infinity]}\n'


def test_every_float_is_read_back_as_it_was():
    bits = np.random.default_rng(0).integers(0, 2**32, 2000, np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    read = json.loads(told(False, x=values))["outputs"]
    np.testing.assert_array_equal(np.array(read, np.float32), values)


def test_what_has_no_rows_is_not_told_row_by_row():
    with pytest.raises(ServingError, match="x has no shape information"):
        told(True, x=3)
    with pytest.raises(ServingError, match="inconsistent batch size: 3"):
        told(True, a=[1, 2], b=[1, 2, 3])
    assert told(False, x=3) == '{"outputs": 3}\n'
    with pytest.raises(ServingError, match="tensor type: complex64"):
        told(False, x=np.zeros(1, np.complex64))
