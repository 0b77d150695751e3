"""Requests that TensorFlow Serving runs before a version goes live.

See https://www.tensorflow.org/tfx/serving/saved_model_warmup.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from etils import epath
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from hierkeras.serving.checks.sample import Sample
from hierkeras.serving.graph import signatures
from hierkeras.serving.graph.signatures import PREDICT_IMAGES, SERVING_DEFAULT

FILE = "tf_serving_warmup_requests"
# TensorFlow Serving refuses a file with more than 1,000.
_MOST = 999


def write(folder: epath.Path, sample: Sample) -> int:
    """Writes a request for each leaf that runs for an image, and some for all.

    A server prepares the graph anew for each signature, and for each leaf
    when it first runs.

    Args:
        folder: The SavedModel's `assets.extra`.
        sample: Images and the leaves that run for them.

    Returns:
        Number of leaves that run for the requests.
    """
    # Where no leaf runs there is still the root.
    needed = sample.of_leaves if len(sample.of_leaves) else [0]
    rows = np.unique(needed)[: _MOST - 5]
    logs = [
        _predict("image_bytes", [sample.encoded[row]], SERVING_DEFAULT)
        for row in rows
    ]
    logs += [
        _predict("image_bytes", sample.encoded[rows].tolist(), SERVING_DEFAULT),
        _predict("images", sample.images[rows], PREDICT_IMAGES),
        _classify(sample.encoded[rows].tolist()),
        # What decodes all but plain images takes seconds to begin.
        _predict("image_bytes", [_unusual(sample)], SERVING_DEFAULT),
        _classify([_unusual(sample)]),
    ]
    with tf.io.TFRecordWriter(str(folder / FILE)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    return len(sample.of_leaves)


def _unusual(sample: Sample) -> bytes:
    """An image as a PNG with opacity."""
    image = sample.images[0]
    opaque = np.full([*image.shape[:2], 1], 255, np.uint8)
    encoded: bytes = tf.io.encode_png(
        np.concatenate([image, opaque], 2)
    ).numpy()
    return encoded


def _predict(
    name: str, value: np.ndarray | list[bytes], signature: str
) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )


def _classify(images: list[bytes]) -> prediction_log_pb2.PredictionLog:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.signature_name = signatures.CLASSIFY
    for image in images:
        example = signatures.to_example(image)
        request.input.example_list.examples.add().ParseFromString(example)
    return prediction_log_pb2.PredictionLog(
        classify_log=prediction_log_pb2.ClassifyLog(request=request)
    )
