"""What an operator deploys: it parses, agrees with itself, and answers."""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

FOLDER = Path(__file__).resolve().parent.parent / "export"
MODEL = "hierkeras"
BASE_PATH = f"/models/{MODEL}"
GRPC_PORT, REST_PORT = 8500, 8501

# The wheel has no definitions of these. From
# https://github.com/tensorflow/serving, tensorflow_serving/config/
# monitoring_config.proto, ssl_config.proto and
# servables/tensorflow/session_bundle_config.proto; numbers do not matter here.
_MESSAGES = {
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "SSLConfig": {
        "server_key": "string",
        "server_cert": "string",
        "custom_ca": "string",
        "client_verify": "bool",
    },
    "BatchingParameters": {
        "max_batch_size": "Int64Value",
        "batch_timeout_micros": "Int64Value",
        "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value",
        "thread_pool_name": "StringValue",
        "enable_large_batch_splitting": "BoolValue",
        "max_execution_batch_size": "Int64Value",
    },
    "Int64Value": {"value": "int64"},
    "BoolValue": {"value": "bool"},
    "StringValue": {"value": "string"},
}


def message(name):
    """An empty message, built from the table above."""
    file = descriptor_pb2.FileDescriptorProto(
        name="export_folder.proto", package="test", syntax="proto3"
    )
    for each, fields in _MESSAGES.items():
        described = file.message_type.add(name=each)
        for number, (field, kind) in enumerate(fields.items(), 1):
            added = described.field.add(name=field, number=number, label=1)
            if kind in _MESSAGES:
                added.type, added.type_name = 11, f".test.{kind}"
            else:
                added.type = {"int64": 3, "bool": 8, "string": 9}[kind]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"test.{name}")
    )()


def parse(file, into):
    return text_format.Parse(Path(file).read_text(), into)


@pytest.fixture(scope="module")
def compose():
    document = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())
    return document["services"][MODEL]


@pytest.fixture(scope="module")
def kubernetes():
    documents = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    return {document["kind"]: document for document in documents}


@pytest.fixture(scope="module")
def pod(kubernetes):
    return kubernetes["Deployment"]["spec"]["template"]["spec"]


class TestTextProtos:
    def test_models(self):
        from tensorflow_serving.config import model_server_config_pb2

        config = parse(
            FOLDER / "models.config",
            model_server_config_pb2.ModelServerConfig(),
        )

        (model,) = config.model_config_list.config
        assert (model.name, model.base_path) == (MODEL, BASE_PATH)
        assert model.model_platform == "tensorflow"
        assert model.model_version_policy.latest.num_versions == 1

    @pytest.mark.parametrize("file", ["models.config", "README.md"])
    def test_the_policy_that_rolls_back(self, file):
        from tensorflow_serving.config import model_server_config_pb2

        (policy,) = re.findall(
            r"model_version_policy \{ specific .*\} \}",
            (FOLDER / file).read_text(),
        )
        config = text_format.Parse(
            policy, model_server_config_pb2.ModelConfig()
        )

        assert list(config.model_version_policy.specific.versions) == [3]

    def test_batching_admits_the_largest_warm_up(self):
        from hierkeras.serving.checks import warmup

        config = parse(
            FOLDER / "batching.config", message("BatchingParameters")
        )

        assert config.max_batch_size.value >= warmup._MOST
        assert config.enable_large_batch_splitting.value
        assert 0 < config.max_execution_batch_size.value <= 1024

    def test_metrics_are_where_they_are_looked_for(self, kubernetes):
        config = parse(
            FOLDER / "prometheus.config", message("MonitoringConfig")
        )
        template = kubernetes["Deployment"]["spec"]["template"]
        notes = template["metadata"]["annotations"]

        assert config.prometheus_config.enable
        assert notes["prometheus.io/path"] == config.prometheus_config.path
        assert notes["prometheus.io/port"] == str(REST_PORT)
        assert (
            config.prometheus_config.path in (FOLDER / "README.md").read_text()
        )

    def test_tls_holds_no_real_key(self):
        config = parse(FOLDER / "tls.config", message("SSLConfig"))

        assert config.server_key.split("\n")[1] == "..."
        assert config.server_cert.split("\n")[1] == "..."
        assert not config.client_verify

    def test_a_field_that_does_not_exist_is_found(self):
        with pytest.raises(text_format.ParseError):
            text_format.Parse("enable: true", message("MonitoringConfig"))


class TestContainers:
    def test_both_run_the_same_pinned_image(self, compose, pod):
        (container,) = pod["containers"]

        assert container["image"] == compose["image"]
        assert re.fullmatch(
            r"tensorflow/serving:\d+\.\d+\.\d+", compose["image"]
        )
        assert compose["image"] in (FOLDER / "README.md").read_text()

    def test_both_give_the_same_flags(self, compose, pod):
        assert compose["command"] == pod["containers"][0]["args"]

    def test_flags_name_files_that_are_mounted(self, compose, pod):
        files = [
            Path(flag.split("=")[1])
            for flag in compose["command"]
            if "config_file=" in flag
        ]
        mounts = {
            mount["name"]: mount["mountPath"]
            for mount in pod["containers"][0]["volumeMounts"]
        }

        assert len(files) == 2
        for file in files:
            assert str(file.parent) == mounts["config"] == "/config"
            assert (FOLDER / file.name).exists()
            for text in ("kubernetes.yaml", "README.md"):
                assert f"{file.name}" in (FOLDER / text).read_text()
        assert ".:/config:ro" in compose["volumes"]
        assert mounts["serving"] == BASE_PATH
        assert any(
            volume.endswith(f"}}:{BASE_PATH}:ro")
            for volume in compose["volumes"]
        )
        assert set(mounts) == {volume["name"] for volume in pod["volumes"]}

    def test_ports(self, compose, kubernetes, pod):
        ports = {"grpc": GRPC_PORT, "rest": REST_PORT}
        service = kubernetes["Service"]["spec"]["ports"]

        assert compose["ports"] == [
            f"${{SERVER_ADDRESS:-0.0.0.0}}:{p}:{p}" for p in ports.values()
        ]
        assert ports == {
            port["name"]: port["containerPort"]
            for port in pod["containers"][0]["ports"]
        }
        assert ports == {port["name"]: port["port"] for port in service}
        assert all(port["targetPort"] == port["name"] for port in service)

    def test_labels(self, kubernetes):
        spec = kubernetes["Deployment"]["spec"]

        assert (
            spec["selector"]["matchLabels"]
            == spec["template"]["metadata"]["labels"]
            == kubernetes["Service"]["spec"]["selector"]
        )

    def test_probes(self, compose, pod):
        status = f"/v1/models/{MODEL}"
        (container,) = pod["containers"]
        probes = {
            name: container[f"{name}Probe"]["httpGet"]
            for name in ("startup", "readiness", "liveness")
        }

        assert all(probe["port"] == "rest" for probe in probes.values())
        assert probes["startup"]["path"] == probes["liveness"]["path"] == status
        assert probes["readiness"]["path"] == f"{status}/metadata"
        check = compose["healthcheck"]["test"]
        assert f"/dev/tcp/127.0.0.1/{REST_PORT}" in check[-1]
        assert f"GET {status}/metadata HTTP/1.0\\r\\n\\r\\n" in check[-1]

    def test_an_update_keeps_every_pod_and_lets_requests_end(
        self, kubernetes, pod
    ):
        spec = kubernetes["Deployment"]["spec"]
        (container,) = pod["containers"]
        pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])

        assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert pause < pod["terminationGracePeriodSeconds"]
        assert {"requests", "limits"} == set(container["resources"])

    @pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
    @pytest.mark.parametrize("status", [200, 404])
    def test_the_compose_health_check_tells_a_loaded_model(
        self, compose, status
    ):
        command, *rest = compose["healthcheck"]["test"]
        assert command == "CMD"

        with rest_server(lambda path, body: (status, {})) as (port, requests):
            rest[-1] = rest[-1].replace(str(REST_PORT), str(port))
            done = subprocess.run(rest, timeout=30)

        assert (done.returncode == 0) == (status == 200)
        assert requests[0][0] == f"/v1/models/{MODEL}/metadata"


ANSWERS = {
    b"first": (["ant", "bee"], [0.75, 0.25], "root/root.1"),
    b"second": (["bee", ""], [1.0, 0.0], "root/root.2"),
    b"bad": (["", ""], [0.0, 0.0], ""),
}
PRINTED = [
    "ant\t0.7500\troot/root.1",
    "bee\t1.0000\troot/root.2",
    "\t0.0000\t",
]


@pytest.fixture
def files(tmp_path):
    paths = []
    for content in ANSWERS:
        paths.append(tmp_path / f"{content.decode()}.jpg")
        paths[-1].write_bytes(content)
    return [str(path) for path in paths]


def run_client(name, *arguments):
    return subprocess.run(
        [sys.executable, str(FOLDER / name), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


@contextlib.contextmanager
def grpc_server(credentials=None):
    """Answers Predict from the table; refuses other models."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import (
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            if request.model_spec.name != MODEL:
                context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
            assert request.model_spec.signature_name == "serving_default"
            assert list(request.inputs) == ["image_bytes"]
            images = tf.make_ndarray(request.inputs["image_bytes"])
            assert images.ndim == 1
            rows = [ANSWERS[image] for image in images]
            response = predict_pb2.PredictResponse()
            for name, values in zip(
                ("classes", "scores", "path"),
                zip(*rows, strict=True),
                strict=True,
            ):
                kind = np.float32 if name == "scores" else None
                response.outputs[name].CopyFrom(
                    tf.make_tensor_proto(np.array(values, kind))
                )
            return response

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        Service(), server
    )
    address = "localhost:0"
    port = (
        server.add_secure_port(address, credentials)
        if credentials
        else server.add_insecure_port(address)
    )
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None).wait()


@contextlib.contextmanager
def rest_server(answer):
    """Yields its port and what it was asked, as (path, body)."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            size = int(self.headers.get("Content-Length") or 0)
            requests.append((self.path, self.rfile.read(size)))
            status, body = answer(*requests[-1])
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class TestClients:
    @pytest.mark.parametrize("name", ["grpc_client.py", "rest_client.py"])
    def test_defaults_are_those_of_the_other_files(self, name):
        text = (FOLDER / name).read_text()
        port = GRPC_PORT if name.startswith("grpc") else REST_PORT

        assert f'"--server", default="localhost:{port}"' in text
        assert f'"--model", default="{MODEL}"' in text
        assert "import hierkeras" not in text

    @pytest.mark.slow
    def test_grpc(self, files):
        with grpc_server() as server:
            arguments = ("grpc_client.py", f"--server={server}", *files)
            with concurrent.futures.ThreadPoolExecutor() as pool:
                other = pool.submit(run_client, *arguments, "--model=x")
                done = run_client(*arguments)
            other = other.result()

        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            f"{file}\t{line}" for file, line in zip(files, PRINTED, strict=True)
        ]
        assert other.returncode == 1
        assert "error: NOT_FOUND: no such model" in other.stderr

    @pytest.mark.slow
    @pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
    def test_grpc_with_tls(self, files, tmp_path):
        import grpc

        folder = tmp_path / "secrets"
        subprocess.run(
            ["sh", FOLDER / "make_tls_config.sh", "localhost", folder],
            check=True,
            timeout=60,
        )
        config = parse(folder / "tls.config", message("SSLConfig"))
        assert (folder / "tls.config").stat().st_mode & 0o077 == 0
        pair = config.server_key.encode(), config.server_cert.encode()
        certificate = f"--ca_certificate={folder / 'server.crt'}"

        with grpc_server(grpc.ssl_server_credentials([pair])) as server:
            done = run_client(
                "grpc_client.py", f"--server={server}", certificate, *files
            )

        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == len(files)

    def test_rest(self, files):
        def answer(path, body):
            if path != f"/v1/models/{MODEL}:predict":
                return 404, {"error": "no such model"}
            sent = json.loads(body)
            assert sent.pop("signature_name") == "serving_default"
            assert list(sent) == ["instances"]
            rows = [
                ANSWERS[base64.b64decode(each["image_bytes"]["b64"])]
                for each in sent["instances"]
            ]
            names = ("classes", "scores", "path")
            return 200, {
                "predictions": [
                    dict(zip(names, row, strict=True)) for row in rows
                ]
            }

        with rest_server(answer) as (port, _):
            server = f"--server=127.0.0.1:{port}"
            done = run_client("rest_client.py", server, *files)
            other = run_client("rest_client.py", server, "--model=x", *files)

        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            f"{file}\t{line}" for file, line in zip(files, PRINTED, strict=True)
        ]
        assert other.returncode == 1
        assert other.stderr.startswith("error: 404: ")

    def test_rest_needs_a_server(self, files):
        done = run_client("rest_client.py", "--server=127.0.0.1:9", *files)

        assert done.returncode == 1
        assert done.stderr.startswith("error: 127.0.0.1:9: ")
        assert done.stderr.count("\n") == 1


class TestReadme:
    def test_names_every_file(self):
        text = (FOLDER / "README.md").read_text()

        for file in FOLDER.iterdir():
            if file.is_file() and file.name != "README.md":
                assert f"`{file.name}`" in text, file.name

    def test_signatures_are_those_that_are_exported(self):
        from hierkeras.recipe.serving import BAD_IMAGES, Serving
        from hierkeras.serving.graph import signatures

        text = (FOLDER / "README.md").read_text()

        for name in (
            signatures.SERVING_DEFAULT,
            signatures.PREDICT_IMAGES,
            signatures.CLASSIFY,
            signatures.EXAMPLE_IMAGE,
            *BAD_IMAGES,
            f"{Serving().max_pixels:,}",
        ):
            assert name in text
