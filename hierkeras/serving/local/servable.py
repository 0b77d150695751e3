"""One version of a model, loaded, which answers as TensorFlow Serving does.

It runs in a session, as in TensorFlow Serving. Status codes and messages are
those of its sources: predict_util.cc, classifier.cc, util.cc and
saved_model_warmup_util.cc in servables/tensorflow/, and of cc/saved_model/
util.cc in TensorFlow.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import (
    classification_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from hierkeras.serving.checks import warmup
from hierkeras.serving.graph.signatures import CLASSIFY_METHOD, SERVING_DEFAULT
from hierkeras.serving.local import slices, tensors
from hierkeras.serving.local.errors import ServingError, invalid
from hierkeras.serving.local.limits import Budget
from hierkeras.serving.trust import graphs

_MAX_WARM_UP_RECORDS = 1000
# TensorFlow runs the steps of all requests in the order in which they become
# ready. Small requests have threads of their own, so as not to stand behind
# thousands of steps of a large one.
_POOLS = _SMALL, _LARGE = range(2)
_LARGE_BYTES = 2**20
_PREDICT_METHODS = (
    "tensorflow/serving/predict",
    CLASSIFY_METHOD,
    "tensorflow/serving/regress",
)


class Servable:
    """A SavedModel that answers requests.

    Any number of threads may ask it at once.

    Args:
        path: The folder of the SavedModel.
        version: Its number, which answers name.
        trust: Whether it may do more than an export can.

    Raises:
        ServingError: If there is none.
        Exception: Whatever TensorFlow raises if it cannot be loaded.
    """

    def __init__(self, path: str, version: int, trust: bool = False) -> None:
        self.version = version
        self._path = path
        if not tf.saved_model.contains_saved_model(path):
            raise ServingError(
                grpc.StatusCode.NOT_FOUND,
                "Could not find SavedModel .pb or .pbtxt at supplied export "
                f"directory path: {path}",
            )
        if not trust:
            _check_trust(path)
        config = tf.compat.v1.ConfigProto()
        config.gpu_options.allow_growth = True
        # Optimising a large tree's graph takes longer, at the first request
        # of each signature, than a server for tests would gain by it.
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        for _ in _POOLS:
            config.session_inter_op_thread_pool.add()
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            with self._session.graph.as_default():
                meta_graph = tf.compat.v1.saved_model.loader.load(
                    self._session, [tf.saved_model.SERVING], path
                )
        except BaseException:
            self.close()
            raise
        self.signatures: Mapping[str, SignatureDef] = dict(
            meta_graph.signature_def
        )

    def close(self) -> None:
        """Frees what the model holds; nothing may be asked of it any more."""
        self._session.close()

    def warm_up(self) -> None:
        """Runs the requests that were exported for it, if any.

        Raises:
            ServingError: If one is refused, or is none.
            tf.errors.OpError: If they cannot be read.
        """
        path = os.path.join(self._path, "assets.extra", warmup.FILE)
        if not tf.io.gfile.exists(path):
            return
        records = tf.data.TFRecordDataset(path).as_numpy_iterator()
        for count, record in enumerate(records):
            if count == _MAX_WARM_UP_RECORDS:
                raise invalid(
                    "Number of warmup records exceeds the maximum "
                    f"({_MAX_WARM_UP_RECORDS}) at {path}"
                )
            try:
                log = prediction_log_pb2.PredictionLog.FromString(record)
            except DecodeError:
                raise invalid(
                    f"Failed to parse warmup record: {record!r} from {path}"
                ) from None
            self._run_log(log)

    def _run_log(self, log: prediction_log_pb2.PredictionLog) -> None:
        kind = log.WhichOneof("log_type")
        if kind == "predict_log":
            self.predict(log.predict_log.request, Budget())
        elif kind == "classify_log":
            self.classify(log.classify_log.request, Budget())
        elif kind is not None:
            raise ServingError(
                grpc.StatusCode.UNIMPLEMENTED,
                f"Unsupported log_type for warmup: {kind}",
            )

    def predict(
        self, request: predict_pb2.PredictRequest, budget: Budget
    ) -> predict_pb2.PredictResponse:
        """Answers a request of the Predict API.

        Args:
            request: The request; which model it names does not matter here.
            budget: What it may cost.

        Raises:
            ServingError: If it is refused.
        """
        signature = self._predict_signature(request.model_spec)
        feeds = _feeds(signature, request.inputs, budget)
        aliases = _wanted(signature, request.output_filter)
        response = predict_pb2.PredictResponse(
            model_spec=self._spec(request.model_spec)
        )
        outputs = self._run(signature, feeds, aliases, budget)
        for alias, value in outputs.items():
            response.outputs[alias].CopyFrom(_to_proto(value))
        return response

    def classify(
        self, request: classification_pb2.ClassificationRequest, budget: Budget
    ) -> classification_pb2.ClassificationResponse:
        """Answers a request of the Classify API.

        Args:
            request: The request; which model it names does not matter here.
            budget: What it may cost.

        Raises:
            ServingError: If it is refused.
        """
        signature = self._classify_signature(request.model_spec)
        if "inputs" not in signature.inputs:
            raise _unfit(
                "No classification inputs found in SignatureDef: "
                f"{str(signature).strip()}"
            )
        examples = _examples(request.input, budget)
        aliases = [a for a in ("classes", "scores") if a in signature.outputs]
        if not aliases:
            raise _unfit(
                "Expected classification signature outputs to contain at "
                'least one of "classes" or "scores". Signature was: '
                f"{str(signature).strip()}"
            )
        feeds = {signature.inputs["inputs"].name: examples}
        outputs = self._run(signature, feeds, aliases, budget)
        _check_classifications(outputs, len(examples))
        response = classification_pb2.ClassificationResponse(
            model_spec=self._spec(request.model_spec)
        )
        _add_classifications(response.result, outputs)
        return response

    def _predict_signature(self, spec: model_pb2.ModelSpec) -> SignatureDef:
        name = spec.signature_name or SERVING_DEFAULT
        if name not in self.signatures:
            raise _unfit(f'Serving signature key "{name}" not found.')
        signature = self.signatures[name]
        if signature.method_name not in _PREDICT_METHODS:
            raise ServingError(
                grpc.StatusCode.INTERNAL,
                "Expected prediction signature method_name to be one of "
                f"{{{', '.join(_PREDICT_METHODS)}}}. "
                f"Was: {signature.method_name}",
            )
        return signature

    def _classify_signature(self, spec: model_pb2.ModelSpec) -> SignatureDef:
        name = spec.signature_name or SERVING_DEFAULT
        if name not in self.signatures:
            raise invalid(f"No signature was found with the name: {name}")
        signature = self.signatures[name]
        if signature.method_name != CLASSIFY_METHOD:
            raise invalid(
                "Expected classification signature method_name to be "
                f"{CLASSIFY_METHOD}. Was: {signature.method_name}"
            )
        if len(signature.inputs) != 1:
            raise invalid("Expected one input Tensor.")
        if len(signature.outputs) not in (1, 2):
            raise invalid(
                "Expected one or two output Tensors, found "
                f"{len(signature.outputs)}"
            )
        return signature

    def _spec(self, requested: model_pb2.ModelSpec) -> model_pb2.ModelSpec:
        spec = model_pb2.ModelSpec(
            name=requested.name,
            signature_name=requested.signature_name or SERVING_DEFAULT,
        )
        spec.version.value = self.version
        return spec

    def _run(
        self,
        signature: SignatureDef,
        feeds: dict[str, np.ndarray],
        aliases: list[str],
        budget: Budget,
    ) -> dict[str, np.ndarray]:
        """The outputs of these names, of inputs by tensor name."""
        names = {alias: signature.outputs[alias].name for alias in aliases}
        pool = _LARGE if any(map(_is_large, feeds.values())) else _SMALL

        def run(part: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return self._run_session(names, part, budget, pool)

        if slices.are_rows(signature, aliases):
            return slices.run(run, feeds, budget)
        return run(feeds)

    def _run_session(
        self,
        names: dict[str, str],
        feeds: dict[str, np.ndarray],
        budget: Budget,
        pool: int,
    ) -> dict[str, np.ndarray]:
        """Runs the graph, for as long as the budget allows."""
        options = tf.compat.v1.RunOptions(inter_op_thread_pool=pool)
        if (left := budget.seconds_left()) < math.inf:
            options.timeout_in_ms = max(1, round(1000 * left))
        try:
            return self._session.run(names, feeds, options)
        except tf.errors.DeadlineExceededError:
            raise budget.over() from None
        except tf.errors.OpError as error:
            raise ServingError.of(error) from None
        except ValueError as error:  # a shape that the input cannot have
            raise invalid(str(error)) from None


def _is_large(values: np.ndarray) -> bool:
    """Whether an input is many rows, or bytes, and so may take long."""
    if values.ndim and len(values) > slices.FIRST_ROWS:
        return True
    if values.dtype == object:
        return sum(map(len, values.flat)) > _LARGE_BYTES
    return values.nbytes > _LARGE_BYTES


def _check_trust(path: str) -> None:
    try:
        graphs.check(path)
    except graphs.Untrusted as error:
        raise _unfit(str(error)) from None


def _feeds(
    signature: SignatureDef, given: Mapping[str, TensorProto], budget: Budget
) -> dict[str, np.ndarray]:
    """The inputs of a Predict request by tensor name."""
    if set(given) != set(signature.inputs):
        raise invalid(
            f"input size does not match signature: {len(given)}!="
            f"{len(signature.inputs)} len({_set(given)}) != "
            f"len({_set(signature.inputs)}). Sent extra: "
            f"{_set(set(given) - set(signature.inputs))}. Missing but "
            f"required: {_set(set(signature.inputs) - set(given))}."
        )
    feeds = {}
    for number, (alias, info) in enumerate(sorted(signature.inputs.items())):
        values = tensors.to_array(given[alias], alias, info, number, budget)
        if values.dtype == object:
            budget.check_pixels(values.flat)
        feeds[info.name] = values
    return feeds


def _wanted(signature: SignatureDef, only: Sequence[str]) -> list[str]:
    """The outputs that a Predict request asks for."""
    for position, alias in enumerate(only):
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs "
                f"expected to be in the set {_set(signature.outputs)}."
            )
        if alias in only[:position]:
            raise invalid(f"duplicate output tensor alias: {alias}")
    return list(only) or sorted(signature.outputs)


def _to_proto(value: np.ndarray) -> TensorProto:
    """A tensor in the field of its type, where clients look for it."""
    shape = tf.TensorShape(value.shape).as_proto()
    if value.dtype == np.float32:
        return TensorProto(
            dtype=types_pb2.DT_FLOAT,
            tensor_shape=shape,
            float_val=value.ravel(),
        )
    if value.dtype == object:
        return TensorProto(
            dtype=types_pb2.DT_STRING,
            tensor_shape=shape,
            string_val=value.ravel(),
        )
    return tf.make_tensor_proto(value)


def _examples(given: input_pb2.Input, budget: Budget) -> np.ndarray:
    """The serialized examples of a Classify request."""
    context, listed = b"", given.example_list.examples
    shared: list[bytes] = []
    if given.WhichOneof("kind") == "example_list_with_context":
        with_context = given.example_list_with_context
        context = with_context.context.SerializeToString()
        shared = list(_values_of(with_context.context))
        listed = with_context.examples
    budget.check_rows(len(listed))
    budget.check_pixels(
        image
        for example in listed
        for image in itertools.chain(shared, _values_of(example))
    )
    examples = [context + example.SerializeToString() for example in listed]
    if not examples:
        raise invalid("Input is empty.")
    return np.array(examples, object)


def _values_of(example: example_pb2.Example) -> Iterator[bytes]:
    """All that may be an image in an example."""
    for feature in example.features.feature.values():
        yield from feature.bytes_list.value


def _check_classifications(
    outputs: Mapping[str, np.ndarray], count: int
) -> None:
    expected: dict[str, Any] = {"classes": object, "scores": np.float32}
    for alias, value in outputs.items():
        if value.ndim != 2:
            raise invalid(
                "Expected Tensor shape: [batch_size num_classes] but got "
                f"{list(value.shape)}"
            )
        if value.dtype != expected[alias]:
            raise invalid(
                f"Expected {alias} Tensor of "
                f"{'DT_STRING' if alias == 'classes' else 'DT_FLOAT'}. "
                f"Got: {value.dtype}"
            )
        if len(value) != count:
            raise invalid(
                f"Expected {alias} output batch size of {count}. "
                f"Got: {len(value)}"
            )
    widths = [value.shape[1] for value in outputs.values()]
    if len(set(widths)) > 1:
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got "
            f"{widths[0]} vs. {widths[1]}"
        )


def _add_classifications(
    result: classification_pb2.ClassificationResult,
    outputs: Mapping[str, np.ndarray],
) -> None:
    count, width = next(iter(outputs.values())).shape
    for row in range(count):
        classifications = result.classifications.add()
        for column in range(width):
            one = classifications.classes.add()
            if "classes" in outputs:
                one.label = outputs["classes"][row, column]
            if "scores" in outputs:
                one.score = outputs["scores"][row, column]


def _set(names: Any) -> str:
    return f"{{{','.join(sorted(names))}}}"


def _unfit(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.FAILED_PRECONDITION, message)
