"""The server listens, and says whether it has a model."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hierkeras._errors import UserError
from hierkeras.serving.local.server import Server
from tests.serving import served_tree
from tests.serving.served_tree import publish

server = served_tree.server
base_path = served_tree.base_path


def test_health_is_that_of_the_model(base_path):
    server = Server("animals", str(base_path), "127.0.0.1", 0, 2, print)
    server.start(0)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)

            def health(service=""):
                request = health_pb2.HealthCheckRequest(service=service)
                return stub.Check(request).status

            answer = health_pb2.HealthCheckResponse
            assert health() == answer.NOT_SERVING
            publish(base_path, 1)
            server.versions.poll()
            assert health() == answer.SERVING
            prediction = "tensorflow.serving.PredictionService"
            assert health(prediction) == answer.SERVING
            with pytest.raises(grpc.RpcError) as caught:
                health("plants")
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    finally:
        server.stop(0)


def test_a_port_is_not_shared(server, base_path):
    with pytest.raises(UserError, match=f":{server.port}; is another"):
        Server("animals", str(base_path), "127.0.0.1", server.port, 1, print)


def test_rest_is_offered_only_if_it_is_asked_for(base_path):
    server = Server("animals", str(base_path), "127.0.0.1", 0, 1, print)
    assert server.rest_port is None
    server.stop(0)


def test_rest_shares_no_port_with_grpc(server, base_path):
    for port in server.rest_port, server.port:
        address = "127.0.0.1", 0
        with pytest.raises(UserError, match="another --rest_api_port"):
            Server(
                "animals", str(base_path), *address, 1, print, rest_port=port
            )


@pytest.mark.parametrize("rest_port", [None, 0])
@pytest.mark.parametrize(
    "host", ["nonsense host", "é", "1.2.3", "[::", "", "\0", "[::1]"]
)
def test_a_host_that_is_none_is_an_error(base_path, host, rest_port):
    try:
        made = Server(
            "animals", str(base_path), host, 0, 1, print, rest_port=rest_port
        )
    except UserError as error:
        assert "cannot listen on" in str(error)
    else:
        made.stop(0)  # some systems take it for any
