"""Signals end `python -m hierkeras.serve`, whatever its model does."""

import contextlib
import signal
import time

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from hierkeras.serving.checks import warmup
from tests.serving import toiling
from tests.serving.served_tree import serving, until

GRACE_SECONDS = 5  # of the server


def endless_request():
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "animals"
    rows = tf.make_tensor_proto([toiling.FOR_EVER])
    request.inputs["image_bytes"].CopyFrom(rows)
    return request


@pytest.fixture
def base_path(tmp_path):
    toiling.write(tmp_path / "1")
    return tmp_path


def add_endless_warm_up(base_path):
    extra = base_path / "1" / "assets.extra"
    extra.mkdir()
    log = prediction_log_pb2.PredictLog(request=endless_request())
    with tf.io.TFRecordWriter(str(extra / warmup.FILE)) as writer:
        record = prediction_log_pb2.PredictionLog(predict_log=log)
        writer.write(record.SerializeToString())


def seconds_to_end(server):
    began = time.monotonic()
    server.said += server.process.communicate(timeout=30)[1].decode()
    return time.monotonic() - began


def toiled(server):
    """Seconds of a processor that it has used."""
    import psutil

    return sum(psutil.Process(server.process.pid).cpu_times()[:2])


@contextlib.contextmanager
def toiling_server(base_path):
    """A server that works on a request without end."""
    with (
        serving(
            base_path, "--file_system_poll_wait_seconds=0", "--trust"
        ) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        call = stub.Predict.future(endless_request())
        before = toiled(server)
        until(lambda: toiled(server) > before + 1)
        yield server
        call.cancel()


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)],
)
def test_the_second_signal_ends_it_at_once(base_path, number):
    with toiling_server(base_path) as server:
        server.process.send_signal(number)
        time.sleep(0.5)
        assert server.process.poll() is None
        server.process.send_signal(number)
        assert seconds_to_end(server) < 1
    assert server.process.returncode == -number


@pytest.mark.slow
def test_the_first_signal_ends_it_after_its_grace(base_path):
    with toiling_server(base_path) as server:
        server.process.send_signal(signal.SIGTERM)
        assert GRACE_SECONDS - 1 < seconds_to_end(server) < GRACE_SECONDS + 4
    assert server.process.returncode == 0
    assert "what still ran was cut off" in server.said


@pytest.mark.slow
def test_a_model_that_never_comes_up_can_be_ended(base_path):
    add_endless_warm_up(base_path)
    with serving(base_path, "--trust") as server:
        server.read_until("for a laptop")
        until(lambda: toiled(server) > 15)
        server.process.send_signal(signal.SIGTERM)
        assert seconds_to_end(server) < GRACE_SECONDS + 4
    assert server.process.returncode == 0
    assert "what still ran was cut off" in server.said
