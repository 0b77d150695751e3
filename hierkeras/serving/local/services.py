"""TensorFlow Serving's gRPC services over the versions of one model.

Status codes and messages are those of its sources: server_core.cc,
get_model_status_impl.cc and grpc_status_util.cc in model_servers/,
basic_manager.cc in core/, predict_impl.cc, classification_service.cc and
get_model_metadata_impl.cc in servables/tensorflow/. What this server does not
offer (Regress, MultiInference, reloading a configuration) is UNIMPLEMENTED.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from hierkeras.serving.local.servable import Servable, ServingError
from hierkeras.serving.local.versions import Versions

_LONGEST_MESSAGE = 1024
_SIGNATURE_DEF = "signature_def"

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
            message = error.message
            if len(message) > _LONGEST_MESSAGE:
                message = f"{message[:_LONGEST_MESSAGE]}...TRUNCATED"
            context.abort(error.code, message)
            raise  # which `abort` has done

    return answer


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify and GetModelMetadata.

    Args:
        name: The model's name in requests.
        versions: Its versions.
    """

    def __init__(self, name: str, versions: Versions) -> None:
        self._name = name
        self._versions = versions

    @_refusing
    def Predict(
        self, request: predict_pb2.PredictRequest
    ) -> predict_pb2.PredictResponse:
        """Runs any signature."""
        with self._servable(request) as servable:
            return servable.predict(request)

    @_refusing
    def Classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        """Runs a signature of the Classify API."""
        with self._servable(request) as servable:
            return servable.classify(request)

    @_refusing
    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Tells the signatures of a version."""
        _check_spec(request)
        if not request.metadata_field:
            raise _invalid(
                "GetModelMetadataRequest must specify at least one "
                "metadata_field"
            )
        for field in request.metadata_field:
            if field != _SIGNATURE_DEF:
                raise _invalid(f"Metadata field {field} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._servable(request) as servable:
            response.model_spec.name = self._name
            response.model_spec.version.value = servable.version
            signatures = get_model_metadata_pb2.SignatureDefMap(
                signature_def=servable.signatures
            )
        response.metadata[_SIGNATURE_DEF].Pack(signatures)
        return response

    @contextlib.contextmanager
    def _servable(self, request: Any) -> Iterator[Servable]:
        """The version that a request asks for, as long as it runs."""
        _check_spec(request)
        spec: model_pb2.ModelSpec = request.model_spec
        if not spec.name:
            raise _invalid("ModelSpec has no name specified.")
        if spec.version_label:
            raise _invalid(
                f"Unrecognized servable version label: {spec.version_label}"
            )
        number = spec.version.value if spec.HasField("version") else None
        with contextlib.ExitStack() as stack:
            try:
                if spec.name != self._name:
                    raise LookupError(spec.name)
                servable = stack.enter_context(self._versions.use(number))
            except LookupError:
                wanted = (
                    f"Latest({spec.name})"
                    if number is None
                    else f"Specific({spec.name}, {number})"
                )
                raise _missing(
                    f"Servable not found for request: {wanted}"
                ) from None
            yield servable


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus.

    Args:
        name: The model's name in requests.
        versions: Its versions.
    """

    def __init__(self, name: str, versions: Versions) -> None:
        self._name = name
        self._versions = versions

    @_refusing
    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Tells where each version stands."""
        _check_spec(request)
        spec = request.model_spec
        known = self._versions.statuses() if spec.name == self._name else {}
        if spec.HasField("version"):
            number = spec.version.value
            if number not in known:
                raise _missing(
                    f"Could not find version {number} of model {spec.name}"
                )
            known = {number: known[number]}
        if not known:
            raise _missing(f"Could not find any versions of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, status in known.items():
            row = response.model_version_status.add(
                version=number, state=status.state
            )
            row.status.error_code = 0  # present, as TensorFlow Serving's is
            if status.error is not None:
                row.status.error_code = status.error.code.value[0]
                row.status.error_message = status.error.message
        return response


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise _invalid("Missing ModelSpec")


def _invalid(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def _missing(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.NOT_FOUND, message)
