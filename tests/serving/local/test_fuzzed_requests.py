"""Any message and any body: answered or refused, at little cost."""

import contextlib
import http.client
import json
import time

import grpc
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from hierkeras.serving.graph import signatures
from tests import fuzzing
from tests.serving import served_tree
from tests.serving.local.asking import base64_of
from tests.serving.served_tree import encoded

server = served_tree.server

MEMORY = 300 * 2**20
SECONDS = 5
PREDICT = "PredictionService/Predict"
METHODS = {
    predict_pb2.PredictRequest: PREDICT,
    classification_pb2.ClassificationRequest: "PredictionService/Classify",
    get_model_metadata_pb2.GetModelMetadataRequest: (
        "PredictionService/GetModelMetadata"
    ),
    get_model_status_pb2.GetModelStatusRequest: "ModelService/GetModelStatus",
}
FAULTS = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
}


@pytest.fixture(scope="module")
def channel(server):
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options) as channel:
        for method, message in WHOLE:  # the first ones take long
            assert ask(channel, method, message) == grpc.StatusCode.OK
        yield channel


def ask(channel, method, message):
    """Sends bytes as they are; the status that they are answered with."""
    call = channel.unary_unary(f"/tensorflow.serving.{method}")
    try:
        call(message, timeout=60)
    except grpc.RpcError as error:
        assert "the server failed" not in error.details(), error
        return error.code()
    return grpc.StatusCode.OK


@contextlib.contextmanager
def costing_little():
    """Bounds what client and server, both in this process, take together."""
    fuzzing.forget_peak()
    before, began = fuzzing.peak_memory(), time.process_time()
    yield
    assert time.process_time() - began < SECONDS
    assert fuzzing.peak_memory() - before < MEMORY


def check_message(channel, method, message):
    with costing_little():
        assert ask(channel, method, message) not in FAULTS


def named(kind):
    request = kind()
    request.model_spec.name = "animals"
    return request


def whole_messages():
    """A message of each kind that is answered, and how it is called."""
    predict = named(predict_pb2.PredictRequest)
    predict.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(encoded(2)))
    predict.output_filter.append("classes")
    pixels = named(predict_pb2.PredictRequest)
    pixels.model_spec.signature_name = "predict_images"
    images = tf.zeros([2, 9, 9, 3], tf.uint8)
    pixels.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
    every = named(predict_pb2.PredictRequest)
    every.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(encoded(1)))
    classify = named(classification_pb2.ClassificationRequest)
    classify.model_spec.signature_name = signatures.CLASSIFY
    for image in encoded(2):
        example = classify.input.example_list.examples.add()
        example.ParseFromString(signatures.to_example(image))
    metadata = named(get_model_metadata_pb2.GetModelMetadataRequest)
    metadata.metadata_field.append("signature_def")
    status = named(get_model_status_pb2.GetModelStatusRequest)
    status.model_spec.version.value = 7
    return [
        (METHODS[type(request)], request.SerializeToString())
        for request in (predict, every, pixels, classify, metadata, status)
    ]


WHOLE = whole_messages()


@st.composite
def damaged_messages(draw):
    method, message = draw(st.sampled_from(WHOLE))
    if draw(st.integers(0, 9)) == 0:  # one kind as another
        method = draw(st.sampled_from(list(METHODS.values())))
    return method, draw(fuzzing.damaged([message]))


@pytest.mark.slow
@fuzzing.times(1000)
@given(asked=damaged_messages())
def test_damaged_messages_are_answered_or_refused(channel, asked):
    check_message(channel, *asked)


SIZES = st.one_of(
    st.integers(-1, 5), st.sampled_from((2**20, 2**31, 2**40, 2**62, -(2**63)))
)
VALUES = {
    "float_val": st.floats(width=32),
    "double_val": st.floats(),
    "int_val": st.integers(-(2**31), 2**31 - 1),
    "string_val": st.binary(max_size=20) | st.sampled_from(encoded(2)),
    "int64_val": st.integers(-(2**63), 2**63 - 1),
    "bool_val": st.booleans(),
    "uint32_val": st.integers(0, 2**32 - 1),
    "uint64_val": st.integers(0, 2**64 - 1),
    "half_val": st.integers(-(2**31), 2**31 - 1),
    "scomplex_val": st.floats(width=32),
    "dcomplex_val": st.floats(),
}


@st.composite
def tensors(draw):
    """Tensors of any type and shape, and values that may fit neither."""
    proto = TensorProto(
        dtype=draw(st.sampled_from((1, 4, 7)) | st.integers(-1, 130)),
        version_number=draw(st.integers(-1, 3)),
        tensor_content=draw(st.sampled_from((b"", b"x", bytes(243)))),
    )
    proto.tensor_shape.unknown_rank = draw(st.integers(0, 9)) == 0
    for size in draw(st.lists(SIZES, max_size=5)):
        proto.tensor_shape.dim.add(size=size)
    for name in draw(st.lists(st.sampled_from(list(VALUES)), max_size=2)):
        getattr(proto, name).extend(draw(st.lists(VALUES[name], max_size=4)))
    if draw(st.booleans()):
        count = draw(st.sampled_from((1, 27, 243)))
        proto.int_val.extend([draw(st.integers(-1, 300))] * count)
    return proto


@st.composite
def requests(draw):
    """Predict requests that can be parsed, and make sense or none."""
    request = predict_pb2.PredictRequest()
    spec = request.model_spec
    spec.name = draw(st.sampled_from(("animals", "animals", "", "x")))
    spec.signature_name = draw(
        st.sampled_from(("", "predict_images", "classify", "é\n"))
    )
    if draw(st.integers(0, 4)) == 0:
        spec.version.value = draw(st.integers(-1, 9))
    alias = {"predict_images": "images", "classify": "inputs"}.get(
        spec.signature_name, "image_bytes"
    )
    request.inputs[alias].CopyFrom(draw(tensors()))
    if draw(st.integers(0, 9)) == 0:
        request.inputs[draw(st.text(max_size=3))].CopyFrom(draw(tensors()))
    names = st.sampled_from(("classes", "scores", "path", "no\n"))
    request.output_filter.extend(draw(st.lists(names, max_size=2)))
    return request.SerializeToString()


@pytest.mark.slow
@fuzzing.times(1000)
@given(message=requests())
def test_any_tensors_are_answered_or_refused(channel, message):
    check_message(channel, PREDICT, message)


DOCUMENTS = [
    {"instances": base64_of(encoded(2))},
    {"instances": [{"image_bytes": each} for each in base64_of(encoded(2))]},
    {"inputs": {"image_bytes": base64_of(encoded(1))}},
    {
        "signature_name": "predict_images",
        "instances": [[[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]],
    },
    {
        "signature_name": "classify",
        "context": {"n": [1, 2.5]},
        "examples": [{"image/encoded": base64_of(encoded(1))[0]}],
    },
]
BODIES = [json.dumps(document).encode() for document in DOCUMENTS]
PATHS = st.sampled_from(
    (
        "/v1/models/animals:predict",
        "/v1/models/animals:predict",
        "/v1/models/animals:classify",
        "/v1/models/animals/versions/7:predict",
        "/v1/models/animals/versions/" + "9" * 200 + ":predict",
        "/v1/models/animals/labels/%ff:predict",
        "/v1/models/%00:predict",
    )
)


def dumped(document):
    return json.dumps(document).encode(errors="surrogatepass")


def check_body(server, path, body):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port)
    with costing_little(), contextlib.closing(connection):
        connection.request("POST", path, body)
        response = connection.getresponse()
        answer = json.loads(response.read())
    assert response.status != 500, answer
    if response.status != 200:
        assert answer.keys() == {"error"}


BODY = st.one_of(
    fuzzing.damaged(BODIES),
    st.sampled_from(DOCUMENTS).flatmap(fuzzing.forged).map(dumped),
    fuzzing.JSON.map(dumped),
)


@pytest.mark.slow
@fuzzing.times(1000)
@given(path=PATHS, body=BODY)
def test_any_bodies_are_answered_or_refused(server, channel, path, body):
    check_body(server, path, body)
