"""`python -m hierkeras.serve` as its user, and its clients, meet it."""

import dataclasses
import io
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from hierkeras import _common_flags, serve
from tests.serving import served_tree
from tests.serving.served_tree import (
    encoded,
    publish,
    serving,
    tag,
    until,
    versions_in,
)

base_path = served_tree.base_path


@pytest.fixture
def run_serve(run_main):
    """Runs it in this process, where other tests' binaries are loaded.

    Some of them cannot do without a work directory, which counts for all.
    """
    elsewhere = f"--{_common_flags.WORKDIR.name}=elsewhere"

    def run(*arguments):
        return run_main(serve, elsewhere, *arguments)

    return run


def ask(stub, images, timeout=30):
    """The version that an answer names, and those its classes come from."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "animals"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images))
    response = stub.Predict(request, timeout=timeout)
    classes = tf.make_ndarray(response.outputs["classes"])
    assert len(classes) == len(images)
    return response.model_spec.version.value, versions_in(classes)


def connect(address):
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    channel = grpc.insecure_channel(address)
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--model_base_path"),
        (["--model_base_path=d", "surplus"], "'surplus'"),
        (["--model_base_path=d", "--port=70000"], "--port"),
        (["--model_base_path=d", "--grpc_max_threads=0"], "max_threads"),
        (["--model_base_path=d", "--rest_api_port=-1"], "--rest_api_port"),
    ],
)
def test_flags_that_make_no_sense_are_refused(run_serve, arguments, named):
    run_serve(*arguments).check_refused(2, named)


def test_a_package_that_is_missing_is_named(run_serve, monkeypatch):
    monkeypatch.setattr(serve, "_NEEDED", ("no_such_package",))
    run_serve("--model_base_path=d").check_refused(
        1, "pip install", "grpcio-health-checking", "uvicorn"
    )


def test_a_version_as_base_path_is_named(run_serve, base_path):
    version = publish(base_path, 2)
    run_serve(f"--model_base_path={version}").check_refused(
        1, "is itself a version", f"--model_base_path={base_path}"
    )


@pytest.mark.parametrize("flag", ["--port", "--rest_api_port"])
def test_a_port_in_use_is_named(run_serve, base_path, flag):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = run_serve(
            f"--model_base_path={base_path}", "--port=0", f"{flag}={port}"
        )
    assert outcome.status == 1
    error = outcome.stderr.splitlines()[-1]
    assert error.startswith(f"error: cannot listen on 127.0.0.1:{port}; ")
    assert f"give another {flag}" in error


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def ask_over_rest(port, image):
    """What `export/rest_client.py` prints."""
    return subprocess.run(
        [
            *(sys.executable, served_tree.ROOT / "export" / "rest_client.py"),
            *(f"--server=127.0.0.1:{port}", "--model=animals", image),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_says_what_it_does_from_start_to_end(base_path, tmp_path):
    folder = tmp_path / "later"
    rest_port = free_port()
    image = tmp_path / "image.png"
    image.write_bytes(*encoded(1))
    with serving(folder, f"--rest_api_port={rest_port}") as server:
        stub = connect(server.address)
        nothing = ask_over_rest(rest_port, image)
        publish(base_path, 1)
        base_path.rename(folder)
        server.read_until("version 1 is served")
        assert ask(stub, encoded(2)) == (1, {1})
        (folder / "2").mkdir()
        server.read_until("version 2 .*\n")
        assert ask(stub, encoded(2)) == (1, {1})
        publish(folder, 3)
        server.read_until("version 3 is served")
        assert ask(stub, encoded(2)) == (3, {3})
        asked = ask_over_rest(rest_port, image)
        assert server.end(signal.SIGTERM) == 0
    assert nothing.returncode == 1
    assert nothing.stderr == (
        "error: 404: Servable not found for request: Latest(animals)\n"
    )
    assert asked.returncode == 0, asked.stderr
    file, name, score, path = asked.stdout.rstrip("\n").split("\t")
    assert (file, name[:6]) == (str(image), tag(3))
    assert 0.25 < float(score) < 1
    assert path.startswith("root/root.")
    first, missing, listening, over_rest, served, *rest = (
        server.said.splitlines()
    )
    assert "for a laptop and for tests" in first
    assert str(folder) in missing
    assert "waiting" in missing
    assert listening == f"listening on {server.address}"
    assert over_rest == f"REST on http://127.0.0.1:{rest_port}/v1/models/"
    assert served == "version 1 is served"
    broken, newest, stopped = rest
    assert "version 2 does not load; version 1 stays" in broken
    assert newest == "version 3 is served"
    assert stopped == "stopped"


@pytest.mark.slow
def test_what_runs_is_finished_when_it_is_told_to_stop(base_path):
    from PIL import Image

    publish(base_path, 1)
    file = io.BytesIO()
    Image.new("RGB", (3000, 3000), "red").save(file, "PNG")
    image = file.getvalue()  # small to send, and long to decode
    found = []
    with serving(base_path) as server:
        stub = connect(server.address)
        ask(stub, [image])
        began = time.monotonic()
        ask(stub, [image] * 8)
        seconds = (time.monotonic() - began) / 8
        images = [image] * math.ceil(1.5 / seconds)
        asking = threading.Thread(
            target=lambda: found.append(ask(stub, images))
        )
        asking.start()
        time.sleep(0.5)
        assert asking.is_alive()
        assert server.end(signal.SIGINT) == 0
        asking.join()
    assert found == [(1, {1})]
    assert server.said.endswith("stopped\n")


@dataclasses.dataclass
class Load:
    """What clients met while versions were swapped."""

    answered: dict = dataclasses.field(default_factory=dict)
    mixed: list = dataclasses.field(default_factory=list)
    failed: list = dataclasses.field(default_factory=list)


def swap_under_load(base_path, clients, versions, pause):
    """Publishes versions one after another while clients ask all the time."""
    publish(base_path, 1)
    load = Load()
    stop = threading.Event()
    with serving(base_path) as server:
        address = server.address

        def ask_on(seed):
            stub = connect(address)
            images = encoded(5, seed)
            while not stop.is_set():
                try:
                    version, found = ask(stub, images[: 1 + seed % 5])
                except Exception as error:
                    load.failed.append(error)
                    return
                load.answered[version] = load.answered.get(version, 0) + 1
                if found != {version}:
                    load.mixed.append((version, found))

        threads = [
            threading.Thread(target=ask_on, args=(seed,))
            for seed in range(clients)
        ]
        for thread in threads:
            thread.start()
        for version in range(2, 2 + versions):
            time.sleep(pause)
            publish(base_path, version)
            until(lambda version=version: version in load.answered)
        time.sleep(pause)
        stop.set()
        for thread in threads:
            thread.join()
        memory = _memory(server.process.pid)
        assert server.end() == 0
    return load, server.said, memory


def _memory(pid):
    import psutil

    return psutil.Process(pid).memory_info().rss


def check_swapped(load, said, versions):
    assert not load.failed, load.failed
    assert not load.mixed, load.mixed
    assert sorted(load.answered) == list(range(1, 2 + versions))
    assert "does not load" not in said
    for version in range(1, 2 + versions):
        assert said.count(f"version {version} is served\n") == 1


@pytest.mark.slow
def test_versions_are_swapped_under_load(base_path):
    load, said, _ = swap_under_load(base_path, 2, 3, 0.3)
    check_swapped(load, said, 3)


@pytest.mark.slow
def test_versions_are_swapped_under_load_for_a_minute(base_path):
    load, said, memory = swap_under_load(base_path, 8, 5, 10)
    check_swapped(load, said, 5)
    assert sum(load.answered.values()) > 1000
    assert memory < 2e9


@pytest.mark.slow
def test_digits_from_images_to_labels(run_binary, tmp_path):
    from PIL import Image
    from sklearn.datasets import load_digits

    workdir = tmp_path / "workdir"
    grown = run_binary(
        "increment", "--flagfile=flags/digits.flags", f"--workdir={workdir}"
    )
    assert grown.status == 0, grown.stderr
    digits = load_digits()
    for number, pixels in enumerate(digits.images[:200]):
        image = Image.fromarray(np.round(pixels * 255 / 16).astype(np.uint8))
        (tmp_path / "digits").mkdir(exist_ok=True)
        image.save(tmp_path / "digits" / f"{number:03}.png")
    with serving(workdir / "serving") as server:
        asked = run_binary(
            "predict",
            f"--server={server.address}",
            "--model=animals",
            "--format=json",
            str(tmp_path / "digits"),
        )
        assert server.end() == 0
    assert (asked.status, asked.stderr) == (0, "")
    found = [row["classes"][0] for row in json.loads(asked.stdout)["answers"]]
    right = np.array(found, int) == digits.target[:200]
    assert len(right) == 200
    assert right.mean() > 0.97


MODEL_SERVER = shutil.which("tensorflow_model_server")


@pytest.mark.skipif(
    MODEL_SERVER is None, reason="tensorflow_model_server is not on PATH"
)
def test_tensorflow_serving_answers_the_same(base_path, tmp_path):
    from hierkeras.serving.client.remote import RemoteModel
    from hierkeras.serving.client.saved_model import LocalModel

    folder = publish(base_path, 1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            [
                MODEL_SERVER,
                f"--port={port}",
                "--model_name=animals",
                f"--model_base_path={base_path}",
            ],
            stdout=log,
            stderr=log,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"},
        )
    try:
        remote = RemoteModel(f"127.0.0.1:{port}", "animals", 10)
        images = encoded(5)

        def answers():
            try:
                remote.answer(images)
            except Exception:
                return False
            return True

        until(answers, 60)
        for far, near in zip(
            remote.answer(images),
            LocalModel(str(folder)).answer(images),
            strict=True,
        ):
            assert (far.classes, far.path) == (near.classes, near.path)
            assert far.scores == pytest.approx(near.scores, abs=1e-5)
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_a_version_of_somebody_else_is_served_only_if_trusted(
    base_path, tmp_path
):
    from tests.serving.trust import others

    (tmp_path / "elsewhere").mkdir()
    places = others.Places(tmp_path / "elsewhere")
    others.writes_when_loaded(base_path / "1", places)
    with serving(base_path) as running:
        said = running.read_until("version 1 does not load; nothing is served")
        assert "operation WriteFile" in running.read_until("--trust", 5), said
        assert not places.written.exists()
    with serving(base_path, "--trust") as running:
        running.read_until("version 1 is served")
        assert places.written.exists()
