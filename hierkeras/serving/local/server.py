"""Serves the versions of one model: for a laptop and for tests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from hierkeras._errors import UserError
from hierkeras.serving.local.grpc_server import GrpcServer
from hierkeras.serving.local.limits import Limits
from hierkeras.serving.local.model import ServedModel
from hierkeras.serving.local.rest_api import RestApi
from hierkeras.serving.local.rest_server import RestServer
from hierkeras.serving.local.services import Services
from hierkeras.serving.local.versions import Versions

# For what is left of connections once their requests are cut off.
_CLOSING_SECONDS = 1.0
_DEFAULT = Limits()


class Server:
    """Serves the latest version of a model, over gRPC and maybe over REST.

    Args:
        name: The model's name in requests.
        base_path: Folder of its versions.
        host: Address to listen on.
        port: Port to listen on; 0: any that is free.
        num_threads: Most requests that run at once over each of them.
        say: Is told, a line at a time, what happens.
        limits: What requests may cost.
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
        limits: Limits = _DEFAULT,
        rest_port: int | None = None,
        trust: bool = False,
    ) -> None:
        self.versions = Versions(
            base_path,
            say,
            lambda is_serving: self._grpc.set_health(is_serving),
            trust,
        )
        model = ServedModel(name, self.versions)
        self._services = Services(model, num_threads, limits)
        self._grpc = GrpcServer(
            self._services, f"{host}:{port}", limits.message_bytes
        )
        self.port = self._grpc.port
        self.rest_port: int | None = None
        self._rest: RestServer | None = None
        if rest_port is not None:
            listener = _listening(host, rest_port)
            self.rest_port = listener.getsockname()[1]
            self._rest = RestServer(
                RestApi(model), listener, num_threads, limits
            )
        self._stopping = threading.Event()
        self._polling: threading.Thread | None = None
        self._is_looking = False

    @property
    def is_busy(self) -> bool:
        """Whether a request still runs, or a version is still loaded."""
        rest_is_busy = self._rest is not None and self._rest.is_busy
        return self._is_looking or self._services.is_busy or rest_is_busy

    def start(self, poll_seconds: float) -> None:
        """Loads what is there, then listens and looks for more.

        Args:
            poll_seconds: Between two looks for new versions; 0: only one.
        """
        self._look()
        if self._stopping.is_set():
            return
        self._grpc.start()
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
        self._grpc.begin_stop(grace_seconds)
        if self._rest is not None:
            self._rest.begin_stop(grace_seconds)
            self._rest.wait(grace_seconds + _CLOSING_SECONDS)
        self._grpc.wait(grace_seconds + _CLOSING_SECONDS)
        if self._polling is not None:
            self._polling.join(_CLOSING_SECONDS)
        self.versions.close()

    def _poll(self, seconds: float) -> None:
        while not self._stopping.wait(seconds):
            self._look()

    def _look(self) -> None:
        self._is_looking = True
        try:
            self.versions.poll()
        finally:
            self._is_looking = False


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
