"""REST answers, and refuses, as gRPC and as TensorFlow Serving do."""

import json

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from hierkeras.serving.local.server import Server
from tests.serving import served_tree
from tests.serving.local.asking import ask, base64_of
from tests.serving.served_tree import TOP, encoded, publish

server = served_tree.server
base_path = served_tree.base_path

MODEL = "/v1/models/animals"
IMAGES = encoded(3)
ROWS = base64_of(IMAGES)


@pytest.fixture
def rest(server):
    def answer(method, path, body=None, **headers):
        return ask(server.rest_port, method, path, body, headers)

    return answer


@pytest.fixture
def refused(rest):
    """What a request is refused with: the status and the sentence."""

    def answer(method, path, body=None):
        status, told = rest(method, path, body)
        assert told.keys() == {"error"}
        return status, told["error"]

    return answer


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


@pytest.fixture
def outputs(channel):
    """What gRPC answers."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "animals"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(IMAGES))
    return {
        name: tf.make_ndarray(proto)
        for name, proto in stub.Predict(request).outputs.items()
    }


def check_same(told, outputs):
    """That columns of JSON are the arrays which gRPC sends."""
    assert told.keys() == outputs.keys()
    classes = [[name.encode() for name in row] for row in told["classes"]]
    assert classes == outputs["classes"].tolist()
    assert [path.encode() for path in told["path"]] == outputs["path"].tolist()
    # Written so that they are the same numbers, to the last bit, when read.
    scores = np.array(told["scores"], np.float32)
    np.testing.assert_allclose(scores, outputs["scores"], atol=1e-6)


@pytest.mark.parametrize(
    "instances", [ROWS, [{"image_bytes": row} for row in ROWS]]
)
@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/7", MODEL.upper()])
def test_rows_are_answered_row_by_row(rest, outputs, instances, path):
    path = path.replace("ANIMALS", "animals")
    status, told = rest("POST", f"{path}:predict", {"instances": instances})
    assert status == 200
    rows = told.pop("predictions")
    assert told == {}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    check_same(columns, outputs)


@pytest.mark.parametrize("inputs", [ROWS, {"image_bytes": ROWS}])
def test_columns_are_answered_as_columns(rest, outputs, inputs):
    status, told = rest("POST", f"{MODEL}:predict", {"inputs": inputs})
    assert (status, told.keys()) == (200, {"outputs"})
    check_same(told["outputs"], outputs)


def test_no_rows_are_answered_in_column_format(rest):
    status, told = rest("POST", f"{MODEL}:predict", {"inputs": []})
    assert (status, told) == (
        200,
        {"outputs": {"classes": [], "path": [], "scores": []}},
    )


def test_other_signatures_are_reached_by_name(rest):
    pixels = np.full((2, 9, 9, 3), 100).tolist()
    body = {"signature_name": "predict_images", "instances": pixels}
    status, told = rest("POST", f"{MODEL}:predict", body)
    assert status == 200
    first, second = told["predictions"]
    assert first == second
    assert len(first["classes"]) == TOP


def test_classify_answers_with_pairs(rest, outputs):
    examples = [{"image/encoded": row} for row in ROWS]
    body = {"signature_name": "classify", "examples": examples}
    status, told = rest("POST", f"{MODEL}:classify", body)
    assert (status, told.keys()) == (200, {"results"})
    names = [[name.encode() for name, _ in row] for row in told["results"]]
    scores = [[score for _, score in row] for row in told["results"]]
    assert names == outputs["classes"].tolist()
    np.testing.assert_allclose(scores, outputs["scores"], atol=1e-6)
    body["context"] = {"season": ["spring"], "year": 2014, "warm": [0.5]}
    assert rest("POST", f"{MODEL}:classify", body) == (200, told)


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/versions/7"])
def test_status_is_that_of_grpc(rest, channel, path):
    status, told = rest("GET", path)
    assert status == 200
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "animals"
    expected = stub.GetModelStatus(request)
    found = get_model_status_pb2.GetModelStatusResponse()
    assert json_format.Parse(json.dumps(told), found) == expected
    # With the names and the defaults that clients look for.
    assert told["model_version_status"] == [
        {
            "version": "7",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
    ]


@pytest.mark.parametrize(
    "path", [f"{MODEL}/metadata", f"{MODEL}/versions/7/metadata"]
)
def test_metadata_are_those_of_grpc(rest, channel, path):
    status, told = rest("GET", path)
    assert status == 200
    assert told["model_spec"] == {
        "name": "animals",
        "signature_name": "",
        "version": "7",
    }
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "animals"
    request.metadata_field.append("signature_def")
    response = stub.GetModelMetadata(request)
    expected = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(expected)
    found = json_format.ParseDict(
        told["metadata"]["signature_def"],
        get_model_metadata_pb2.SignatureDefMap(),
    )
    assert found == expected


def predict(body, path=MODEL):
    return "POST", f"{path}:predict", body


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (predict(b""), 400, "JSON Parse error: The document is empty"),
        (
            predict(b'{"instances": [1, }'),
            400,
            "JSON Parse error: Expecting value at offset: 18",
        ),
        (predict(b'["\xff"]'), 400, "JSON Parse error: not UTF-8 at offset: 2"),
        (
            predict(b"[" * 100_000),
            400,
            "JSON Parse error: nested too deeply",
        ),
        (predict(b"3"), 400, "JSON Value: 3 Is not object"),
        (predict({}), 400, "Missing 'inputs' or 'instances' key"),
        (
            predict({"instances": ["\ud800"]}),
            400,
            "Failed to process element: 0 key: image_bytes of 'instances' "
            "list. Error: INVALID_ARGUMENT: JSON Parse error: The surrogate "
            "pair in string is invalid.",
        ),
        (
            predict({"instances": [{"images": ROWS[0]}]}),
            400,
            "Failed to process element: 0 key: images of 'instances' list. "
            "Error: INVALID_ARGUMENT: JSON object: does not have named input: "
            "images",
        ),
        (
            predict({"instances": [{"\ud800": 0}]}),
            400,
            "Failed to process element: 0 key: \\ud800 of 'instances' list. "
            "Error: INVALID_ARGUMENT: JSON object: does not have named input: "
            "\\ud800",
        ),
        (
            predict({"inputs": {"images": ROWS}}),
            400,
            "Missing named input: image_bytes in 'inputs' object.",
        ),
        (
            predict({"instances": [ROWS]}),
            400,
            "input image_bytes has shape (1, 3); the signature takes (None,)",
        ),
        (
            predict({"instances": ROWS, "signature_name": "sort"}),
            400,
            'Serving signature name: "sort" not found in signature def',
        ),
        (
            predict({"instances": [*ROWS, {"b64": "bm8gaW1hZ2U="}]}),
            400,
            "row 3 of the request is no JPEG, PNG, GIF, BMP or WebP image, or "
            "is cut off or damaged",
        ),
        (
            predict({"instances": ROWS}, "/v1/models/plants"),
            404,
            "Servable not found for request: Latest(plants)",
        ),
        (
            predict({"instances": ROWS}, "/v1/models/a%20b"),
            404,
            "Servable not found for request: Latest(a b)",
        ),
        (
            predict({"instances": ROWS}, f"{MODEL}/versions/6"),
            404,
            "Servable not found for request: Specific(animals, 6)",
        ),
        (
            predict({"instances": ROWS}, f"{MODEL}/versions/{2**63}"),
            400,
            f"Failed to convert version: {2**63} to numeric.",
        ),
        (
            predict({"instances": ROWS}, f"{MODEL}/labels/stable"),
            400,
            "Unrecognized servable version label: stable",
        ),
        (
            ("POST", f"{MODEL}:classify", {"examples": [{}]}),
            400,
            "Expected classification signature method_name to be "
            "tensorflow/serving/classify. Was: tensorflow/serving/predict",
        ),
        (
            ("POST", f"{MODEL}:regress", {"examples": [{}]}),
            501,
            "Method not implemented!",
        ),
        (
            ("GET", f"{MODEL}:predict"),
            400,
            f"Malformed request: GET {MODEL}:predict",
        ),
        (("POST", MODEL, {}), 400, f"Malformed request: POST {MODEL}"),
        (
            ("DELETE", f"{MODEL}?force=1"),
            400,
            f"Malformed request: DELETE {MODEL}?force=1",
        ),
        (("GET", "/v1/models"), 400, "Missing model name in request."),
        (
            ("GET", "/v1/models/plants"),
            404,
            "Could not find any versions of model plants",
        ),
        (
            ("GET", f"{MODEL}/versions/8"),
            404,
            "Could not find version 8 of model animals",
        ),
        (
            ("GET", f"{MODEL}/labels/stable"),
            400,
            "Unrecognized servable version label: stable",
        ),
        (
            ("GET", "/v1/models/plants/metadata"),
            404,
            "Servable not found for request: Latest(plants)",
        ),
        (
            ("GET", "/metrics"),
            404,
            "Not found: GET /metrics; paths begin with /v1/models/",
        ),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    refused, request_, status, message
):
    assert refused(*request_) == (status, message)


JSON = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        st.sampled_from(ROWS),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["image_bytes", "b64", "image/encoded", "\ud800"]),
            inner,
            max_size=2,
        ),
    ),
    max_leaves=8,
)


@given(
    body=st.fixed_dictionaries(
        {},
        optional={
            **{key: JSON for key in ("instances", "inputs", "context")},
            "examples": st.lists(JSON, max_size=3),
            "signature_name": st.sampled_from(
                ["", "predict_images", "classify", "\udfff", 3]
            ),
        },
    ),
    call=st.sampled_from(["predict", "classify"]),
)
@settings(max_examples=25)
def test_whatever_is_sent_is_answered_or_refused(server, body, call):
    status, told = ask(server.rest_port, "POST", f"{MODEL}:{call}", body)
    assert status in (200, 400)
    assert status == 200 or told.keys() == {"error"}


def test_a_long_complaint_is_cut_off(refused):
    path = f"/v1/models/{'x' * 2000}"
    status, told = refused("GET", path)
    assert status == 404
    assert told.endswith("xxx...TRUNCATED")
    assert len(told) == 1024 + len("...TRUNCATED")


def test_a_model_without_versions_is_not_found(base_path):
    server = Server(
        "animals", str(base_path), "127.0.0.1", 0, 1, print, rest_port=0
    )
    server.start(0)
    try:
        status, _ = ask(server.rest_port, "GET", MODEL)
        assert status == 404
        publish(base_path, 1)
        (base_path / "2").mkdir()
        server.versions.poll()
        status, told = ask(server.rest_port, "GET", MODEL)
    finally:
        server.stop(0)
    assert status == 200
    (broken,) = told["model_version_status"]
    assert (broken["version"], broken["state"]) == ("2", "END")
    assert broken["status"]["error_code"] == "NOT_FOUND"
