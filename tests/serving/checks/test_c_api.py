"""A SavedModel answers through the C API, without TensorFlow's Python."""

import subprocess
import sys

import msgspec
import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from hierkeras.serving.checks import c_api, verification
from hierkeras.tree.routing import Routing
from tests.serving.served_tree import save
from tests.serving.trust import others


@pytest.fixture(scope="module")
def saved(deep_tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "1"
    return save(deep_tree, folder, Routing("soft"), top=3)


def elsewhere(folder, runs):
    """Runs in a process that fails if it imports TensorFlow's Python."""
    return subprocess.run(
        [sys.executable, "-m", "hierkeras.serving.checks.c_api"],
        input=msgspec.msgpack.encode(c_api.Request(str(folder), runs)),
        capture_output=True,
        timeout=120,
    )


def test_answers_are_those_of_this_process_bit_for_bit(saved, deep_tree):
    batches = [deep_tree.images[:size] for size in (0, 1, 33)]
    signature = verification.read_meta_graph(saved).signature_def[
        "predict_images"
    ]
    outputs = sorted(signature.outputs)

    done = elsewhere(
        saved,
        [
            (
                {signature.inputs["images"].name: c_api.Tensor.of(images)},
                [signature.outputs[name].name for name in outputs],
            )
            for images in batches
        ],
    )

    assert done.returncode == 0, done.stderr.decode()
    answers = msgspec.msgpack.decode(done.stdout, type=list[list[c_api.Tensor]])
    served = tf.saved_model.load(str(saved)).signatures["predict_images"]
    for images, answer in zip(batches, answers, strict=True):
        here = served(tf.constant(images))
        for name, tensor in zip(outputs, answer, strict=True):
            there = tensor.array()
            assert there.shape == here[name].shape
            assert there.tolist() == here[name].numpy().tolist()


def test_strings_of_any_bytes_go_in_and_out():
    values = np.array([b"", b"\0a\0", b"x" * 1000], object)
    packed = msgspec.msgpack.encode(c_api.Tensor.of(values))
    unpacked = msgspec.msgpack.decode(packed, type=c_api.Tensor).array()
    assert unpacked.tolist() == values.tolist()


def test_what_is_no_saved_model_is_refused(tmp_path):
    done = elsewhere(tmp_path, [])
    assert done.returncode == 1
    assert "error: Could not find SavedModel" in done.stderr.decode()


def test_an_error_of_the_graph_is_told(tmp_path):
    # What decodes images would take seconds to begin, and fails alike.
    def refuse(images):
        no = tf.debugging.Assert(False, ["row 0 of the request is no JPEG"])
        with tf.control_dependencies([no]):
            return others.answer(tf.identity(images), "")

    folder = others.save(tmp_path / "1", refuse)
    signature = verification.read_meta_graph(epath.Path(folder))
    signature = signature.signature_def["serving_default"]
    broken = c_api.Tensor.of(np.array([b"?"], object))
    done = elsewhere(
        folder,
        [
            (
                {signature.inputs["image_bytes"].name: broken},
                [signature.outputs["classes"].name],
            )
        ],
    )
    assert done.returncode == 1
    assert "row 0 of the request is no JPEG" in done.stderr.decode()
