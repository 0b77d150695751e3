"""What a server runs before a version goes live."""

import numpy as np
import pytest
import tensorflow as tf
from etils import epath
from tensorflow_serving.apis import prediction_log_pb2

from hierkeras.serving.checks import warmup
from hierkeras.serving.checks.sample import Sample


def sample(of_leaves):
    images = np.zeros((3, 8, 8, 3), np.uint8)
    rows = np.zeros(3)
    return Sample(
        images=images,
        encoded=np.array([tf.io.encode_png(i).numpy() for i in images], object),
        probabilities=np.ones((3, 1), np.float32),
        named=np.array([b"a"] * 3, object),
        second=rows,
        paths=np.array([b"root"] * 3, object),
        of_leaves=np.array(of_leaves, np.int64),
        margins=rows,
    )


@pytest.mark.parametrize(
    ("of_leaves", "images"), [([], 1), ([2, 0], 2), ([1, 1, 1], 1)]
)
def test_every_request_has_an_image(tmp_path, of_leaves, images):
    reached = warmup.write(epath.Path(tmp_path), sample(of_leaves))

    assert reached == len(of_leaves)
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(tmp_path / warmup.FILE))
    ]
    # One for each image alone, all of them by each signature, and one that
    # is not plain.
    *predicted, classified, unusual, unusual_too = logs
    (value,) = unusual.predict_log.request.inputs.values()
    assert tf.io.decode_image(value.string_val[0]).shape == (8, 8, 4)
    assert unusual_too.HasField("classify_log")
    sizes = [
        next(iter(log.predict_log.request.inputs.values()))
        .tensor_shape.dim[0]
        .size
        for log in predicted
    ]
    assert sizes == images * [1] + [images, images]
    request = classified.classify_log.request
    assert len(request.input.example_list.examples) == images
