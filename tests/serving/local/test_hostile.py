"""Small requests that promise much cost a server's process little."""

import re
import time
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.serving.served_tree import encoded, publish, serving

MEMORY = 300 * 2**20
INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    publish(folder, 1)
    with serving(folder, "--grpc_max_threads=4") as running:
        ask(running, good_request())  # the first one takes long
        yield running


def ask(server, request):
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.Predict(request, timeout=20)


def good_request():
    return request_of(tf.make_tensor_proto(encoded(3)), "image_bytes", "")


def request_of(tensor, alias="images", signature="predict_images"):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "animals"
    request.model_spec.signature_name = signature
    request.inputs[alias].CopyFrom(tensor)
    return request


def promise(*shape, dtype=tf.uint8, **values):
    proto = TensorProto(dtype=dtype.as_datatype_enum, **values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def promised_rank():
    proto = promise(dtype=tf.uint8, int_val=[1])
    proto.tensor_shape.unknown_rank = True
    return proto


def peak_memory(server):
    """Most bytes that it ever held."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def check_refused(server, request, code, named):
    before = peak_memory(server)
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        ask(server, request)
    assert caught.value.code() == code
    assert named in caught.value.details()
    assert "\n" not in caught.value.details()
    assert time.monotonic() - began < 5
    assert peak_memory(server) - before < MEMORY
    began = time.monotonic()
    assert ask(server, good_request()).outputs
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("tensor", "named"),
    [
        (promise(1500, 1000, 1000, 3, int_val=[1]), "carries 1 values"),
        (promise(1500, 1000, 1000, 3), "promises 4500000000"),
        (promise(100_000, 8, 8, 3, int_val=[1]), "send them all"),
        (promise(100, 2, 2, 3, tensor_content=b"1"), "carries 1 values"),
        (promise(2**40, int_val=[1]), "promises 1099511627776"),
        (promise(2**62, 2**62, int_val=[1]), "parsing error"),
        (promise(*[2**62] * 300, int_val=[1]), "no tensor has"),
        (promise(-1, 8, 8, 3, int_val=[1]), "no tensor has"),
        (promise(-(2**63), 2, int_val=[1]), "no tensor has"),
        (promised_rank(), "no tensor has"),
        (promise(1, 1, 1, 3, int_val=[1] * 4), "carries 4 values"),
        (promise(1, 1, 1, 1, float_val=[1], dtype=tf.float32), "be uint8"),
        (promise(2**40, dtype=tf.float32, float_val=[1]), "parsing error"),
        (promise(10**9, dtype=tf.string, string_val=[b"x"]), "parsing error"),
        (promise(9, dtype=tf.variant), "parsing error"),
    ],
)
def test_a_tensor_must_carry_what_it_promises(server, tensor, named):
    request = request_of(tensor)
    assert request.ByteSize() < 5000
    check_refused(server, request, INVALID, named)


def test_rows_without_values_are_bounded_too(server):
    tensor = promise(2**40, 0, 0, 3)
    check_refused(server, request_of(tensor), EXHAUSTED, "--max_rows")


def test_millions_of_rows_are_refused_before_they_are_made(server):
    rows = promise(20_000_000, dtype=tf.string, string_val=[b"x"] * 20_000_000)
    request = request_of(rows, "image_bytes", "")
    del rows
    assert request.ByteSize() > 57 * 2**20
    before = peak_memory(server)
    for _ in range(4):  # and none of them stays
        check_refused(server, request, EXHAUSTED, "--max_rows")
    assert peak_memory(server) - before < MEMORY
