"""Serves the latest exported tree, for a laptop and for tests.

    python -m hierkeras.serve --model_base_path=runs/digits/serving \
        --model_name=digits --port=8500 --rest_api_port=8501

It answers as TensorFlow Serving does, takes its flags, and picks up versions
that are published while it runs. Ctrl-C, or SIGTERM, ends it after what runs;
once more, at once.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from typing import TYPE_CHECKING

from absl import flags

from hierkeras import _main, _trust_flag
from hierkeras._errors import UsageError, UserError
from hierkeras._float_flag import define_float
from hierkeras.serving.local import base_path, stopping
from hierkeras.training import startup

if TYPE_CHECKING:
    from hierkeras.serving.local.limits import Limits
    from hierkeras.serving.local.server import Server

_MODEL_BASE_PATH = flags.DEFINE_string(
    "model_base_path",
    "",
    "Folder that holds the versions, each in a folder named by an integer.",
)
_MODEL_NAME = flags.DEFINE_string(
    "model_name", "default", "Name of the model in requests."
)
_HOST = flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "Address to listen on; 0.0.0.0: every one that this machine has.",
)
_PORT = flags.DEFINE_integer(
    "port",
    8500,
    "Port for gRPC; 0: any that is free.",
    lower_bound=0,
    upper_bound=65535,
)
_REST_PORT = flags.DEFINE_integer(
    "rest_api_port",
    0,
    "Port for REST (HTTP and JSON); 0: it is not offered.",
    lower_bound=0,
    upper_bound=65535,
)
_POLL_SECONDS = define_float(
    "file_system_poll_wait_seconds",
    1.0,
    "Seconds between two looks for a new version; 0: only one, at the start.",
    lower_bound=0.0,
    upper_bound=86_400.0,
)
_MAX_THREADS = flags.DEFINE_integer(
    "grpc_max_threads",
    4 * (os.cpu_count() or 1),
    "Most requests that run at once over gRPC, and as many over REST.",
    lower_bound=1,
    upper_bound=4096,
)
_MAX_MESSAGE_MB = flags.DEFINE_integer(
    "max_message_mb",
    64,
    "Most megabytes (of 2**20 bytes) of a request; a larger one is refused.",
    lower_bound=1,
    upper_bound=2047,  # what a message of protocol buffers can hold
)

_MAX_ROWS = flags.DEFINE_integer(
    "max_rows",
    4096,
    "Most rows (images) of a request; one of more is refused.",
    lower_bound=1,
    upper_bound=2**24,
)
_MAX_MEGAPIXELS = flags.DEFINE_integer(
    "max_megapixels",
    1000,
    "Most million pixels that the images of a request promise together; a "
    "request of more is refused before any is decoded.",
    lower_bound=1,
    upper_bound=2**30,
)
_MAX_QUEUED_REQUESTS = flags.DEFINE_integer(
    "max_queued_requests",
    256,
    "Most requests that wait until they can run, over gRPC and over REST; "
    "more are refused.",
    lower_bound=0,
    upper_bound=2**20,
)
_MAX_REQUEST_SECONDS = define_float(
    "max_request_seconds",
    60.0,
    "Most seconds that a request takes to run, waiting included, whatever its "
    "client's deadline.",
    lower_bound=0.001,
    upper_bound=86_400.0,
)
flags.adopt_module_key_flags(_trust_flag)

_GRACE_SECONDS = 5.0
# For connections that are closed then, and the model.
_CLOSING_SECONDS = 3.0
_NEEDED = ("tensorflow_serving", "grpc_health", "uvicorn")


def main() -> None:
    """Serves until it is told to stop."""
    if not _MODEL_BASE_PATH.value:
        raise UsageError(
            "--model_base_path is not given; give the folder of versions, "
            "e.g. --model_base_path=runs/digits/serving"
        )
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise UserError(
            "serving needs packages that are not installed; run "
            "pip install tensorflow-serving-api grpcio-health-checking uvicorn"
        )
    base_path.check(_MODEL_BASE_PATH.value)
    try:
        _serve()
    except KeyboardInterrupt:
        _say("stopped")


def _serve() -> None:
    _say(
        "a server for a laptop and for tests; anywhere else run TensorFlow "
        "Serving, which takes the same folder"
    )
    startup.start_tensorflow()
    from hierkeras.serving.local.server import Server

    # What TensorFlow made of itself stays. Searched for garbage time and
    # again, it makes reading large JSON four times slower.
    gc.freeze()
    server = Server(
        _MODEL_NAME.value,
        _MODEL_BASE_PATH.value,
        _HOST.value,
        _PORT.value,
        _MAX_THREADS.value,
        _say,
        _limits(),
        _REST_PORT.value or None,
        _trust_flag.TRUST.value,
    )
    stopping.run_until_told(lambda: _start(server))
    with stopping.within(_GRACE_SECONDS + _CLOSING_SECONDS, _say):
        server.stop(_GRACE_SECONDS)
        _say("stopped")
        if server.is_busy:  # Python would wait for it, maybe for ever
            stopping.leave(_say)


def _limits() -> Limits:
    from hierkeras.serving.local.limits import Limits

    return Limits(
        message_bytes=_MAX_MESSAGE_MB.value * 2**20,
        rows=_MAX_ROWS.value,
        pixels=_MAX_MEGAPIXELS.value * 10**6,
        queued=_MAX_QUEUED_REQUESTS.value,
        request_seconds=_MAX_REQUEST_SECONDS.value,
    )


def _start(server: Server) -> None:
    server.start(_POLL_SECONDS.value)
    _say(f"listening on {_HOST.value}:{server.port}")
    if server.rest_port:
        _say(f"REST on http://{_HOST.value}:{server.rest_port}/v1/models/")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    _main.run(main)
