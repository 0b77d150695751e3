"""TensorFlow Serving's gRPC services over one model.

What this server does not offer (Regress, MultiInference, reloading a
configuration) is UNIMPLEMENTED.

To gRPC each call is a stream of requests of which the first is answered, which
is the same to a client. So what waits for a request holds no thread, and only
for so long; and the request is bounded before it is parsed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from hierkeras.serving.local import wire
from hierkeras.serving.local.errors import ServingError, invalid
from hierkeras.serving.local.limits import Budget, Limits
from hierkeras.serving.local.model import ServedModel
from hierkeras.serving.local.pool import Pool

_LOGGER = logging.getLogger(__name__)
PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
# A question about the model, and no images.
_QUESTION_BYTES = 2**16
# Where gRPC's own clients look for it (gRFC A6).
_PUSHBACK = "grpc-retry-pushback-ms"


@dataclasses.dataclass(frozen=True)
class _Call:
    """What is offered under a name.

    Args:
        kind: Type of the requests.
        answer: Answers one.
        pool: Where it does.
        max_bytes: Most bytes of a request.
    """

    kind: Any
    answer: Callable[[Any, Budget], Any]
    pool: Pool
    max_bytes: int


class Services:
    """What clients may call.

    Args:
        model: Answers.
        num_threads: Most requests that run at once.
        limits: What they may cost.
    """

    def __init__(
        self, model: ServedModel, num_threads: int, limits: Limits
    ) -> None:
        self._limits = limits
        self._pool = Pool("grpc", num_threads, limits.queued, limits.held_bytes)
        # Of its own, so that who watches the model is answered at any time.
        questions = Pool(
            "grpc-questions", 1, limits.queued, limits.queued * _QUESTION_BYTES
        )
        work = self._pool, limits.message_bytes
        question = questions, _QUESTION_BYTES
        self._calls = {
            PREDICTION_SERVICE: {
                "Predict": _Call(
                    predict_pb2.PredictRequest, model.predict, *work
                ),
                "Classify": _Call(
                    classification_pb2.ClassificationRequest,
                    model.classify,
                    *work,
                ),
                "GetModelMetadata": _Call(
                    get_model_metadata_pb2.GetModelMetadataRequest,
                    lambda request, _: model.metadata(request),
                    *question,
                ),
            },
            MODEL_SERVICE: {
                "GetModelStatus": _Call(
                    get_model_status_pb2.GetModelStatusRequest,
                    lambda request, _: model.status(request),
                    *question,
                ),
            },
        }
        self._pools = self._pool, questions

    @property
    def is_busy(self) -> bool:
        """Whether something still runs."""
        return any(pool.is_busy for pool in self._pools)

    def close(self) -> None:
        """Takes no more; what runs is not waited for."""
        for pool in self._pools:
            pool.close()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """What gRPC is to call."""
        return [
            grpc.method_handlers_generic_handler(name, self._methods(calls))
            for name, calls in self._calls.items()
        ]

    def _methods(
        self, calls: Mapping[str, _Call]
    ) -> dict[str, grpc.RpcMethodHandler]:
        return {
            name: grpc.stream_unary_rpc_method_handler(self._behaviour(call))
            for name, call in calls.items()
        }

    def _behaviour(self, call: _Call) -> Callable[[Any, Any], Any]:
        async def respond(
            _: AsyncIterator[bytes], context: grpc.aio.ServicerContext
        ) -> bytes:
            try:
                return await self._respond(call, context)
            except ServingError as error:
                refusal = error.code, error.told, _pushback(error)
            except Exception as error:  # the server goes on, and we are told
                _LOGGER.exception("%s", call.kind.DESCRIPTOR.full_name)
                refusal = (
                    grpc.StatusCode.INTERNAL,
                    f"the server failed: {type(error).__name__}",
                    (),
                )
            # Not above: the call keeps what `abort` raises, and with it what
            # was handled meanwhile, whose frames hold the request.
            await context.abort(*refusal)
            raise AssertionError  # `abort` has raised

        return respond

    async def _respond(
        self, call: _Call, context: grpc.aio.ServicerContext
    ) -> bytes:
        # Whoever parses it takes it out, so that it is not kept beside what
        # was made of it.
        held = [await self._received(context)]
        size = len(held[0])
        if size > call.max_bytes:
            raise invalid(
                f"the request has {size} bytes, and may have {call.max_bytes}"
            )
        budget = self._budget(context.time_remaining())
        budget.share(call.pool.way_giver())

        def answer() -> bytes:
            budget.seconds_left()
            wire.check_fields(
                held[0], call.kind.DESCRIPTOR, self._limits.fields
            )
            return call.answer(
                _parsed(call.kind, held.pop()), budget
            ).SerializeToString()

        try:
            return await call.pool.run(answer, size)
        except asyncio.CancelledError:  # by the client, or by its deadline
            budget.cancel()
            raise

    async def _received(self, context: grpc.aio.ServicerContext) -> bytes:
        seconds = self._limits.receive_seconds
        try:
            async with asyncio.timeout(seconds):
                # The iterator over messages would keep the last one.
                message = await context.read()
        except TimeoutError:
            raise ServingError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"the request did not arrive within {seconds:g} s",
            ) from None
        if message is grpc.aio.EOF:
            raise invalid("the call holds no request")
        return message

    def _budget(self, deadline: float | None) -> Budget:
        seconds = self._limits.request_seconds
        if deadline is not None:
            seconds = min(seconds, deadline)
        return Budget(self._limits.rows, seconds, self._limits.pixels)


def _pushback(error: ServingError) -> tuple[tuple[str, str], ...]:
    """Says when to ask again, where that helps."""
    if error.retry_seconds is None:
        return ()
    return ((_PUSHBACK, str(round(1000 * error.retry_seconds))),)


def _parsed(kind: Any, message: bytes) -> Any:
    try:
        return kind.FromString(message)
    except DecodeError:
        raise invalid(
            f"the request is no {kind.DESCRIPTOR.name}, or is damaged"
        ) from None
