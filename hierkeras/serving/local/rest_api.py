"""TensorFlow Serving's REST API over one model.

Paths, status codes and messages are those of http_rest_api_util.cc,
http_rest_api_handler.cc and http_server.cc in its model_servers/. What this
server does not offer (regress) is 501, as over gRPC.
"""

from __future__ import annotations

import http
import logging
import re
from typing import Any
from urllib.parse import unquote

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from hierkeras.serving.local import json_answers, json_requests
from hierkeras.serving.local.errors import ServingError, invalid, missing
from hierkeras.serving.local.limits import Budget
from hierkeras.serving.local.model import SIGNATURE_DEF, ServedModel

_LOGGER = logging.getLogger(__name__)
_VERSION = r"(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_POST = re.compile(
    rf"/v1/models/([^/:]+){_VERSION}:(classify|regress|predict)", re.IGNORECASE
)
_GET = re.compile(
    rf"/v1/models(?:/([^/:]+))?{_VERSION}(?:/(metadata))?", re.IGNORECASE
)
_OURS = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_LARGEST_VERSION = 2**63 - 1
_CLIENT_CLOSED_REQUEST = 499
STATUSES: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.CANCELLED: _CLIENT_CLOSED_REQUEST,
    grpc.StatusCode.INVALID_ARGUMENT: http.HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.DEADLINE_EXCEEDED: http.HTTPStatus.GATEWAY_TIMEOUT,
    grpc.StatusCode.NOT_FOUND: http.HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: http.HTTPStatus.CONFLICT,
    grpc.StatusCode.PERMISSION_DENIED: http.HTTPStatus.FORBIDDEN,
    grpc.StatusCode.RESOURCE_EXHAUSTED: http.HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.FAILED_PRECONDITION: http.HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.ABORTED: http.HTTPStatus.CONFLICT,
    grpc.StatusCode.OUT_OF_RANGE: http.HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.UNIMPLEMENTED: http.HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: http.HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED: http.HTTPStatus.UNAUTHORIZED,
}


class RestApi:
    """Answers requests; any number of threads may ask it at once.

    Args:
        model: What is served.
    """

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    def answer(
        self, method: str, path: str, body: bytes, budget: Budget
    ) -> tuple[int, bytes]:
        """Answers a request.

        Args:
            method: Of HTTP.
            path: As it was sent, with the query if there is one.
            body: What came with it.
            budget: What it may cost.

        Returns:
            The status of HTTP and a JSON object.
        """
        try:
            budget.seconds_left()
            answer = self._answer(method, path, body, budget)
            return http.HTTPStatus.OK, json_answers.to_body(answer)
        except ServingError as error:
            other = http.HTTPStatus.INTERNAL_SERVER_ERROR
            return STATUSES.get(error.code, other), error_body(error.told)
        except Exception as error:  # the server goes on, and we are told
            _LOGGER.exception("%s %s", method, path)
            return http.HTTPStatus.INTERNAL_SERVER_ERROR, error_body(
                f"the server failed: {type(error).__name__}"
            )

    def _answer(
        self, method: str, path: str, body: bytes, budget: Budget
    ) -> dict[str, Any]:
        if not _OURS.fullmatch(path):
            raise missing(
                f"Not found: {method} {path}; paths begin with /v1/models/"
            )
        if method == "POST" and (found := _POST.fullmatch(path)):
            spec = _spec(*found.group(1, 2, 3))
            try:
                return self._post(found[4].lower(), spec, body, budget)
            except RecursionError:
                raise invalid("JSON Parse error: nested too deeply") from None
        if method == "GET" and (found := _GET.fullmatch(path)):
            spec = _spec(*found.group(1, 2, 3))
            return self._get(bool(found[4]), spec)
        raise invalid(f"Malformed request: {method} {path}")

    def _post(
        self,
        call: str,
        spec: model_pb2.ModelSpec,
        body: bytes,
        budget: Budget,
    ) -> dict[str, Any]:
        if call == "predict":
            request = predict_pb2.PredictRequest(model_spec=spec)
            is_rows = json_requests.fill_predict(
                _parsed(body, budget), self._model.inputs, request
            )
            response = self._model.predict(request, budget)
            return json_answers.predictions(response.outputs, is_rows)
        if call == "classify":
            asked = classification_pb2.ClassificationRequest(model_spec=spec)
            json_requests.fill_classify(_parsed(body, budget), asked)
            result = self._model.classify(asked, budget).result
            return json_answers.classifications(result)
        raise ServingError(
            grpc.StatusCode.UNIMPLEMENTED, "Method not implemented!"
        )

    def _get(self, metadata: bool, spec: model_pb2.ModelSpec) -> dict[str, Any]:
        if not spec.name:
            raise invalid("Missing model name in request.")
        if metadata:
            asked = get_model_metadata_pb2.GetModelMetadataRequest(
                model_spec=spec, metadata_field=[SIGNATURE_DEF]
            )
            return json_answers.metadata(self._model.metadata(asked))
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return json_answers.status(self._model.status(request))


def error_body(message: str) -> bytes:
    """What a client is told that gets no answer."""
    # What it quotes may be no text.
    text = message.encode(errors="backslashreplace").decode()
    return json_answers.to_body({"error": text})


def _parsed(body: bytes, budget: Budget) -> dict[str, Any]:
    """The object that a body is, of no more rows than there may be."""
    document = json_requests.parse(body)
    given = [document.get(key) for key in ("instances", "examples", "inputs")]
    if isinstance(given[-1], dict):
        given += given[-1].values()
    for rows in given:
        budget.check_rows(len(rows) if isinstance(rows, list) else 0)
    return document


def _spec(
    name: str | None, version: str | None, label: str | None
) -> model_pb2.ModelSpec:
    """The model that a path names."""
    spec = model_pb2.ModelSpec(name=unquote(name or ""))
    if version is not None:
        # More digits than a version has are not even read.
        number = int(version) if len(version) < 100 else _LARGEST_VERSION + 1
        if number > _LARGEST_VERSION:
            raise invalid(f"Failed to convert version: {version} to numeric.")
        spec.version.value = number
    if label is not None:
        spec.version_label = unquote(label)
    return spec
