"""Serves the versions of one model: for a laptop and for tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from hierkeras._errors import UserError
from hierkeras.serving.local.model import ServedModel
from hierkeras.serving.local.rest_api import RestApi
from hierkeras.serving.local.rest_server import RestServer
from hierkeras.serving.local.services import ModelService, PredictionService
from hierkeras.serving.local.versions import Versions

# 16 photos of 4 MB. TensorFlow Serving takes 2 GB, and every client that
# connects may have it hold as much.
_MAX_MESSAGE_BYTES = 64 * 2**20
# For what is left of connections once their requests are cut off.
_CLOSING_SECONDS = 5.0
_SERVICES = (
    "",  # the server as a whole
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
)


class Server:
    """Serves the latest version of a model, over gRPC and maybe over REST.

    Args:
        name: The model's name in requests.
        base_path: Folder of its versions.
        host: Address to listen on.
        port: Port to listen on; 0: any that is free.
        num_threads: Most requests that run at once over each of them.
        say: Is told, a line at a time, what happens.
        max_message_bytes: Most bytes of a request.
        rest_port: Port for REST; 0: any that is free; None: there is no REST.
        trust: Whether versions may do more than an export can.

    Raises:
        UserError: If it cannot listen there.
    """

    def __init__(
        self,
        name: str,
        base_path: str,
        host: str,
        port: int,
        num_threads: int,
        say: Callable[[str], None],
        max_message_bytes: int = _MAX_MESSAGE_BYTES,
        rest_port: int | None = None,
        trust: bool = False,
    ) -> None:
        self._server = grpc.server(
            futures.ThreadPoolExecutor(num_threads),
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", -1),  # any
                # Otherwise two servers could share a port unnoticed.
                ("grpc.so_reuseport", 0),
            ],
        )
        self.port = self._listen(f"{host}:{port}")
        self.versions = Versions(base_path, say, self._set_health, trust)
        self._health = health.HealthServicer()
        self._set_health(False)
        model = ServedModel(name, self.versions)
        self._add_services(model)
        self.rest_port: int | None = None
        self._rest: RestServer | None = None
        if rest_port is not None:
            listener = _listening(host, rest_port)
            self.rest_port = listener.getsockname()[1]
            self._rest = RestServer(
                RestApi(model), listener, num_threads, max_message_bytes
            )
        self._stopping = threading.Event()
        self._polling: threading.Thread | None = None

    def start(self, poll_seconds: float) -> None:
        """Loads what is there, then listens and looks for more.

        Args:
            poll_seconds: Between two looks for new versions; 0: only one.
        """
        self.versions.poll()
        self._server.start()
        if self._rest is not None:
            self._rest.start()
        if poll_seconds:
            # Does not keep the process: a version may take long to load.
            self._polling = threading.Thread(
                target=self._poll, args=(poll_seconds,), daemon=True
            )
            self._polling.start()

    def stop(self, grace_seconds: float) -> None:
        """Takes no more requests, and waits for those that run.

        Args:
            grace_seconds: How long; what runs then is cut off.
        """
        self._stopping.set()
        self._health.enter_graceful_shutdown()
        if self._rest is not None:
            self._rest.begin_stop(grace_seconds)
        # gRPC waits for connections, too; whoever keeps one must not keep us.
        self._server.stop(grace_seconds).wait(grace_seconds + _CLOSING_SECONDS)
        if self._rest is not None:
            self._rest.wait(grace_seconds + _CLOSING_SECONDS)
        if self._polling is not None:
            self._polling.join(grace_seconds)
        self.versions.close()

    def _add_services(self, model: ServedModel) -> None:
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(model), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(model), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def _listen(self, address: str) -> int:
        try:
            return self._server.add_insecure_port(address)
        except RuntimeError:
            raise UserError(
                f"cannot listen on {address}; is another server running "
                "there? give another --port, or --port=0 for any that is free"
            ) from None

    def _poll(self, seconds: float) -> None:
        while not self._stopping.wait(seconds):
            self.versions.poll()

    def _set_health(self, is_serving: bool) -> None:
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if is_serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in _SERVICES:
            self._health.set(service, status)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that clients can connect to, and then wait."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.removeprefix("[").removesuffix("]"),
            port,
            type=socket.SOCK_STREAM,
        )[0]
        # With its protocol, or asyncio does not see that it is TCP, and lets
        # answers wait for acknowledgements (40 ms each).
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
        return listener
    except (OSError, ValueError):
        raise UserError(
            f"cannot listen on {host}:{port}; is another server running "
            "there? give another --rest_api_port"
        ) from None
