"""Asks a server, TensorFlow Serving or `hierkeras.serve`, over gRPC."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence

import grpc
import tenacity
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from hierkeras import _faults
from hierkeras._errors import UserError
from hierkeras.serving.client import answers, outputs, tensors
from hierkeras.serving.client.answers import BadImage

# What a message of protocol buffers can hold, less what is no image.
_MAX_IMAGE_BYTES = 2**31 - 2**20
# What gRPC says of a message that its receiver does not want to hold.
_TOO_LARGE = re.compile(r"message larger than max \(\d+ vs\. (\d+)\)")
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # any
    ("grpc.max_send_message_length", -1),
    # It tries to connect ever less often otherwise, after minutes in the end.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
# Seconds between two attempts, drawn at random below a bound that doubles.
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 1.0
# How a server that is busy says in how long to ask again (gRFC A6). One that
# does not say it never takes the request.
_PUSHBACK = "grpc-retry-pushback-ms"
# Of waiting, before it is said what is waited for.
_QUIET_SECONDS = 2.0


class RemoteModel:
    """A model on a server.

    Args:
        server: HOST:PORT.
        name: The model's name there.
        timeout_seconds: How long a request may take, repetitions included.
    """

    def __init__(self, server: str, name: str, timeout_seconds: float) -> None:
        self._server = server
        self._name = name
        self._timeout = timeout_seconds
        self._has_said = False
        self._channel = grpc.insecure_channel(server, _OPTIONS)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )

    def answer(self, images: Sequence[bytes]) -> list[answers.Answer]:
        """See `answers.Model`; a request of too much is a `BadImage`, too.

        `answers.ask` then divides it.
        """
        if sum(map(len, images)) > _MAX_IMAGE_BYTES:
            raise BadImage("is larger than a request can be (2 GB)")
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.inputs["image_bytes"].CopyFrom(
            tf.make_tensor_proto(list(images), tf.string)
        )
        response = self._asked(request)
        try:
            outputs.check_names(response.outputs)
            arrays = {
                name: tensors.to_array(
                    name, response.outputs[name], len(images)
                )
                for name in outputs.NAMES
            }
            return outputs.to_answers(
                arrays, len(images), response.model_spec.version.value
            )
        except outputs.BadOutput as error:
            raise UserError(
                f"model {self._name!r} on {self._server} answers with what no "
                f"export of hierkeras does: {error}; ask for another --model"
            ) from None

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def _asked(
        self, request: predict_pb2.PredictRequest
    ) -> predict_pb2.PredictResponse:
        """Asks, and again while the server is not available, or busy.

        The time that is given is for all attempts and the waits between them.
        """
        end = time.monotonic() + self._timeout
        passing: grpc.RpcError | None = None
        try:
            for attempt in self._attempts():
                with attempt:
                    left = max(end - time.monotonic(), 0.0)
                    try:
                        return self._stub.Predict(request, timeout=left)
                    except grpc.RpcError as error:
                        if _passes(error):
                            passing = error
                        raise
        except grpc.RpcError as error:
            # The last attempt may end for its time is over: that is not why.
            if passing and _is(error, grpc.StatusCode.DEADLINE_EXCEEDED):
                error = passing
            raise self._explained(error) from None
        raise AssertionError("an attempt returns or raises")

    def _attempts(self) -> tenacity.Retrying:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passes),
            stop=tenacity.stop_before_delay(self._timeout),
            wait=_wait,
            before_sleep=self._say_once,
            reraise=True,
        )

    def _say_once(self, state: tenacity.RetryCallState) -> None:
        waited = state.seconds_since_start or 0.0
        if waited > _QUIET_SECONDS and not self._has_said:
            self._has_said = True
            print(
                f"waiting for {self._server}, which {_why(state)}; "
                f"--timeout_seconds={self._timeout:g}",
                file=sys.stderr,
                flush=True,
            )

    def _explained(self, error: grpc.RpcError) -> UserError:
        """What went wrong; raises `BadImage` if it was an image."""
        # TensorFlow Serving names nodes of the graph, too.
        code, details = error.code(), _faults.sentence(error.details() or "")
        if code == grpc.StatusCode.INVALID_ARGUMENT:
            answers.check_bad_image(details)
        if found := _TOO_LARGE.search(details):
            raise BadImage(
                "is larger than what the server takes: requests of "
                f"{int(found[1]) / 2**20:g} MB; send a smaller image, or "
                "start hierkeras.serve with a larger --max_message_mb"
            )
        if code == grpc.StatusCode.UNAVAILABLE:
            return UserError(
                f"cannot reach {self._server} within {self._timeout:g} s "
                f"({details}); is a server running there?"
            )
        if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
            if _pushback(error) is None:
                raise BadImage(f"is more than the server takes ({details})")
            return UserError(
                f"{self._server} was busy for {self._timeout:g} s ({details}); "
                "give a longer --timeout_seconds"
            )
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return UserError(
                f"no answer from {self._server} within {self._timeout:g} s; "
                "give a longer --timeout_seconds or a smaller "
                "--images_per_request"
            )
        if code == grpc.StatusCode.NOT_FOUND:
            return UserError(
                f"{self._server} serves no model {self._name!r} ({details}); "
                "give the name it was started with as --model"
            )
        return UserError(f"{self._server} answered {code.name}: {details}")


_back_off = tenacity.wait_random_exponential(_FIRST_WAIT, _LONGEST_WAIT)


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: no sooner than the server says."""
    assert state.outcome is not None
    return _back_off(state) + (_pushback(state.outcome.exception()) or 0.0)


def _why(state: tenacity.RetryCallState) -> str:
    assert state.outcome is not None
    error = state.outcome.exception()
    return "does not answer yet" if _pushback(error) is None else "is busy"


def _passes(error: BaseException) -> bool:
    """Whether the same request may be answered later."""
    return _is(error, grpc.StatusCode.UNAVAILABLE) or (
        _is(error, grpc.StatusCode.RESOURCE_EXHAUSTED)
        and _pushback(error) is not None
    )


def _pushback(error: BaseException | None) -> float | None:
    """In how many seconds a server wants to be asked again, if it does."""
    if not isinstance(error, grpc.RpcError):
        return None
    told = dict(error.trailing_metadata() or ()).get(_PUSHBACK, "")
    # Digits only: a negative number says not to ask again. No longer than any
    # server means it.
    is_number = isinstance(told, str) and re.fullmatch("[0-9]{1,9}", told)
    return int(told) / 1000 if is_number else None


def _is(error: BaseException, code: grpc.StatusCode) -> bool:
    return isinstance(error, grpc.RpcError) and error.code() == code
