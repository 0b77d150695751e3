"""An answer is not believed, wherever it comes from."""

from concurrent import futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from hierkeras._errors import UserError
from hierkeras.serving.client.remote import RemoteModel
from hierkeras.serving.client.saved_model import LocalModel
from tests.serving.client import wrong_answers
from tests.serving.client.wrong_answers import DOUBLE, GOOD, WRONG, one_line
from tests.serving.served_tree import encoded
from tests.serving.trust import others


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with whatever it was told to."""

    def __init__(self):
        self.outputs = {}

    def Predict(self, request, context):
        response = predict_pb2.PredictResponse()
        for name, tensor in self.outputs.items():
            response.outputs[name].CopyFrom(tensor)
        return response


@pytest.fixture(scope="module")
def service():
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service = Service()
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        service, server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    service.model = RemoteModel(f"127.0.0.1:{port}", "animals", 20)
    yield service
    service.model.close()
    server.stop(0)


def proto(value):
    """A tensor as `hierkeras.serve` and TensorFlow Serving send it."""
    value = np.asarray(value)
    if value.dtype != object:
        return tf.make_tensor_proto(value)
    return TensorProto(
        dtype=tf.string.as_datatype_enum,
        tensor_shape=tf.TensorShape(value.shape).as_proto(),
        string_val=value.ravel().tolist(),
    )


def refused(model):
    """What is said of an answer for two images."""
    with pytest.raises(UserError) as caught:
        model.answer(encoded(2))
    assert one_line(str(caught.value))
    return str(caught.value)


def test_a_good_answer_is_taken(service):
    service.outputs = {name: proto(value) for name, value in GOOD.items()}
    first, second = service.model.answer(encoded(2))
    assert first == second
    assert first.classes == ("ant", "bee")
    assert first.scores == (0.75, 0.25)


def test_scores_may_come_number_by_number(service):
    service.outputs = {name: proto(value) for name, value in GOOD.items()}
    service.outputs["scores"] = TensorProto(
        dtype=tf.float32.as_datatype_enum,
        tensor_shape=tf.TensorShape([2, 2]).as_proto(),
        float_val=[0.75, 0.25, 0.5, 0.5],
    )
    assert service.model.answer(encoded(2))[1].scores == (0.5, 0.5)


@pytest.mark.parametrize("kind", WRONG)
def test_a_server_s_wrong_answer_is_one_line(service, kind):
    wrong, named = WRONG[kind]
    answer = wrong_answers.answer(wrong)
    service.outputs = {name: proto(value) for name, value in answer.items()}
    told = refused(service.model)
    assert "model 'animals' on 127.0.0.1" in told
    assert named in told


@pytest.mark.parametrize("missing", [["path"], ["scores", "path"], list(GOOD)])
def test_an_output_that_a_server_leaves_out_is_named(service, missing):
    service.outputs = {
        name: proto(value)
        for name, value in GOOD.items()
        if name not in missing
    }
    told = refused(service.model)
    for name in missing:
        assert f"no {name}" in told


def shaped(dtype, *shape, **values):
    """A tensor that says whatever it wants of its shape and type."""
    tensor = TensorProto(dtype=dtype, **values)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


FLOAT, STRING = tf.float32.as_datatype_enum, tf.string.as_datatype_enum


@pytest.mark.parametrize(
    ("name", "tensor", "named"),
    [
        ("scores", shaped(FLOAT, 2, 2**40, float_val=[1]), "and hold 1"),
        ("scores", shaped(FLOAT, 2, 2**62, 4, float_val=[1]), "of shape"),
        ("scores", shaped(FLOAT, 2, 2**62, float_val=[1]), "and hold 1"),
        ("scores", shaped(FLOAT, 2, 2, float_val=[1]), "promise 4 values"),
        ("scores", shaped(FLOAT, 2, -2, float_val=[1]), "of shape [2, -2]"),
        ("scores", shaped(FLOAT, -1, 2, float_val=[1]), "of shape [-1, 2]"),
        ("scores", shaped(FLOAT, 2, 2), "hold 0"),
        ("scores", shaped(FLOAT, 2, 1, tensor_content=b"12345"), "hold 1"),
        ("scores", shaped(999, 2, 2), "of type number 999"),
        ("scores", shaped(0, 2, 2), "of type invalid"),
        ("classes", shaped(STRING, 2, 2**40, string_val=[b"a"]), "hold 1"),
        ("path", shaped(STRING, 2, string_val=[b"a"] * 9), "hold 9"),
        ("path", shaped(STRING), "of shape []"),
        ("scores", proto(DOUBLE[0]["scores"]), "of type double"),
    ],
)
def test_what_a_server_promises_is_not_made_room_for(
    service, name, tensor, named
):
    service.outputs = {
        **{other: proto(value) for other, value in GOOD.items()},
        name: tensor,
    }
    told = refused(service.model)
    assert f"{name} " in told
    assert named in told


def saved(folder, answer):
    """A SavedModel that answers the same whatever it is asked."""
    constants = {
        name: tf.constant(np.asarray(value).tolist(), dtype, value.shape)
        for name, value in answer.items()
        for dtype in [
            tf.string if value.dtype == object else tf.as_dtype(value.dtype)
        ]
    }
    return others.save(
        folder, lambda _: {k: tf.identity(v) for k, v in constants.items()}
    )


@pytest.mark.parametrize("kind", WRONG)
def test_a_saved_model_s_wrong_answer_is_one_line(tmp_path, kind):
    wrong, named = WRONG[kind]
    folder = saved(tmp_path / "1", wrong_answers.answer(wrong))
    told = refused(LocalModel(str(folder)))
    assert str(folder) in told
    assert named in told


def test_a_saved_model_s_type_that_is_not_read_is_named(tmp_path):
    folder = saved(tmp_path / "1", wrong_answers.answer(DOUBLE[0]))
    assert "data type 2" in refused(LocalModel(str(folder)))


def test_a_signature_that_names_no_tensor_is_named(tmp_path):
    @others.edited
    def misnamed(graph, places):
        graph.signature_def["serving_default"].outputs["path"].name = "Const:x"

    folder = misnamed(tmp_path / "1", others.Places(tmp_path))
    assert "'Const:x' names no output" in refused(LocalModel(str(folder)))
