"""What a client sees of a served tree."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hierkeras.serving.checks import verification
from hierkeras.serving.graph import signatures
from hierkeras.serving.graph.composite import Composite
from hierkeras.tree.routing import Routing, route
from tests.serving.served_tree import save


@pytest.fixture(scope="module")
def saved(deep_tree, tmp_path_factory):
    return save(deep_tree, tmp_path_factory.mktemp("saved") / "1", top=4)


@pytest.fixture(scope="module")
def served(saved):
    return tf.saved_model.load(str(saved)).signatures


@pytest.fixture(scope="module")
def lenient(deep_tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lenient") / "1"
    save(deep_tree, folder, bad_images="empty", max_pixels=1000)
    return tf.saved_model.load(str(folder)).signatures


def png(images):
    return [tf.io.encode_png(image).numpy() for image in images]


def test_answers_name_the_best_classes_and_the_path(served, deep_tree):
    rows = np.arange(40)
    routed = route(
        deep_tree.tree, deep_tree.probabilities, rows, Routing("hard")
    )
    answer = served["predict_images"](tf.constant(deep_tree.images[rows]))

    assert answer["classes"].shape == answer["scores"].shape == (40, 4)
    for row in rows:
        leaf = deep_tree.tree.leaves[routed.leaves[row]]
        steps = [node.name for node in deep_tree.tree.path(leaf.name)]
        assert answer["path"][row].numpy().decode() == "/".join(steps)
        order = np.argsort(-routed.probabilities[row])[:4]
        expected = [
            deep_tree.tree.classes[i] if routed.probabilities[row, i] else ""
            for i in order
        ]
        named = [name.decode() for name in answer["classes"][row].numpy()]
        assert named == expected
        np.testing.assert_allclose(
            answer["scores"][row], routed.probabilities[row][order], atol=1e-5
        )


def test_encoded_images_and_examples_are_answered_like_pixels(
    served, deep_tree
):
    images = deep_tree.images[:9]
    pixels = served["predict_images"](tf.constant(images))
    encoded = served["serving_default"](tf.constant(png(images)))
    examples = [signatures.to_example(image) for image in png(images)]
    classified = served["classify"](tf.constant(examples))

    for name in ("classes", "scores", "path"):
        np.testing.assert_array_equal(pixels[name], encoded[name])
    assert set(classified) == {"classes", "scores"}
    for name in classified:
        np.testing.assert_array_equal(pixels[name], classified[name])


def test_pixels_of_any_size_are_cropped_and_resized_as_in_training(
    served, deep_tree
):
    from hierkeras.data.decoding.graph import decode_and_resize

    images = np.random.default_rng(1).integers(0, 256, (3, 30, 21, 3))
    images = images.astype(np.uint8)
    size = deep_tree.images.shape[1]
    small = tf.stack([decode_and_resize(image, size) for image in images])

    large_answer = served["predict_images"](tf.constant(images))
    small_answer = served["predict_images"](small)

    for name in large_answer:
        np.testing.assert_array_equal(large_answer[name], small_answer[name])


@pytest.mark.parametrize("name", ["serving_default", "classify"])
def test_a_bad_row_is_named(served, deep_tree, name):
    rows = png(deep_tree.images[:3])
    rows[1] = b"no image"
    if name == "classify":
        rows = [signatures.to_example(row) for row in rows]
    with pytest.raises(tf.errors.InvalidArgumentError, match="row 1 of the"):
        served[name](tf.constant(rows))


# In the fast suite `test_decoding` asks this of another export.
@pytest.mark.slow
def test_a_bad_row_may_be_answered_with_nothing(lenient, deep_tree):
    good = png(deep_tree.images[:3])
    large = tf.io.encode_png(np.zeros((40, 40, 3), np.uint8)).numpy()
    mixed = [good[0], b"", large, good[1], good[2][:-20], good[2]]

    answer = lenient["serving_default"](tf.constant(mixed))

    alone = lenient["serving_default"](tf.constant(good))
    for name in ("classes", "path"):
        np.testing.assert_array_equal(
            answer[name].numpy()[[0, 3, 5]], alone[name]
        )
    np.testing.assert_allclose(
        answer["scores"].numpy()[[0, 3, 5]], alone["scores"], atol=1e-5
    )
    for bad in (1, 2, 4):
        assert set(answer["classes"].numpy()[bad]) == {b""}
        assert not answer["scores"].numpy()[bad].any()
        assert answer["path"].numpy()[bad] == b""


def test_an_empty_request_gets_an_empty_answer(served):
    answer = served["serving_default"](tf.constant([], tf.string))
    assert answer["classes"].shape == answer["scores"].shape == (0, 4)
    assert answer["path"].shape == (0,)


def test_fewer_classes_than_asked_for(deep_tree):
    composite = Composite(deep_tree.tree, deep_tree.models, Routing("hard"))
    images = tf.constant(deep_tree.images[:2])
    answer = signatures._answer(composite, images, top=100)
    assert answer["classes"].shape == (2, len(deep_tree.tree.classes))


def test_the_contract_of_the_signatures(saved):
    found = verification.read_meta_graph(saved).signature_def
    described = {
        name: (
            signature.method_name,
            {k: v.dtype for k, v in signature.inputs.items()},
            {k: v.dtype for k, v in signature.outputs.items()},
        )
        for name, signature in found.items()
        if not name.startswith("__")
    }
    string, floats, bytes_ = 7, 1, 4
    answers = {"classes": string, "scores": floats}
    predict = "tensorflow/serving/predict"
    assert described == {
        "serving_default": (
            predict,
            {"image_bytes": string},
            {**answers, "path": string},
        ),
        "predict_images": (
            predict,
            {"images": bytes_},
            {**answers, "path": string},
        ),
        "classify": (
            "tensorflow/serving/classify",
            {"inputs": string},
            answers,
        ),
    }


def test_it_loads_without_keras_and_without_this_project(
    saved, served, deep_tree, tmp_path
):
    np.save(tmp_path / "images.npy", deep_tree.images[:5])
    program = (
        "import sys\n"
        "sys.modules['keras'] = sys.modules['hierkeras'] = None\n"
        "import numpy as np, tensorflow as tf\n"
        f"served = tf.saved_model.load({str(saved)!r}).signatures\n"
        "images = tf.constant(np.load('images.npy'))\n"
        "scores = served['predict_images'](images)['scores']\n"
        "np.save('scores.npy', scores.numpy())\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    here = served["predict_images"](tf.constant(deep_tree.images[:5]))
    np.testing.assert_array_equal(
        np.load(tmp_path / "scores.npy"), here["scores"]
    )


def test_weights_are_stored_once(shared_tree, deep_tree, saved, tmp_path):
    shared = save(shared_tree, tmp_path / "shared")
    for folder, grown in (
        (Path(shared), shared_tree),
        (Path(saved), deep_tree),
    ):
        distinct = {
            np.asarray(weight).tobytes()
            for model in grown.models.values()
            for weight in model.weights
        }
        stored = sum(
            path.stat().st_size for path in folder.rglob("*") if path.is_file()
        )
        assert stored <= 1.05 * sum(map(len, distinct)) + 1e6
        variables = sum(
            path.stat().st_size for path in (folder / "variables").iterdir()
        )
        assert variables <= 1.05 * sum(map(len, distinct)) + 1e3
        assert folder.exists()


def test_a_served_graph_draws_and_changes_nothing(saved):
    operations = verification.serving_operations(
        verification.read_meta_graph(saved)
    )
    assert operations["Conv2D"] >= 12  # two in each of six networks
    assert not [
        name for name in operations if "Random" in name or "Assign" in name
    ]
    assert not {"EagerPyFunc", "PyFunc"} & set(operations)
