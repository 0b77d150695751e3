"""Asks a server, TensorFlow Serving or `hierkeras.serve`, over gRPC."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from hierkeras import _faults
from hierkeras._errors import UserError
from hierkeras.serving.client import answers
from hierkeras.serving.client.answers import BadImage

# What a message of protocol buffers can hold, less what is no image.
_MAX_IMAGE_BYTES = 2**31 - 2**20
# What gRPC says of a message that its receiver does not want to hold.
_TOO_LARGE = re.compile(r"message larger than max \(\d+ vs\. (\d+)\)")
# gRPC repeats a request only while it still holds all of it.
_RETRY_BUFFER_BYTES = 256 * 2**20
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "tensorflow.serving.PredictionService"}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # any
    ("grpc.max_send_message_length", -1),
    ("grpc.per_rpc_retry_buffer_size", _RETRY_BUFFER_BYTES),
    ("grpc.enable_retries", 1),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
]


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
        self._channel = grpc.insecure_channel(server, _OPTIONS)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )

    def answer(self, images: Sequence[bytes]) -> list[answers.Answer]:
        """See `answers.Model`; a request too large is a `BadImage`, too.

        `answers.ask` then divides it.
        """
        if sum(map(len, images)) > _MAX_IMAGE_BYTES:
            raise BadImage("is larger than a request can be (2 GB)")
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._name
        request.inputs["image_bytes"].CopyFrom(
            tf.make_tensor_proto(list(images), tf.string)
        )
        try:
            response = self._stub.Predict(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise self._explained(error) from None
        if not {"classes", "scores", "path"} <= response.outputs.keys():
            raise UserError(
                f"model {self._name!r} on {self._server} answers with "
                f"{', '.join(sorted(response.outputs))}; it was not exported "
                "by hierkeras"
            )
        return answers.to_answers(
            tf.make_ndarray(response.outputs["classes"]),
            tf.make_ndarray(response.outputs["scores"]),
            tf.make_ndarray(response.outputs["path"]),
            response.model_spec.version.value,
        )

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

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
                f"cannot reach {self._server} ({details}); is a server "
                "running there?"
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
