"""Requests have a budget, and take from others only so much."""

import contextlib
import os
import threading
import time

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from hierkeras.serving.graph import signatures
from hierkeras.serving.local import slices
from hierkeras.serving.local.limits import Limits
from hierkeras.serving.local.server import Server
from tests.serving import toiling
from tests.serving.local.asking import ask, base64_of
from tests.serving.served_tree import encoded, publish, until

PREDICT = "/tensorflow.serving.PredictionService/Predict"
TURNS = b"20000"  # of the toiling model: about a tenth of a second
FEW = Limits(rows=200, queued=2, request_seconds=20, receive_seconds=0.5)


@contextlib.contextmanager
def running(base_path, num_threads=1, limits=FEW):
    server = Server(
        *("animals", str(base_path), "127.0.0.1", 0, num_threads),
        lambda line: None,
        limits,
        rest_port=0,
        trust=True,  # a model without end is none of ours
    )
    server.start(0)
    try:
        yield server
    finally:
        server.stop(0)


@pytest.fixture(scope="module")
def tree_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    publish(folder, 7)
    return folder


@pytest.fixture(scope="module")
def tree(tree_path):
    with running(tree_path) as server:
        yield server


@pytest.fixture(scope="module")
def toiling_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toiling")
    toiling.write(folder / "1")
    return folder


@pytest.fixture
def toiling_server(toiling_path):
    with running(toiling_path) as server:
        yield server


@contextlib.contextmanager
def connected(server):
    options = [("grpc.use_local_subchannel_pool", 1)]
    address = f"127.0.0.1:{server.port}"
    with grpc.insecure_channel(address, options) as channel:
        yield channel


def predict(channel, rows, timeout=20):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "animals"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(rows))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return stub.Predict.future(request, timeout=timeout)


def code_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    return caught.value.code(), caught.value.details()


class Silent:
    """Calls that send nothing, until the end."""

    def __init__(self, channel, count):
        self._end = threading.Event()
        method = channel.stream_unary(PREDICT)
        self.calls = [method.future(self._nothing()) for _ in range(count)]

    def _nothing(self):
        self._end.wait()
        yield from ()

    def end(self):
        self._end.set()


@contextlib.contextmanager
def silent(channel, count):
    calls = Silent(channel, count)
    try:
        yield calls.calls
    finally:
        calls.end()


def check_all_answer(channel):
    """Asks everything that a server answers."""
    health = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert answer.status == answer.SERVING
    model = model_service_pb2_grpc.ModelServiceStub(channel)
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "animals"
    assert model.GetModelStatus(status, timeout=5).model_version_status
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    metadata = get_model_metadata_pb2.GetModelMetadataRequest()
    metadata.model_spec.name = "animals"
    metadata.metadata_field.append("signature_def")
    assert stub.GetModelMetadata(metadata, timeout=5).metadata


def test_calls_that_send_nothing_keep_nobody(tree_path):
    with (
        running(tree_path, limits=Limits()) as server,
        connected(server) as theirs,
        connected(server) as ours,
    ):
        predict(ours, encoded(2)).result()  # the first one takes long
        with silent(theirs, 100):
            time.sleep(0.2)
            began = time.monotonic()
            check_all_answer(ours)
            assert predict(ours, encoded(2)).result().outputs
            assert time.monotonic() - began < 1


def test_a_call_that_sends_nothing_is_ended(tree):
    with connected(tree) as channel, silent(channel, 2) as calls:
        for call in calls:
            assert code_of(call) == (
                grpc.StatusCode.DEADLINE_EXCEEDED,
                "the request did not arrive within 0.5 s",
            )


def test_a_call_without_a_request_is_refused(tree):
    with connected(tree) as channel:
        call = channel.stream_unary(PREDICT).future(iter(()))
        assert code_of(call) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "the call holds no request",
        )


def test_bytes_that_are_no_request_are_refused(tree):
    with connected(tree) as channel:
        code, details = code_of(
            channel.unary_unary(PREDICT).future(b"\xff" * 9)
        )
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details == "the request is no PredictRequest, or is damaged"


def test_questions_are_short(tree):
    with connected(tree) as channel:
        method = "/tensorflow.serving.ModelService/GetModelStatus"
        call = channel.unary_unary(method).future(b"\x0a" * 2**17)
        code, details = code_of(call)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "may have 65536" in details


def test_rows_are_bounded_over_every_way(tree):
    rows = [b"x"] * 201
    with connected(tree) as channel:
        code, told = code_of(predict(channel, rows))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert told == (
            "the request has 201 rows, and may have 200; send fewer, or start "
            "the server with a larger --max_rows"
        )
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = "animals"
        request.model_spec.signature_name = signatures.CLASSIFY
        for _ in rows:
            request.input.example_list.examples.add()
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert code_of(stub.Classify.future(request)) == (code, told)
    images = base64_of(rows)
    for call, body in (
        ("predict", {"instances": images}),
        ("predict", {"inputs": images}),
        ("predict", {"inputs": {"image_bytes": images}}),
        ("classify", {"signature_name": "classify", "examples": [{}] * 201}),
    ):
        path = f"/v1/models/animals:{call}"
        assert ask(tree.rest_port, "POST", path, body) == (429, {"error": told})


def test_pixels_of_all_images_are_bounded_over_every_way(tree_path):
    images = encoded(3, size=20)
    examples = [
        {signatures.EXAMPLE_IMAGE: {"b64": base64_of([image])[0]["b64"]}}
        for image in images
    ]
    limits = Limits(pixels=1000)
    with running(tree_path, limits=limits) as server:
        with connected(server) as channel:
            assert predict(channel, images[:2]).result().outputs
            code, told = code_of(predict(channel, images))
            assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert told == (
                "the images of the request have more than 0.001 million "
                "pixels together; send fewer at once, or start the server "
                "with a larger --max_megapixels"
            )
            request = classification_pb2.ClassificationRequest()
            request.model_spec.name = "animals"
            request.model_spec.signature_name = signatures.CLASSIFY
            # An image that all rows have is decoded for each.
            given = request.input.example_list_with_context
            for _ in images:
                given.examples.add()
            feature = given.context.features.feature[signatures.EXAMPLE_IMAGE]
            feature.bytes_list.value.append(images[0])
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            assert code_of(stub.Classify.future(request)) == (code, told)
        for call, body in (
            ("predict", {"instances": base64_of(images)}),
            (
                "classify",
                {"signature_name": signatures.CLASSIFY, "examples": examples},
            ),
        ):
            path = f"/v1/models/animals:{call}"
            answer = ask(server.rest_port, "POST", path, body)
            assert answer == (429, {"error": told})


def test_rows_are_answered_in_order_and_named_by_their_number(tree):
    images = encoded(slices.FIRST_ROWS * 2 + 3)
    with connected(tree) as channel:
        whole = predict(channel, images).result().outputs
        last = predict(channel, images[-3:]).result().outputs
        for alias in "classes", "path":
            rows = tf.make_ndarray(whole[alias])
            assert len(rows) == len(images)
            assert (rows[-3:] == tf.make_ndarray(last[alias])).all()
        images[slices.FIRST_ROWS + 5] = b"x"
        _, told = code_of(predict(channel, images))
    assert told.startswith(f"row {slices.FIRST_ROWS + 5} of the request is")


def test_only_so_many_wait(toiling_server):
    with connected(toiling_server) as channel:
        calls = [predict(channel, [toiling.FOR_EVER], 3) for _ in range(3)]
        pool = toiling_server._services._pool
        until(lambda: pool._waiting == 2)
        assert code_of(predict(channel, [b"1"])) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "2 requests wait already; try again later, or start the server "
            "with a larger --max_queued_requests",
        )
        check_all_answer(channel)
        for call in calls:
            code_of(call)
        assert predict(channel, [b"1"]).result().outputs


@pytest.mark.slow
def test_only_so_many_wait_over_rest(toiling_server):
    path = "/v1/models/animals:predict"
    statuses = []

    def send(row):
        body = {"instances": base64_of([row])}
        status, told = ask(toiling_server.rest_port, "POST", path, body)
        statuses.append(status)
        return told

    long = TURNS + b"0"
    waiting = [threading.Thread(target=send, args=(long,)) for _ in range(3)]
    for thread in waiting:
        thread.start()
    pool = toiling_server._rest._application._pool
    until(lambda: pool._waiting == 2)
    assert "2 requests wait already" in send(b"1")["error"]
    assert statuses == [429]
    status, _ = ask(toiling_server.rest_port, "GET", "/v1/models/animals")
    assert status == 200
    for thread in waiting:
        thread.join()
    assert statuses == [429, 200, 200, 200]


def is_idle(server):
    return not server.is_busy


@pytest.mark.parametrize(
    "rows",
    [
        [toiling.FOR_EVER],
        pytest.param([TURNS] * 200, marks=pytest.mark.slow),
    ],
)
def test_a_deadline_ends_the_work(toiling_server, rows):
    with connected(toiling_server) as channel:
        call = predict(channel, rows, timeout=0.5)
        assert code_of(call)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
        until(lambda: is_idle(toiling_server), seconds=3)
        assert predict(channel, [b"1"]).result().outputs


def test_a_client_that_goes_away_ends_the_work(toiling_server):
    rows = [TURNS] * 200  # some 20 s
    with connected(toiling_server) as channel:
        call = predict(channel, rows)
        until(lambda: toiling_server.is_busy)
        call.cancel()
        until(lambda: is_idle(toiling_server), seconds=8)


@pytest.mark.slow
def test_a_http_client_that_goes_away_ends_the_work(toiling_server):
    import http.client
    import json

    body = json.dumps({"instances": base64_of([TURNS] * 200)})
    port = toiling_server.rest_port
    client = http.client.HTTPConnection("127.0.0.1", port)
    client.request("POST", "/v1/models/animals:predict", body)
    until(lambda: toiling_server.is_busy)
    client.close()
    until(lambda: is_idle(toiling_server), seconds=8)


def test_a_request_runs_only_so_long(toiling_path):
    limits = Limits(request_seconds=0.5)
    with running(toiling_path, limits=limits) as server:
        with connected(server) as channel:
            code, told = code_of(predict(channel, [toiling.FOR_EVER]))
            assert code == grpc.StatusCode.DEADLINE_EXCEEDED
            assert "longer than it may (0.5 s)" in told
            assert "--max_request_seconds" in told
            until(lambda: is_idle(server), seconds=3)
        body = {"instances": base64_of([toiling.FOR_EVER])}
        path = "/v1/models/animals:predict"
        assert ask(server.rest_port, "POST", path, body) == (
            504,
            {"error": told},
        )


@pytest.mark.slow
def test_large_requests_do_not_take_all_threads_of_small_ones(toiling_path):
    rows = [toiling.FOR_EVER] * (slices.FIRST_ROWS + 1)
    count = (os.cpu_count() or 1) + 1
    with (
        running(toiling_path, num_threads=count + 1) as server,
        connected(server) as channel,
    ):
        large = [predict(channel, rows, timeout=4) for _ in range(count)]
        pool = server._services._pool
        until(lambda: len(pool._running) == count)
        assert predict(channel, [b"1"], timeout=3).result().outputs
        assert not any(call.done() for call in large)
        for call in large:
            code_of(call)


def test_long_requests_let_others_go_first(toiling_server):
    with connected(toiling_server) as channel:
        long = predict(channel, [b"4000"] * 200)
        until(lambda: toiling_server.is_busy)
        assert predict(channel, [b"1"]).result().outputs
        assert not long.done()
        outputs = long.result().outputs
    assert set(tf.make_ndarray(outputs["turns"])) == {4000}
