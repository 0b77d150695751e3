"""As many requests as a day has seconds, whose server stays as it was.

HIERKERAS_REQUESTS=86400 python -m pytest --slow -rP \\
    tests/serving/local/test_day.py
"""

import concurrent.futures
import dataclasses
import http.client
import io
import itertools
import json
import os
import socket
import time

import grpc
import numpy as np
import psutil
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.serving.local.asking import base64_of
from tests.serving.served_tree import serving

REQUESTS = int(os.environ.get("HIERKERAS_REQUESTS", "3000"))
CLIENTS = 4
PARTS = 10
MEMORY = 24 * 2**20
PATH = "/v1/models/animals"


@dataclasses.dataclass(frozen=True)
class Held:
    """What a process holds.

    Args:
        memory: Bytes.
        files: File descriptors.
        threads: How many.
    """

    memory: int
    files: int
    threads: int


def held(process):
    found = psutil.Process(process.pid)
    return Held(found.memory_info().rss, found.num_fds(), found.num_threads())


def picture(seed):
    file = io.BytesIO()
    bits = np.random.default_rng(seed)
    pixels = bits.integers(0, 256, (8, 8, 3), np.uint8)
    size = 8 + seed % 24, 8 + seed % 17  # as no two photos are the same
    image = Image.fromarray(pixels).resize(size)
    image.save(file, ("PNG", "JPEG", "WEBP", "GIF", "BMP")[seed % 5])
    return file.getvalue()


def request_of(alias, value, signature=""):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "animals"
    request.model_spec.signature_name = signature
    request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return request


def over_grpc(stub, number):
    """One request in ten is refused."""
    if number % 10 == 9:
        with pytest.raises(grpc.RpcError) as refused:
            stub.Predict(request_of("image_bytes", [b"no image"]), timeout=30)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    elif number % 10 == 8:
        images = np.full((1 + number % 3, 9, 9, 3), number % 256, np.uint8)
        request = request_of("images", images, "predict_images")
        assert stub.Predict(request, timeout=30).outputs
    else:
        request = request_of("image_bytes", [picture(number)])
        assert stub.Predict(request, timeout=30).outputs


def over_rest(connection, number):
    """As `over_grpc`; some ask about the model."""
    if number % 10 == 9:
        body, status = '{"instances": [', 400
    else:
        rows = base64_of([picture(number)])
        body, status = json.dumps({"instances": rows}), 200
    if number % 10 == 8:
        connection.request("GET", f"{PATH}/metadata")
    else:
        connection.request("POST", f"{PATH}:predict", body)
    response = connection.getresponse()
    assert response.status == status, response.read()
    response.read()


def ask_on(address, port, numbers):
    """A client's requests, over a new connection after each hundred."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    while some := list(itertools.islice(numbers, 100)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with grpc.insecure_channel(address, options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            for number in some:
                if number % 2:
                    over_grpc(stub, number // 2)
                else:
                    over_rest(connection, number // 2)
        connection.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.mark.slow
def test_a_day_of_requests_leaves_a_server_as_it_was(digits_tree):
    folder, port = digits_tree.workdir / "serving", free_port()
    with (
        serving(folder, f"--rest_api_port={port}") as server,
        concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients,
    ):
        address, seen = server.address, []
        for part in range(PARTS):
            began = time.monotonic()
            first, last = (REQUESTS * n // PARTS for n in (part, part + 1))
            numbers = iter(range(first, last))  # of all clients
            asked = [
                clients.submit(ask_on, address, port, numbers)
                for _ in range(CLIENTS)
            ]
            for each in asked:
                each.result()
            seen.append(held(server.process))
            rate = (last - first) / (time.monotonic() - began)
            print(f"{last} requests, {rate:.0f} a second, {seen[-1]}")
        # What is made once was made in the first part.
        before, *later = seen
        assert max(each.files for each in later) <= before.files + CLIENTS
        assert max(each.threads for each in later) <= before.threads + CLIENTS
        assert later[-1].memory - before.memory < MEMORY
        assert server.end() == 0
