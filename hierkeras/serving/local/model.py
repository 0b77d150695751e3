"""The calls that TensorFlow Serving offers, whatever they came over.

Status codes and messages are those of its sources: server_core.cc and
get_model_status_impl.cc in model_servers/, basic_manager.cc in core/,
predict_impl.cc, classification_service.cc and get_model_metadata_impl.cc in
servables/tensorflow/.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from hierkeras.serving.graph.signatures import SERVING_DEFAULT
from hierkeras.serving.local.errors import invalid, missing
from hierkeras.serving.local.limits import Budget
from hierkeras.serving.local.servable import Servable
from hierkeras.serving.local.versions import Versions

SIGNATURE_DEF = "signature_def"


class ServedModel:
    """The versions of one model, asked by name.

    Every call raises `ServingError` if it refuses a request.

    Args:
        name: The model's name in requests.
        versions: Its versions.
    """

    def __init__(self, name: str, versions: Versions) -> None:
        self._name = name
        self._versions = versions

    def predict(
        self, request: predict_pb2.PredictRequest, budget: Budget
    ) -> predict_pb2.PredictResponse:
        """Runs any signature."""
        with self._servable(request) as servable:
            return servable.predict(request, budget)

    def classify(
        self, request: classification_pb2.ClassificationRequest, budget: Budget
    ) -> classification_pb2.ClassificationResponse:
        """Runs a signature of the Classify API."""
        with self._servable(request) as servable:
            return servable.classify(request, budget)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Tells the signatures of a version."""
        _check_spec(request)
        if not request.metadata_field:
            raise invalid(
                "GetModelMetadataRequest must specify at least one "
                "metadata_field"
            )
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise invalid(f"Metadata field {field} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._servable(request) as servable:
            response.model_spec.name = self._name
            response.model_spec.version.value = servable.version
            signatures = get_model_metadata_pb2.SignatureDefMap(
                signature_def=servable.signatures
            )
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Tells where each version stands."""
        _check_spec(request)
        spec = request.model_spec
        known = self._versions.statuses() if spec.name == self._name else {}
        if spec.HasField("version"):
            number = spec.version.value
            if number not in known:
                raise missing(
                    f"Could not find version {number} of model {spec.name}"
                )
            known = {number: known[number]}
        if not known:
            raise missing(f"Could not find any versions of model {spec.name}")
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

    def inputs(
        self, request: predict_pb2.PredictRequest
    ) -> dict[str, TensorInfo]:
        """What a Predict request has to give, by name."""
        signature = request.model_spec.signature_name or SERVING_DEFAULT
        with self._servable(request) as servable:
            if signature not in servable.signatures:
                raise invalid(
                    f'Serving signature name: "{signature}" not found in '
                    "signature def"
                )
            return dict(servable.signatures[signature].inputs)

    @contextlib.contextmanager
    def _servable(self, request: Any) -> Iterator[Servable]:
        """The version that a request asks for, as long as it runs."""
        _check_spec(request)
        spec: model_pb2.ModelSpec = request.model_spec
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
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
                raise missing(
                    f"Servable not found for request: {wanted}"
                ) from None
            yield servable


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    if request.model_spec.version_label:
        raise invalid(
            "Unrecognized servable version label: "
            f"{request.model_spec.version_label}"
        )
