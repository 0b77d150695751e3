"""Listens for HTTP and hands requests to the REST API.

What strangers may cost is bounded: connections, the seconds that a request may
take to arrive, and the bytes of one request and of all that are being read.
"""

from __future__ import annotations

import asyncio
import http
import math
import socket
import threading
import zlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    MutableMapping,
)
from typing import Any, TypeVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hierkeras.serving.local.errors import ServingError
from hierkeras.serving.local.limits import Budget, Limits
from hierkeras.serving.local.pool import Pool
from hierkeras.serving.local.rest_api import STATUSES, RestApi, error_body

_MAX_CONNECTIONS = 256
_HEAD_SECONDS = 10.0
_GZIP = 16 + zlib.MAX_WBITS

_Answer = TypeVar("_Answer")
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class _Refused(Exception):
    """A request whose body is not taken.

    Args:
        status: Of HTTP.
        message: What is wrong.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RestServer:
    """Answers over HTTP, in threads of its own.

    Args:
        api: Answers.
        listener: A socket that listens.
        num_threads: Most requests that are answered at once.
        limits: What requests may cost; a body also after it was decompressed.
    """

    def __init__(
        self,
        api: RestApi,
        listener: socket.socket,
        num_threads: int,
        limits: Limits,
    ) -> None:
        self._listener = listener
        self._application = _Application(api, num_threads, limits)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._application,
                http=_Protocol,
                loop="asyncio",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_MAX_CONNECTIONS,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), daemon=True
        )

    @property
    def is_busy(self) -> bool:
        """Whether something still runs."""
        return self._application.is_busy

    def start(self) -> None:
        """Answers from now on."""
        self._thread.start()

    def begin_stop(self, grace_seconds: float) -> None:
        """Takes no more requests.

        Args:
            grace_seconds: How long those that run may go on.
        """
        self._server.config.timeout_graceful_shutdown = math.ceil(grace_seconds)
        self._server.should_exit = True

    def wait(self, seconds: float) -> None:
        """Waits for what `begin_stop` began.

        Args:
            seconds: How long at most.
        """
        if self._thread.ident is None:  # it was never started
            self._listener.close()
        else:
            self._thread.join(seconds)
        self._application.close()


class _Protocol(H11Protocol):
    """HTTP to a client that has only so long to say what it wants."""

    def connection_made(  # type: ignore[override]
        self, transport: asyncio.Transport
    ) -> None:
        """Begins to wait for a first request."""
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self) -> None:
        """Begins to wait for the next one."""
        super().on_response_complete()
        self._expect_request()

    def _expect_request(self) -> None:
        before = self.cycle

        def close_if_none_came() -> None:
            if self.cycle is before:
                self.transport.close()

        self.loop.call_later(_HEAD_SECONDS, close_if_none_came)


class _Application:
    """The REST API as what uvicorn runs (an ASGI application).

    Args:
        api: Answers.
        num_threads: Most requests that are answered at once.
        limits: What they may cost.
    """

    def __init__(self, api: RestApi, num_threads: int, limits: Limits) -> None:
        self._api = api
        self._limits = limits
        self._max_bytes = limits.message_bytes
        # Of all bodies that are being read, or answered.
        self._room = limits.held_bytes
        self._pool = Pool("rest", num_threads, limits.queued, self._room)
        # Of its own, so that who watches the model is answered at any time.
        self._questions = Pool("rest-get", 1, limits.queued, self._room)

    @property
    def is_busy(self) -> bool:
        """Whether something still runs."""
        return self._pool.is_busy or self._questions.is_busy

    def close(self) -> None:
        """Takes no more; what runs is not waited for."""
        self._pool.close()
        self._questions.close()

    async def __call__(
        self, scope: _Message, receive: _Receive, send: _Send
    ) -> None:
        """Answers one request."""
        body = bytearray()
        try:
            await self._read(scope, receive, body)
            status, answer = await self._answer(scope, receive, body)
            await _respond(send, status, answer)
        except ServingError as error:
            await _respond(send, STATUSES[error.code], error_body(error.told))
        except _Refused as error:
            close = (b"connection", b"close")
            await _respond(send, error.status, error_body(str(error)), close)
        finally:
            self._room += len(body)

    async def _answer(
        self, scope: _Message, receive: _Receive, body: bytearray
    ) -> tuple[int, bytes]:
        path = scope["raw_path"]
        if scope["query_string"]:
            path += b"?" + scope["query_string"]
        method = scope["method"]
        budget = Budget(
            self._limits.rows,
            self._limits.request_seconds,
            self._limits.pixels,
        )

        def answer() -> tuple[int, bytes]:
            plain = _decompressed(scope, body, self._max_bytes)
            return self._api.answer(method, path.decode(), plain, budget)

        pool = self._questions if method == "GET" else self._pool
        budget.share(pool.way_giver())
        try:
            return await _while_connected(pool.run(answer, len(body)), receive)
        except (asyncio.CancelledError, _Refused):
            budget.cancel()
            raise

    async def _read(
        self, scope: _Message, receive: _Receive, body: bytearray
    ) -> None:
        """Reads the body. One that is refused is read, too, and dropped.

        For who has not sent all of a request may not see the answer to it.
        """
        refusal = None
        if int(_header(scope, b"content-length") or 0) > self._max_bytes:
            refusal = _too_large(self._max_bytes)
            if _header(scope, b"expect"):  # it asks before it sends
                raise refusal
        try:
            async with asyncio.timeout(self._limits.receive_seconds):
                async for chunk in _chunks(receive):
                    refusal = refusal or self._keep(chunk, body)
        except TimeoutError:
            raise _Refused(
                http.HTTPStatus.REQUEST_TIMEOUT,
                "the request did not arrive within "
                f"{self._limits.receive_seconds:g} s",
            ) from None
        if refusal:
            raise refusal

    def _keep(self, chunk: bytes, body: bytearray) -> _Refused | None:
        """Adds a part to the body, or tells why not and drops all of it."""
        if len(body) + len(chunk) > self._max_bytes:
            refusal = _too_large(self._max_bytes)
        elif len(chunk) > self._room:
            refusal = _Refused(
                http.HTTPStatus.SERVICE_UNAVAILABLE,
                "too many large requests at once; try again",
            )
        else:
            self._room -= len(chunk)
            body += chunk
            return None
        self._room += len(body)
        body.clear()
        return refusal


async def _while_connected(
    answer: Coroutine[Any, Any, _Answer], receive: _Receive
) -> _Answer:
    """Waits for an answer, unless the client goes away before."""
    answering = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(receive())
    try:
        await asyncio.wait(
            (answering, leaving), return_when=asyncio.FIRST_COMPLETED
        )
        if not answering.done():
            raise _gone()
        return answering.result()
    finally:
        leaving.cancel()
        answering.cancel()


async def _chunks(receive: _Receive) -> AsyncIterator[bytes]:
    """The parts of a request's body."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _gone()
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _gone() -> _Refused:
    return _Refused(http.HTTPStatus.BAD_REQUEST, "the client went away")


def _too_large(max_bytes: int) -> _Refused:
    return _Refused(
        http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the request is larger than {max_bytes / 2**20:g} MB; send fewer "
        "images, or start the server with a larger --max_message_mb",
    )


def _decompressed(scope: _Message, body: bytearray, max_bytes: int) -> bytes:
    encoding = _header(scope, b"content-encoding").lower()
    if encoding in (b"", b"identity"):
        return bytes(body)
    if encoding != b"gzip":
        raise _Refused(
            http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Encoding {encoding.decode('latin-1')!r} is not known; "
            "send gzip, or none",
        )
    unpacking = zlib.decompressobj(_GZIP)
    try:
        plain = unpacking.decompress(body, max_bytes + 1)
    except zlib.error:
        plain = b""
    if len(plain) > max_bytes:
        raise _too_large(max_bytes)
    if not unpacking.eof:
        raise _Refused(
            http.HTTPStatus.BAD_REQUEST, "the body is no gzip, or is cut off"
        )
    return plain


def _header(scope: _Message, name: bytes) -> bytes:
    """The value of a header, or nothing."""
    return next((value for key, value in scope["headers"] if key == name), b"")


async def _respond(
    send: _Send, status: int, answer: bytes, *more: tuple[bytes, bytes]
) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer)).encode()),
        *more,
    ]
    await send(
        {"type": "http.response.start", "status": status, "headers": headers}
    )
    await send({"type": "http.response.body", "body": answer})
