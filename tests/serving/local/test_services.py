"""The services answer, and refuse, as TensorFlow Serving does."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from hierkeras.serving.graph import signatures
from hierkeras.serving.local.server import Server
from tests import fuzzing
from tests.serving import served_tree
from tests.serving.local import test_fuzzed_requests as fuzzed
from tests.serving.served_tree import TOP, encoded, publish, tag, write

server = served_tree.server
base_path = served_tree.base_path


@pytest.fixture
def channel(server):
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options) as channel:
        yield channel


@pytest.fixture
def predict(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict


@pytest.fixture
def classify(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Classify


@pytest.fixture
def metadata(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return stub.GetModelMetadata


@pytest.fixture
def status(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The same SavedModel, called without a server."""
    folder = write(tmp_path_factory.mktemp("model") / "7", 7)
    return tf.saved_model.load(str(folder))


def request_for(files, signature="", name="animals", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if files is not None:
        inputs["image_bytes"] = files
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return request


def classify_request(images, signature=signatures.CLASSIFY):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "animals"
    request.model_spec.signature_name = signature
    for image in images:
        example = request.input.example_list.examples.add()
        example.ParseFromString(signatures.to_example(image))
    return request


def check_refused(method, request, code, *named):
    with pytest.raises(grpc.RpcError) as caught:
        method(request)
    assert caught.value.code() == code, caught.value
    for name in named:
        assert name in caught.value.details()


def test_predict_answers_with_what_the_model_does(predict, model):
    images = encoded(5)
    response = predict(request_for(images))
    expected = model.signatures["serving_default"](tf.constant(images))
    assert response.outputs.keys() == {"classes", "scores", "path"}
    for alias, proto in response.outputs.items():
        value = tf.make_ndarray(proto)
        wanted = expected[alias].numpy()
        assert value.shape == wanted.shape
        if alias == "scores":
            np.testing.assert_allclose(value, wanted, atol=1e-5)
        else:
            assert (value == wanted).all()
    # Where clients look for them, and TensorFlow Serving puts them.
    assert len(response.outputs["scores"].float_val) == 5 * TOP
    assert len(response.outputs["classes"].string_val) == 5 * TOP


def test_the_answer_names_model_signature_and_version(predict):
    spec = predict(request_for(encoded(1))).model_spec
    assert (spec.name, spec.signature_name) == ("animals", "serving_default")
    assert spec.version.value == 7


def test_other_signatures_are_reached_by_name(predict, model):
    images = np.full((2, 9, 9, 3), 100, np.uint8)
    response = predict(request_for(None, "predict_images", images=images))
    expected = model.signatures["predict_images"](tf.constant(images))
    assert response.model_spec.signature_name == "predict_images"
    assert tf.make_ndarray(response.outputs["scores"]) == pytest.approx(
        expected["scores"].numpy(), abs=1e-5
    )
    examples = [signatures.to_example(image) for image in encoded(2)]
    response = predict(request_for(None, "classify", inputs=examples))
    assert response.outputs.keys() == {"classes", "scores"}


def test_a_request_without_rows_is_answered_without_rows(predict):
    request = request_for(None, image_bytes=np.zeros([0], object))
    response = predict(request)
    assert tf.make_ndarray(response.outputs["scores"]).shape == (0, TOP)


def test_only_the_outputs_asked_for_are_sent(predict):
    request = request_for(encoded(1))
    request.output_filter.append("path")
    assert predict(request).outputs.keys() == {"path"}
    request.output_filter.append("path")
    check_refused(
        predict,
        request,
        grpc.StatusCode.INVALID_ARGUMENT,
        "duplicate output tensor alias: path",
    )
    request.output_filter[:] = ["paths"]
    check_refused(
        predict,
        request,
        grpc.StatusCode.INVALID_ARGUMENT,
        "output tensor alias not found in signature: paths Outputs expected "
        "to be in the set {classes,path,scores}.",
    )


def test_a_version_can_be_asked_for(predict):
    request = request_for(encoded(1))
    request.model_spec.version.value = 7
    assert predict(request).model_spec.version.value == 7
    request.model_spec.version.value = 6
    check_refused(
        predict,
        request,
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Specific(animals, 6)",
    )
    request.model_spec.version_label = "stable"
    check_refused(
        predict,
        request,
        grpc.StatusCode.INVALID_ARGUMENT,
        "Unrecognized servable version label: stable",
    )


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (
            predict_pb2.PredictRequest(),
            grpc.StatusCode.INVALID_ARGUMENT,
            "Missing ModelSpec",
        ),
        (
            request_for([b"x"], name=""),
            grpc.StatusCode.INVALID_ARGUMENT,
            "ModelSpec has no name specified.",
        ),
        (
            request_for([b"x"], name="plants"),
            grpc.StatusCode.NOT_FOUND,
            "Servable not found for request: Latest(plants)",
        ),
        (
            request_for([b"x"], "serving"),
            grpc.StatusCode.FAILED_PRECONDITION,
            'Serving signature key "serving" not found.',
        ),
        (
            request_for(None, images=[b"x"]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "input size does not match signature: 1!=1 len({images}) != "
            "len({image_bytes}). Sent extra: {images}. Missing but required: "
            "{image_bytes}.",
        ),
        (
            request_for([1.5]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "Expects arg[0] to be string but float is provided",
        ),
        (
            request_for([[b"x"]]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "input image_bytes has shape (1, 1); the signature takes (None,)",
        ),
        (
            request_for([*encoded(1), b"x"]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "row 1 of the request is no JPEG",
        ),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    predict, request_, code, message
):
    check_refused(predict, request_, code, message)


def test_a_tensor_that_cannot_be_read_is_refused(predict):
    request = request_for(encoded(1))
    request.inputs["image_bytes"].dtype = 99
    check_refused(
        predict,
        request,
        grpc.StatusCode.INVALID_ARGUMENT,
        "tensor parsing error: image_bytes",
    )
    request.inputs["image_bytes"].dtype = tf.uint8.as_datatype_enum
    request.inputs["image_bytes"].tensor_content = b"123"
    check_refused(
        predict,
        request,
        grpc.StatusCode.INVALID_ARGUMENT,
        "tensor parsing error: image_bytes",
    )
    request = request_for(None, "predict_images")
    pixels = request.inputs["images"]
    pixels.CopyFrom(tf.make_tensor_proto(np.zeros((1, 1, 1, 3), np.uint8)))
    pixels.ClearField("tensor_content")
    pixels.int_val[:] = [0, 255, 256]
    check_refused(
        predict,
        request,
        grpc.StatusCode.INVALID_ARGUMENT,
        "tensor parsing error: images",
    )


def test_a_complaint_says_nothing_of_python_or_the_graph(predict):
    with pytest.raises(grpc.RpcError) as caught:
        predict(request_for([b"x"]))
    assert caught.value.details() == (
        "row 0 of the request is no JPEG, PNG, GIF, BMP or WebP image, or is "
        "cut off or damaged"
    )


def test_a_long_complaint_is_cut_off(predict):
    request = request_for([b"x"], "s" * 2000)
    with pytest.raises(grpc.RpcError) as caught:
        predict(request)
    assert caught.value.details().endswith("sss...TRUNCATED")
    assert len(caught.value.details()) == 1024 + len("...TRUNCATED")


def test_large_requests_and_answers_pass(predict):
    (image,) = encoded(1, size=1500)
    assert len(image) > 6 * 2**20  # more than gRPC's own limit
    assert predict(request_for([image])).model_spec.version.value == 7


def test_classify_answers_with_labels_and_scores(classify, predict):
    images = encoded(3)
    response = classify(classify_request(images))
    assert response.model_spec.version.value == 7
    assert response.model_spec.signature_name == "classify"
    outputs = predict(request_for(images)).outputs
    names = tf.make_ndarray(outputs["classes"])
    scores = tf.make_ndarray(outputs["scores"])
    assert len(response.result.classifications) == 3
    for row, classified in enumerate(response.result.classifications):
        found = [one.label for one in classified.classes]
        assert found == [name.decode() for name in names[row]]
        assert all(name.startswith(tag(7)) for name in found)
        assert [one.score for one in classified.classes] == pytest.approx(
            scores[row], abs=1e-5
        )


def test_classify_takes_examples_with_a_context(classify):
    images = encoded(2)
    request = classify_request(images)
    plain = classify(request)
    examples = list(request.input.example_list.examples)
    request.input.example_list_with_context.examples.extend(examples)
    context = request.input.example_list_with_context.context
    context.features.feature["season"].bytes_list.value.append(b"spring")
    assert classify(request).result == plain.result


@pytest.mark.parametrize(
    ("signature", "code", "message"),
    [
        (
            "",
            grpc.StatusCode.INVALID_ARGUMENT,
            "Expected classification signature method_name to be "
            "tensorflow/serving/classify. Was: tensorflow/serving/predict",
        ),
        (
            "sort",
            grpc.StatusCode.INVALID_ARGUMENT,
            "No signature was found with the name: sort",
        ),
    ],
)
def test_classify_wants_its_own_signature(classify, signature, code, message):
    check_refused(
        classify, classify_request(encoded(1), signature), code, message
    )


def test_classify_wants_examples(classify):
    check_refused(
        classify,
        classify_request([]),
        grpc.StatusCode.INVALID_ARGUMENT,
        "Input is empty.",
    )


def test_what_is_not_offered_says_so(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    check_refused(
        stub.Regress,
        regression_pb2.RegressionRequest(),
        grpc.StatusCode.UNIMPLEMENTED,
    )


def test_metadata_tells_the_signatures(metadata):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "animals"
    request.metadata_field.append("signature_def")
    response = metadata(request)
    assert response.model_spec.name == "animals"
    assert response.model_spec.version.value == 7
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    assert found.signature_def.keys() >= {
        "serving_default",
        "predict_images",
        "classify",
    }
    assert found.signature_def["classify"].method_name == (
        "tensorflow/serving/classify"
    )
    assert "image_bytes" in found.signature_def["serving_default"].inputs


def test_metadata_refuses_what_it_does_not_know(metadata):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    check_refused(metadata, request, invalid, "Missing ModelSpec")
    request.model_spec.name = "animals"
    check_refused(metadata, request, invalid, "at least one metadata_field")
    request.metadata_field.append("weights")
    check_refused(metadata, request, invalid, "weights is not supported")
    request.metadata_field[:] = ["signature_def"]
    request.model_spec.name = "plants"
    check_refused(
        metadata, request, grpc.StatusCode.NOT_FOUND, "Latest(plants)"
    )


def status_request(name, version=None):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    return request


def test_status_tells_where_versions_stand(status):
    for request in status_request("animals"), status_request("animals", 7):
        (row,) = status(request).model_version_status
        assert (row.version, row.state) == (7, row.AVAILABLE)
        assert (row.status.error_code, row.status.error_message) == (0, "")
    not_found = grpc.StatusCode.NOT_FOUND
    check_refused(
        status,
        status_request("animals", 8),
        not_found,
        "Could not find version 8 of model animals",
    )
    check_refused(
        status,
        status_request("plants"),
        not_found,
        "Could not find any versions of model plants",
    )
    check_refused(
        status,
        get_model_status_pb2.GetModelStatusRequest(),
        grpc.StatusCode.INVALID_ARGUMENT,
        "Missing ModelSpec",
    )


def test_status_tells_why_a_version_does_not_load(base_path):
    publish(base_path, 1)
    said = []
    server = Server("animals", str(base_path), "127.0.0.1", 0, 1, said.append)
    server.start(0)
    try:
        (base_path / "2").mkdir()
        server.versions.poll()
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            newer, older = stub.GetModelStatus(
                status_request("animals")
            ).model_version_status
    finally:
        server.stop(0)
    assert (newer.version, newer.state) == (2, newer.END)
    assert newer.status.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert str(base_path / "2") in newer.status.error_message
    assert (older.version, older.state) == (1, older.AVAILABLE)


@fuzzing.times(25)
@given(asked=fuzzed.damaged_messages())
def test_a_damaged_message_is_answered_or_refused(channel, asked):
    fuzzed.check_message(channel, *asked)


@fuzzing.times(25)
@given(message=fuzzed.requests())
def test_any_tensors_are_answered_or_refused(channel, message):
    fuzzed.check_message(channel, fuzzed.PREDICT, message)
