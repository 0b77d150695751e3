"""The client asks a server, and says what is wrong if it has no answer."""

import contextlib
import socket
import threading
import time
from concurrent import futures

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from hierkeras._errors import UserError
from hierkeras.serving.client import answers
from hierkeras.serving.client import remote as remote_module
from hierkeras.serving.client.answers import BadImage
from hierkeras.serving.client.remote import RemoteModel
from hierkeras.serving.local.limits import Limits
from hierkeras.serving.local.server import Server
from tests.serving import toiling
from tests.serving.served_tree import encoded, publish, until


def test_a_model_that_is_not_there_is_named(server):
    model = RemoteModel(f"127.0.0.1:{server.port}", "plants", 20)
    with pytest.raises(UserError, match=r"'plants' \(Servable not found"):
        model.answer(encoded(1))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture
def narrow(base_path):
    """A server that takes requests of 16 KB."""
    publish(base_path, 1)
    address = ("127.0.0.1", 0)
    running = Server(
        "animals",
        str(base_path),
        *address,
        4,
        print,
        limits=Limits(message_bytes=2**14),
    )
    running.start(0)
    model = RemoteModel(f"127.0.0.1:{running.port}", "animals", 20)
    yield model
    model.close()
    running.stop(0)


def test_a_request_larger_than_a_server_takes_is_divided(narrow):
    images = encoded(9, size=40)
    assert len(images[0]) < 2**14 < sum(map(len, images))
    large = encoded(1, size=100)
    assert len(large[0]) > 2**14

    *found, bad = answers.ask(narrow, images + large)

    assert [answer.version for answer in found] == [1] * 9
    assert isinstance(bad, BadImage)
    assert "larger than what the server takes" in bad.reason
    assert "--max_message_mb" in bad.reason
    assert "\n" not in bad.reason


def test_an_image_that_promises_too_many_pixels_is_refused(remote):
    (image,) = encoded(1)
    size = image.index(b"IHDR") + 4
    huge = image[:size] + b"\0\0\xff\xff" * 2 + image[size + 8 :]
    began = time.monotonic()
    with pytest.raises(BadImage, match="pixels"):
        remote.answer([huge])
    assert time.monotonic() - began < 10


def test_a_request_larger_than_any_is_not_sent(remote, monkeypatch):
    monkeypatch.setattr(remote_module, "_MAX_IMAGE_BYTES", 1000)
    with pytest.raises(BadImage, match="larger than a request can be"):
        remote.answer([b"x" * 600] * 2)


@pytest.mark.parametrize(
    "server", ["", "nonsense", ":", "a b", "é:1", "[::", "x" * 5000, "\0:1"]
)
def test_a_server_of_a_hostile_name_is_an_error(server):
    with pytest.raises(UserError) as caught:
        RemoteModel(server, "animals", 0.2).answer(encoded(1))
    assert "Traceback" not in str(caught.value)


def test_a_server_that_is_not_there_is_named():
    model = RemoteModel(f"127.0.0.1:{free_port()}", "animals", 1)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"cannot reach 127\S+ within 1 s"):
        model.answer(encoded(1))
    assert time.monotonic() - began < 5


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        model = RemoteModel(f"127.0.0.1:{port}", "animals", 0.5)
        with pytest.raises(UserError, match=r"within 0\.5 s"):
            model.answer(encoded(1))


class Unavailable(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Is not available for a number of calls, and then hangs or answers."""

    def __init__(self, number, seconds=0.0):
        self.calls = []
        self._number = number
        self._seconds = seconds

    def Predict(self, request, context):
        self.calls.append(context.time_remaining())
        if len(self.calls) <= self._number:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        time.sleep(self._seconds)
        response = predict_pb2.PredictResponse()
        for name, value in {
            "classes": [["ant"]],
            "scores": [[1.0]],
            "path": ["root"],
        }.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


@contextlib.contextmanager
def running(service):
    """A server of a service, and its address."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        service, server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0)


@pytest.mark.slow
def test_the_time_decides_and_no_number_of_attempts():
    service = Unavailable(8)
    with running(service) as address:
        (answer,) = RemoteModel(address, "animals", 30).answer(encoded(1))
    assert answer.classes == ("ant",)
    assert len(service.calls) == 9
    # Each attempt has what the others left.
    assert service.calls[-1] < service.calls[0] - 0.1


@pytest.mark.parametrize("number", [1000, 2])
def test_the_time_is_for_all_attempts_together(number):
    with running(Unavailable(number, seconds=3)) as address:
        began = time.monotonic()
        with pytest.raises(UserError, match=r"cannot reach .* within 1\.5 s"):
            RemoteModel(address, "animals", 1.5).answer(encoded(1))
        assert time.monotonic() - began < 2.5


def test_what_is_refused_is_not_tried_again():
    class Refusing(Unavailable):
        def Predict(self, request, context):
            self.calls.append(0)
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "never")

    service = Refusing(0)
    refused = pytest.raises(UserError, match="FAILED_PRECONDITION: never")
    with running(service) as address, refused:
        RemoteModel(address, "animals", 20).answer(encoded(1))
    assert len(service.calls) == 1


# It was given up after about 7 s.
SMALL = pytest.param(0.3, 12, marks=pytest.mark.slow)
LATE = pytest.param(14, 12, marks=pytest.mark.slow)


@pytest.mark.parametrize(("seconds", "size"), [(0.3, 400), LATE, SMALL])
def test_a_server_that_is_about_to_start_is_waited_for(
    base_path, seconds, size
):
    publish(base_path, 1)
    port = free_port()
    server = []

    def start():
        time.sleep(seconds)
        server.append(
            Server("animals", str(base_path), "127.0.0.1", port, 1, print)
        )
        server[0].start(0)

    starting = threading.Thread(target=start)
    starting.start()
    try:
        model = RemoteModel(f"127.0.0.1:{port}", "animals", 60)
        # The larger one is more than gRPC keeps for a repetition unasked.
        assert len(model.answer(encoded(1, size=size))) == 1
    finally:
        starting.join()
        server[0].stop(0)


def test_a_long_wait_is_said_once(capsys, monkeypatch):
    monkeypatch.setattr(remote_module, "_QUIET_SECONDS", 0.2)
    model = RemoteModel(f"127.0.0.1:{free_port()}", "animals", 2)
    with pytest.raises(UserError, match="cannot reach"):
        model.answer(encoded(1))
    said = capsys.readouterr().err
    assert said.startswith("waiting for 127.0.0.1:")
    assert said.count("\n") == 1 and "--timeout_seconds=2" in said


@contextlib.contextmanager
def toiled(folder, limits):
    """A server of one thread, and how to keep it busy for some seconds."""
    toiling.write(folder / "1")
    server = Server(
        *("animals", str(folder), "127.0.0.1", 0, 1, print),
        limits,
        trust=True,  # a model without end is none of ours
    )
    server.start(0)

    def toil(seconds):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "animals"
        request.inputs["image_bytes"].CopyFrom(
            tf.make_tensor_proto([toiling.FOR_EVER])
        )
        return stub.Predict.future(request, timeout=seconds)

    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            yield f"127.0.0.1:{server.port}", toil, server
        finally:
            server.stop(0)


def test_a_busy_server_is_asked_again(base_path):
    with toiled(base_path, Limits(queued=0)) as (address, toil, server):
        _toiling = toil(1)  # what nobody holds is cancelled
        until(lambda: server.is_busy)
        began = time.monotonic()
        # It has another signature, which it says only to whom it answers.
        with pytest.raises(UserError, match="answers with what no export"):
            RemoteModel(address, "animals", 20).answer([b"1"])
        assert 0.5 < time.monotonic() - began < 10


def test_a_busy_server_is_not_asked_for_ever(base_path):
    with toiled(base_path, Limits(queued=0)) as (address, toil, server):
        _toiling = toil(10)  # what nobody holds is cancelled
        until(lambda: server.is_busy)
        began = time.monotonic()
        busy = r"was busy for 0\.8 s \(0 requests wait already"
        with pytest.raises(UserError, match=busy):
            RemoteModel(address, "animals", 0.8).answer([b"1"])
        assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "pushback", [(), (("grpc-retry-pushback-ms", "-1"),)], ids=["none", "never"]
)
def test_what_is_always_too_much_is_asked_once(pushback):
    class Full(Unavailable):
        def Predict(self, request, context):
            self.calls.append(0)
            context.set_trailing_metadata(pushback)
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "OOM")

    service = Full(0)
    with running(service) as address:
        model = RemoteModel(address, "animals", 20)
        with pytest.raises(BadImage, match=r"is more than .* \(OOM\)"):
            model.answer(encoded(1))
    assert len(service.calls) == 1


def test_a_request_of_too_many_rows_is_divided(base_path):
    publish(base_path, 1)
    server = Server(
        *("animals", str(base_path), "127.0.0.1", 0, 1, print), Limits(rows=3)
    )
    server.start(0)
    try:
        model = RemoteModel(f"127.0.0.1:{server.port}", "animals", 20)
        found = list(answers.ask(model, encoded(8)))
    finally:
        server.stop(0)
    assert [answer.version for answer in found] == [1] * 8
