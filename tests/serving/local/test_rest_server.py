"""HTTP arrives whole, bounded and in time, or is refused."""

import contextlib
import dataclasses
import gzip
import json
import socket
import threading
import time

import pytest

from hierkeras.serving.local import rest_server
from hierkeras.serving.local.limits import Limits
from hierkeras.serving.local.rest_server import RestServer
from tests.serving.local.asking import ask
from tests.serving.served_tree import until

MAX_BYTES = 300_000
LIMITS = Limits(message_bytes=MAX_BYTES)


class Echo:
    """Tells what it was asked; `/wait` is answered when it may be."""

    def __init__(self):
        self.may_answer = threading.Event()
        self.asked = []

    def answer(self, method, path, body, budget):
        self.asked.append(path)
        if path == "/wait":
            assert self.may_answer.wait(20)
        told = {"method": method, "path": path, "bytes": len(body)}
        return 200, json.dumps(told).encode()


@contextlib.contextmanager
def running(api, num_threads=2, **limits):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    limits = dataclasses.replace(LIMITS, **limits)
    server = RestServer(api, listener, num_threads, limits)
    server.start()
    try:
        yield server, port
    finally:
        api.may_answer.set()
        server.begin_stop(0)
        server.wait(20)


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def port(echo):
    with running(echo) as (_, port):
        yield port


@contextlib.contextmanager
def connected(port, *sent):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        for part in sent:
            client.sendall(part)
        yield client


def head(size, *headers, path="/x"):
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {size}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode()


def check_answers(port):
    assert ask(port, "POST", "/a%20b?c=d", b"123") == (
        200,
        {"method": "POST", "path": "/a%20b?c=d", "bytes": 3},
    )


def parts(size):
    """A body whose length is not told beforehand."""
    for start in range(0, size, 50_000):
        yield b"x" * min(50_000, size - start)


def packed(body):
    # Without the time: these bytes are in the tests' names, which have to be
    # the same in every process that collects them.
    return gzip.compress(body, mtime=0)


def test_bodies_arrive_whole(port):
    check_answers(port)
    for body in b"x" * MAX_BYTES, parts(MAX_BYTES):
        _, told = ask(port, "POST", "/x", body)
        assert told["bytes"] == MAX_BYTES


def test_a_compressed_body_is_decompressed(port):
    body = packed(b"x" * MAX_BYTES)
    _, told = ask(port, "POST", "/x", body, {"Content-Encoding": "gzip"})
    assert told["bytes"] == MAX_BYTES


@pytest.mark.parametrize(
    ("body", "encoding", "status", "message"),
    [
        (b"x" * (MAX_BYTES + 1), "", 413, "larger than 0.286102 MB"),
        (parts(10 * MAX_BYTES), "", 413, "--max_message_mb"),
        (packed(bytes(2**28)), "gzip", 413, "larger than"),
        (packed(b"xyz")[:-3], "gzip", 400, "is no gzip, or is cut off"),
        (b"xyz", "gzip", 400, "is no gzip, or is cut off"),
        (b"xyz", "br", 415, "'br' is not known; send gzip"),
    ],
)
def test_a_body_that_is_not_taken_is_named(
    port, echo, body, encoding, status, message
):
    headers = {"Content-Encoding": encoding} if encoding else {}
    found, told = ask(port, "POST", "/x", body, headers)
    assert found == status
    assert message in told["error"]
    assert echo.asked == []
    check_answers(port)


def test_who_asks_before_it_sends_is_refused_at_once(port):
    asked = head(MAX_BYTES + 1, "Expect: 100-continue")
    with connected(port, asked) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 413")
    with connected(port, head(3, "Expect: 100-continue")) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 100")


def test_bodies_that_are_too_large_together_are_refused(port):
    half = b"x" * (MAX_BYTES // 2)
    waiting = [
        head(MAX_BYTES) + half
        for _ in range(2 * LIMITS.held_bytes // MAX_BYTES)
    ]
    with contextlib.ExitStack() as stack:
        for sent in waiting:
            stack.enter_context(connected(port, sent))

        time.sleep(0.5)  # what is asked meanwhile would take their room

        def is_refused():
            status, told = ask(port, "POST", "/x", b"x" * 1000)
            return status == 503 and "try again" in told["error"]

        until(is_refused)
    # Those who went away hold nothing.
    until(lambda: ask(port, "POST", "/x", half)[0] == 200)


def test_a_head_must_arrive_in_time(monkeypatch, echo):
    monkeypatch.setattr(rest_server, "_HEAD_SECONDS", 0.4)
    with running(echo) as (_, port):
        for whole in b"", head(0):
            with connected(port, whole) as client:
                while whole and not client.recv(1000).endswith(b"}"):
                    pass
                began = time.monotonic()
                # A byte now and then does not prolong it.
                with contextlib.suppress(OSError):
                    for letter in head(0)[:20]:
                        client.sendall(bytes([letter]))
                        time.sleep(0.05)
                    assert client.recv(1000) == b""
                assert time.monotonic() - began < 5
        check_answers(port)


def test_a_body_must_arrive_in_time(echo):
    with running(echo, receive_seconds=0.3) as (_, port):
        with connected(port, head(10) + b"123") as client:
            assert client.recv(1000).startswith(b"HTTP/1.1 408")
        check_answers(port)
    assert "/x" not in echo.asked


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00" * 50,  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",  # gRPC
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_harms_nobody(port, echo, garbage):
    with connected(port) as client, contextlib.suppress(OSError):
        client.sendall(garbage)
        client.recv(1000)
    assert "/x" not in echo.asked
    check_answers(port)


def answered(port):
    with connected(port, head(0)) as client:
        return client.recv(1000)


def test_there_are_only_so_many_connections(monkeypatch, echo):
    monkeypatch.setattr(rest_server, "_MAX_CONNECTIONS", 3)
    with running(echo) as (_, port):
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(connected(port))
            until(lambda: b" 503 " in answered(port))
        until(lambda: b" 200 " in answered(port))


def test_only_so_many_run_at_once(echo):
    with running(echo, num_threads=2) as (_, port):
        waiting = [
            threading.Thread(target=ask, args=(port, "POST", "/wait"))
            for _ in range(3)
        ]
        for thread in waiting:
            thread.start()
        until(lambda: len(echo.asked) == 2)
        time.sleep(0.2)
        assert len(echo.asked) == 2
        echo.may_answer.set()
        for thread in waiting:
            thread.join()
    assert len(echo.asked) == 3


def test_what_runs_is_finished_when_it_stops(echo):
    found = []
    with running(echo) as (server, port):
        asking = threading.Thread(
            target=lambda: found.append(ask(port, "POST", "/wait"))
        )
        asking.start()
        until(lambda: echo.asked == ["/wait"])
        server.begin_stop(20)

        def is_closed():
            try:
                with connected(port):
                    return False
            except ConnectionRefusedError:
                return True

        until(is_closed)
        assert found == []
        echo.may_answer.set()
        server.wait(20)
        asking.join()
    assert [status for status, _ in found] == [200]


def test_what_runs_for_too_long_is_cut_off(echo):
    with running(echo) as (server, port), connected(port) as client:
        client.sendall(b"POST /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: echo.asked == ["/wait"])
        began = time.monotonic()
        server.begin_stop(0.1)
        server.wait(20)
        assert time.monotonic() - began < 10
        with contextlib.suppress(OSError):
            client.recv(1000)
