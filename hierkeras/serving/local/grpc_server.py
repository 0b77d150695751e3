"""Listens for gRPC, in a thread of its own.

Everything that waits (for a connection, a request, a free thread) waits in one
event loop; only what computes has a thread. So clients that hold calls open
keep nobody from being answered.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from hierkeras._errors import UserError
from hierkeras.serving.local.services import (
    MODEL_SERVICE,
    PREDICTION_SERVICE,
    Services,
)

_Result = TypeVar("_Result")
_NAMES = ("", PREDICTION_SERVICE, MODEL_SERVICE)  # "": the server as a whole
_MAX_STREAMS = 128
_HANDSHAKE_MS = 10_000
_IDLE_MS = 300_000
_KEEPALIVE_MS = 60_000
_ANSWER_SECONDS = 10.0


class GrpcServer:
    """Answers calls, and health checks.

    Args:
        services: Answer.
        address: HOST:PORT to listen on; port 0: any that is free.
        max_message_bytes: Most bytes of a request.

    Raises:
        UserError: If it cannot listen there.
    """

    def __init__(
        self, services: Services, address: str, max_message_bytes: int
    ) -> None:
        self._services = services
        self._health = health.aio.HealthServicer()
        self._loop = asyncio.new_event_loop()
        self._is_stopping = False
        threading.Thread(target=self._run, name="grpc", daemon=True).start()
        try:
            self.port = self._do(self._listen(address, max_message_bytes))
        except RuntimeError:
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise UserError(
                f"cannot listen on {address}; is another server running "
                "there? give another --port, or --port=0 for any that is free"
            ) from None
        self.set_health(False)

    def start(self) -> None:
        """Answers from now on."""
        self._do(self._server.start())

    def set_health(self, is_serving: bool) -> None:
        """Says from now on whether there is a model to ask.

        Args:
            is_serving: Whether there is.
        """
        if self._is_stopping:
            return
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if is_serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in _NAMES:
            self._submit(self._health.set(name, status))

    def begin_stop(self, grace_seconds: float) -> None:
        """Takes no more requests.

        Args:
            grace_seconds: How long those that run may go on.
        """
        self._is_stopping = True
        self._do(self._health.enter_graceful_shutdown())
        self._stopped = self._submit(self._server.stop(grace_seconds))

    def wait(self, seconds: float) -> None:
        """Waits for what `begin_stop` began.

        Args:
            seconds: How long at most.
        """
        try:
            self._stopped.result(seconds)
        except TimeoutError:  # whoever keeps a connection must not keep us
            return
        finally:
            self._services.close()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        self._loop.run_forever()
        # What is forgotten half done would be told of, after the last word.
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            ended = asyncio.wait(left, timeout=_ANSWER_SECONDS)
            self._loop.run_until_complete(ended)
        self._loop.close()

    async def _listen(self, address: str, max_message_bytes: int) -> int:
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", -1),  # any
                # Otherwise two servers could share a port unnoticed.
                ("grpc.so_reuseport", 0),
                ("grpc.max_concurrent_streams", _MAX_STREAMS),
                ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
                ("grpc.max_connection_idle_ms", _IDLE_MS),
                # Closes what a client left without a word.
                ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ],
        )
        self._server.add_generic_rpc_handlers(self._services.handlers())
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        return self._server.add_insecure_port(address)

    def _do(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Does in the event loop what belongs there."""
        return self._submit(work).result(_ANSWER_SECONDS)

    def _submit(self, work: Coroutine[Any, Any, _Result]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
