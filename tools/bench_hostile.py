"""What hostile clients cost the good ones of `hierkeras.serve`.

    python tools/bench_hostile.py runs/digits/serving --clients=64 --seconds=60

Starts a server, asks it with many clients at a steady rate, each for one
picture at a time; then once more with a hostile client of each kind beside
them, in a process of their own. Between the two, the same enemies strike
another server on the same machine: what that costs is for the processor's
time, and not for what this server does with them.
"""

import argparse
import asyncio
import contextlib
import functools
import io
import itertools
import json
import multiprocessing
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import psutil
from google.protobuf.message import Message
from PIL import Image

_MODEL = "tree"
_PREDICT = "/tensorflow.serving.PredictionService/Predict"


def main() -> None:
    """Prints, without and with them, how the good clients fare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_path", type=pathlib.Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=1, help="of one, a s")
    asked = parser.parse_args()
    with _Server(asked.base_path) as server:
        # The first requests to a server take longer.
        asyncio.run(_good_clients(server.address, 4, 3, asked.rate))
        print("| | answered | failed | p50 ms | p99 ms | most MB |")
        print("|---|---|---|---|---|---|")
        _measure("alone", server, asked)
        with _Server(asked.base_path) as other:
            asyncio.run(_good_clients(other.address, 4, 3, asked.rate))
            _measure("hostile ones at another server", server, asked, other)
        _measure("with hostile ones", server, asked, server)


def _measure(
    who: str,
    server: "_Server",
    asked: argparse.Namespace,
    struck: "_Server | None" = None,
) -> None:
    """Prints how good clients fare while another server, or theirs, is struck.

    Args:
        who: What the row is called.
        server: Whom the good ones ask.
        asked: How many, for how long and how often.
        struck: Whom the hostile ones strike, if there are any.
    """
    enemies = _Enemies(struck.address, struck.rest) if struck else None
    watch = _Memory(server.process.pid)
    times, failed = asyncio.run(
        _good_clients(server.address, asked.clients, asked.seconds, asked.rate)
    )
    most = watch.stop()
    p50, p99 = 1000 * np.percentile(times, [50, 99])
    print(
        f"| {who} | {len(times)} | {len(failed)} | {p50:.1f} | "
        f"{p99:.1f} | {most / 2**20:.0f} |",
        flush=True,
    )
    for reason in sorted(set(failed)):
        print(f"  {failed.count(reason)} times {reason}", file=sys.stderr)
    if enemies:
        for kind, count in enemies.stop().items():
            print(f"  {count} times {kind}", file=sys.stderr)


class _Server:
    """A server in a process of its own."""

    def __init__(self, base_path: pathlib.Path) -> None:
        self._base_path = base_path

    def __enter__(self) -> "_Server":
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.rest = free.getsockname()[1]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "hierkeras.serve", "--port=0"),
                f"--model_base_path={self._base_path}",
                f"--model_name={_MODEL}",
                f"--rest_api_port={self.rest}",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"listening on (\S+)", line):
                self.address = found[1]
                break
        else:
            raise SystemExit("the server did not start")
        # Nobody reads the rest, which must not fill the pipe.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)


class _Memory:
    """The most memory that a process holds, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self._process, self._most = psutil.Process(pid), 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.wait(0.1):
            self._most = max(self._most, self._process.memory_info().rss)

    def stop(self) -> int:
        """Ends, and tells how many bytes."""
        self._stopped.set()
        self._thread.join()
        return self._most


async def _good_clients(
    address: str, clients: int, seconds: float, rate: float
) -> tuple[list[float], list[str]]:
    """Seconds of each request that was answered, and why others failed."""
    request = _request(*_photos(1)).SerializeToString()
    times: list[float] = []
    failed: list[str] = []

    async def ask(number: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(address, options) as channel:
            predict = channel.unary_unary(_PREDICT)
            await asyncio.sleep(number / clients / rate)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                start = time.monotonic()
                try:
                    await predict(request, timeout=30)
                    times.append(time.monotonic() - start)
                except grpc.RpcError as error:
                    failed.append(f"{error.code().name}: {error.details()}")
                rest = 1 / rate - (time.monotonic() - start)
                await asyncio.sleep(max(rest, 0))

    await asyncio.gather(*map(ask, range(clients)))
    return times, failed


def _photos(count: int) -> list[bytes]:
    bits = np.random.default_rng(0)
    photos = []
    for _ in range(count):
        file = io.BytesIO()
        rough = Image.fromarray(bits.integers(0, 256, (8, 8, 3), np.uint8))
        rough.resize((64, 64)).save(file, "JPEG")
        photos.append(file.getvalue())
    return photos


def _request(*images: bytes) -> Message:
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = _MODEL
    tensor = request.inputs["image_bytes"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add(size=len(images))
    tensor.string_val.extend(images)
    return request


def _promise(*shape: int) -> bytes:
    """Of many values, of which it holds one."""
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = _MODEL
    request.model_spec.signature_name = "predict_images"
    tensor = request.inputs["images"]
    tensor.dtype = 4
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.int_val.append(1)
    return request.SerializeToString()


def _gif_of_extensions(count: int = 12_400) -> bytes:
    file = io.BytesIO()
    Image.new("P", (8, 8)).save(file, "GIF")
    gif = file.getvalue()
    header = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    return gif[:header] + b"\x21\xfe\0" * count + gif[header:]


class _Enemies:
    """A hostile client of each kind, all in one process."""

    def __init__(self, address: str, rest_port: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._end = context.Event()
        self._counts = context.Queue()
        self._process = context.Process(
            target=_attack,
            args=(address, rest_port, self._end, self._counts),
        )
        self._process.start()
        self._counts.get()  # they are there

    def stop(self) -> dict[str, int]:
        """Ends them, and tells how often each struck."""
        self._end.set()
        counts = self._counts.get(timeout=60)
        self._process.join(30)
        self._process.kill()
        return dict(counts)


def _attack(address: str, rest_port: int, end: object, counts: object) -> None:
    gifs = [_gif_of_extensions()] * 1500
    requests = {
        "4.5 GB promised in 59 bytes": _promise(1500, 1000, 1000, 3),
        "100,000 rows promised": _promise(100_000, 8, 8, 3),
        "2^40 values promised": _promise(2**40),
        "20 million rows of one byte": _request(
            *itertools.repeat(b"x", 20_000_000)
        ).SerializeToString(),
        "1,500 GIFs of 12,400 extensions": _request(*gifs).SerializeToString(),
        "mutated messages": _request(*_photos(8)).SerializeToString(),
    }
    struck = dict.fromkeys([*requests, "silent calls", "slow bodies"], 0)
    ended = threading.Event()
    kinds = [
        functools.partial(_ask_on, kind, body, address)
        for kind, body in requests.items()
    ]
    kinds.append(functools.partial(_silent, address))
    kinds.append(functools.partial(_slow, rest_port))
    for strike in kinds:
        threading.Thread(
            target=strike, args=(struck, ended), daemon=True
        ).start()
    counts.put("ready")  # type: ignore[attr-defined]
    end.wait()  # type: ignore[attr-defined]
    ended.set()
    counts.put(struck)  # type: ignore[attr-defined]


def _ask_on(
    kind: str,
    body: bytes,
    address: str,
    struck: dict[str, int],
    ended: threading.Event,
) -> None:
    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    bits = np.random.default_rng(0)
    with grpc.insecure_channel(address, options) as channel:
        predict = channel.unary_unary(_PREDICT)
        while not ended.wait(0.05):
            sent = bytearray(body)
            if kind.startswith("mutated"):
                sent[bits.integers(len(sent))] = bits.integers(256)
            with contextlib.suppress(grpc.RpcError):
                predict(bytes(sent), timeout=30)
            struck[kind] += 1


def _silent(
    address: str, struck: dict[str, int], ended: threading.Event
) -> None:
    """Calls that never send their message, more and more of them."""

    def nothing() -> object:
        ended.wait()
        yield from ()

    calls, channels = [], []
    while not ended.wait(0.5):
        channel = grpc.insecure_channel(
            address, [("grpc.use_local_subchannel_pool", 1)]
        )
        channels.append(channel)
        calls += [channel.stream_unary(_PREDICT).future(nothing())]
        struck["silent calls"] += 1


def _slow(port: int, struck: dict[str, int], ended: threading.Event) -> None:
    """Bodies of REST that come byte by byte, and connections left open."""
    head = (
        f"POST /v1/models/{_MODEL}:predict HTTP/1.1\r\nHost: x\r\n"
        "Content-Length: 1000000\r\n\r\n"
    )
    open_: list[socket.socket] = []
    while not ended.wait(0.1):
        try:
            client = socket.create_connection(("127.0.0.1", port), timeout=5)
            client.sendall(head.encode() + json.dumps({"a": 1})[:3].encode())
            open_.append(client)
        except OSError:
            pass
        for each in open_[-200:]:
            with contextlib.suppress(OSError):
                each.send(b" ")
        struck["slow bodies"] += 1


if __name__ == "__main__":
    main()
