"""The proxy of export/: nginx with its configuration, before a real server."""

import concurrent.futures
import contextlib
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from hierkeras.serving.client.remote import RemoteModel
from hierkeras.serving.local.server import Server
from tests.serving import served_tree
from tests.serving.served_tree import encoded, publish

FOLDER = Path(__file__).resolve().parent.parent / "export"
CONFIG = (FOLDER / "nginx.conf").read_text()
NGINX = shutil.which("nginx")
MODEL = "hierkeras"
MODELS = f"/v1/models/{MODEL}"
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
real = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="needs nginx"),
]


class Proxy:
    """Where it listens."""

    def __init__(self, grpc_port, rest_port):
        self.address = f"127.0.0.1:{grpc_port}"
        self.rest = f"http://127.0.0.1:{rest_port}"

    def fetch(self, path, body=None):
        """The status and the answer over REST."""
        request = urllib.request.Request(self.rest + path, body)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


def free_ports(count):
    with contextlib.ExitStack() as stack:
        listening = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(count)
        ]
        return [each.getsockname()[1] for each in listening]


@contextlib.contextmanager
def proxied(folder, grpc_port, rest_port):
    """Runs nginx as it is configured, but for its addresses and folders."""
    ours = free_ports(2)
    config = CONFIG.replace("/tmp/", f"{folder}/")
    for theirs, inside, outside in (
        (grpc_port, 8500, ours[0]),
        (rest_port, 8501, ours[1]),
    ):
        config = config.replace(f"hierkeras:{inside}", f"127.0.0.1:{theirs}")
        config = config.replace(f"listen {inside}", f"listen {outside}")
    file = folder / "nginx.conf"
    file.write_text(config)
    command = [NGINX, "-p", str(folder), "-c", str(file), "-e", "stderr"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen([*command, "-g", "daemon off;"])
    proxy = Proxy(*ours)
    try:
        for port in ours:
            served_tree.until(lambda port=port: is_open(port))
        yield proxy
    finally:
        process.terminate()
        process.wait(10)


def is_open(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    base_path = tmp_path_factory.mktemp("serving")
    publish(base_path, 1)
    server = Server(
        MODEL, str(base_path), "127.0.0.1", 0, 4, print, rest_port=0
    )
    server.start(0)
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    try:
        with proxied(folder, server.port, server.rest_port) as proxy:
            yield proxy
    finally:
        server.stop(0)


@pytest.fixture
def channel(proxy):
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(proxy.address, options) as channel:
        yield channel


@pytest.fixture(autouse=True)
def rest_between(request):
    """Gives back what the rate of the test before took."""
    yield
    if "proxy" in request.fixturenames:
        time.sleep(2.5)


def body():
    import base64
    import json

    image = {"b64": base64.b64encode(encoded(1)[0]).decode()}
    return json.dumps({"instances": [image]}).encode()


class TestReal:
    pytestmark = real

    def test_clients_are_answered(self, proxy):
        (answer,) = RemoteModel(proxy.address, MODEL, 20).answer(encoded(1))
        assert answer.version == 1
        status, told = proxy.fetch(f"{MODELS}:predict", body())
        assert status == 200, told
        assert proxy.fetch(f"{MODELS}/versions/1:predict", body())[0] == 200

    def test_what_nobody_needs_does_not_pass(self, proxy, channel):
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        reload = model_management_pb2.ReloadConfigRequest()
        with pytest.raises(grpc.RpcError) as caught:
            stub.HandleReloadConfigRequest(reload, timeout=10)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert "proxy" in caught.value.details()
        for path in "/monitoring/prometheus/metrics", "/", f"{MODELS}/labels/x":
            assert proxy.fetch(path)[0] == 404
        assert proxy.fetch(MODELS, b"{}")[0] == 403

    def test_a_large_request_passes_and_a_larger_one_does_not(
        self, proxy, channel
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        codes = []
        for megabytes in 60, 65:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = MODEL
            image = b"x" * (megabytes * 2**20)
            request.inputs["image_bytes"].CopyFrom(
                tf.make_tensor_proto([image])
            )
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(request, timeout=60)
            codes.append(caught.value.code())
        # The first one is no image, and that is said by the server.
        assert codes == [grpc.StatusCode.INVALID_ARGUMENT, EXHAUSTED]
        status, told = proxy.fetch(f"{MODELS}:predict", b" " * (65 * 2**20))
        assert (status, b"64 MB" in told) == (413, True)

    def test_who_asks_too_often_is_refused_and_may_watch(self, proxy, channel):
        def predict(_):
            return proxy.fetch(f"{MODELS}:predict", body())[0]

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            statuses = set(pool.map(predict, range(400)))
        assert statuses == {200, 429}
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = MODEL
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(encoded(1)))
        # Over gRPC it is the same client, and has spent the same.
        calls = [stub.Predict.future(request) for _ in range(200)]
        refused = [call for call in calls if call.code() == EXHAUSTED]
        assert refused
        assert "grpc-retry-pushback-ms" in dict(refused[0].trailing_metadata())
        for _ in range(300):
            check_watched(proxy, channel)

    def test_a_busy_proxy_is_asked_again(self, proxy, channel):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = MODEL
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(encoded(1)))
        calls = [stub.Predict.future(request) for _ in range(300)]
        assert EXHAUSTED in {call.code() for call in calls}
        (answer,) = RemoteModel(proxy.address, MODEL, 30).answer(encoded(1))
        assert answer.version == 1

    def test_no_server_is_unavailable(self, tmp_path):
        tmp_path.chmod(0o755)
        with proxied(tmp_path, *free_ports(2)) as proxy:
            with grpc.insecure_channel(proxy.address) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                with pytest.raises(grpc.RpcError) as caught:
                    stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert proxy.fetch(MODELS)[0] == 502


def check_watched(proxy, channel):
    health = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == answer.SERVING
    model = model_service_pb2_grpc.ModelServiceStub(channel)
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = MODEL
    assert model.GetModelStatus(status, timeout=10).model_version_status
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    metadata = get_model_metadata_pb2.GetModelMetadataRequest()
    metadata.model_spec.name = MODEL
    metadata.metadata_field.append("signature_def")
    assert stub.GetModelMetadata(metadata, timeout=10).metadata
    assert proxy.fetch(MODELS)[0] == 200
    assert proxy.fetch(f"{MODELS}/metadata")[0] == 200


class TestText:
    """Without nginx: what can be read off the files."""

    def test_blocks_and_statements_end(self):
        bare = re.sub(r"#.*|'[^']*'|\"[^\"]*\"|~ \S+", "", CONFIG)
        assert bare.count("{") == bare.count("}")
        for line in filter(None, map(str.strip, bare.splitlines())):
            assert line[-1] in "{};", line

    def test_both_deployments_run_it(self):
        compose = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())
        deployment, service = yaml.safe_load_all(
            (FOLDER / "kubernetes-proxy.yaml").read_text()
        )
        (pod,) = deployment["spec"]["template"]["spec"]["containers"]
        run = compose["services"]["proxy"]
        assert run["image"] == pod["image"]
        assert run["profiles"] == ["proxy"]
        (mount,) = pod["volumeMounts"]
        assert run["volumes"] == [f"./nginx.conf:{mount['mountPath']}:ro"]
        inside = [int(port.split(":")[1]) for port in run["ports"]]
        ports = [port["containerPort"] for port in pod["ports"]]
        assert inside == ports
        assert ports == [int(p) for p in re.findall(r"listen (\d+)", CONFIG)]
        assert ports == [port["port"] for port in service["spec"]["ports"]]
        # What it passes requests on to is the server, in both.
        upstream = re.findall(r"server (\w+):(\d+);", CONFIG)
        assert [int(port) for _, port in upstream] == ports
        server = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
        names = {each["metadata"]["name"] for each in server}
        assert {name for name, _ in upstream} == names
        assert names <= compose["services"].keys()
