"""TensorFlow Serving's gRPC services over one model.

What this server does not offer (Regress, MultiInference, reloading a
configuration) is UNIMPLEMENTED.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from hierkeras.serving.local.errors import ServingError
from hierkeras.serving.local.model import ServedModel

_Answer = TypeVar("_Answer")


def _refusing(
    method: Callable[[Any, Any], _Answer],
) -> Callable[[Any, Any, grpc.ServicerContext], _Answer]:
    """A servicer's method whose `ServingError` is the answer's status."""

    @functools.wraps(method)
    def answer(
        self: Any, request: Any, context: grpc.ServicerContext
    ) -> _Answer:
        try:
            return method(self, request)
        except ServingError as error:
            context.abort(error.code, error.told)
            raise  # which `abort` has done

    return answer


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify and GetModelMetadata.

    Args:
        model: Answers.
    """

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    @_refusing
    def Predict(
        self, request: predict_pb2.PredictRequest
    ) -> predict_pb2.PredictResponse:
        """Runs any signature."""
        return self._model.predict(request)

    @_refusing
    def Classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Runs a signature of the Classify API."""
        return self._model.classify(request)

    @_refusing
    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Tells the signatures of a version."""
        return self._model.metadata(request)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus.

    Args:
        model: Answers.
    """

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    @_refusing
    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Tells where each version stands."""
        return self._model.status(request)
