"""A SavedModel that is not its tree is found out."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from hierkeras.serving.checks import verification
from hierkeras.serving.checks.sample import Sample
from hierkeras.serving.graph import signatures
from hierkeras.tree.routing import Routing, route
from tests.serving.served_tree import save


@pytest.fixture(scope="module")
def folder(deep_tree, tmp_path_factory):
    return save(deep_tree, tmp_path_factory.mktemp("saved") / "1")


@pytest.fixture(scope="module")
def sample(deep_tree):
    rows = np.arange(64)
    tree = deep_tree.tree
    routed = route(tree, deep_tree.probabilities, rows, Routing("hard"))
    classes = np.array([name.encode() for name in tree.classes], object)
    paths = np.array([path.encode() for path in signatures.paths(tree)], object)
    images = deep_tree.images[rows]
    return Sample(
        images=images,
        encoded=np.array([tf.io.encode_png(i).numpy() for i in images], object),
        probabilities=routed.probabilities,
        named=classes[routed.probabilities.argmax(axis=1)],
        second=np.sort(routed.probabilities, axis=1)[:, -2],
        paths=paths[routed.leaves],
        of_leaves=np.unique(routed.leaves, return_index=True)[1],
        margins=np.ones(len(rows)),
    )


def test_a_faithful_one_passes(folder, sample):
    with_file = dataclasses.replace(
        sample, files={3: sample.encoded[3]}, refused={"x": []}
    )
    verified = verification.verify(folder, with_file, 1e-4)
    assert verified.images == 64
    assert verified.files == 1 and verified.refused == {"x": []}
    ordered = np.sort(sample.probabilities, axis=1)
    assert verified.compared == (ordered[:, -1] - ordered[:, -2] > 2e-4).sum()
    assert 0 < verified.score_difference < 1e-5
    assert verified.c_api_difference == 0


@pytest.mark.slow
def test_a_file_that_is_decoded_otherwise_is_found(folder, sample):
    encoded, probabilities = sample.encoded, sample.probabilities
    other = np.abs(probabilities - probabilities[3]).max(axis=1).argmax()
    wrong = dataclasses.replace(sample, files={3: encoded[other]})
    with pytest.raises(verification.Mismatch, match="serving_default"):
        verification.verify(folder, wrong, 1e-4)


def test_only_what_every_signature_was_compared_on_is_counted(sample):
    margins, second = sample.margins.copy(), sample.second.copy()
    margins[:3] = 1e-6  # goes elsewhere by the last digits
    second[2:5] = sample.probabilities.max(axis=1)[2:5]  # named by them
    uncertain = dataclasses.replace(sample, margins=margins, second=second)
    before = verification._Comparison(sample, 1e-4).is_clear
    after = verification._Comparison(uncertain, 1e-4).is_clear
    assert before[:5].all() and not after[:5].any()
    np.testing.assert_array_equal(before[5:], after[5:])


@pytest.fixture(scope="module")
def answer(folder, sample):
    """What the SavedModel answers."""
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return verification._ask(served, sample.encoded)


def compare(sample, answer):
    verification._Comparison(sample, 1e-4).with_tree("serving_default", answer)


def test_a_score_that_is_no_number_is_found(sample, answer):
    compare(sample, answer)
    wrong = {**answer, "scores": np.full_like(answer["scores"], np.nan)}
    with pytest.raises(verification.Mismatch, match="is no number"):
        compare(sample, wrong)


def altered(sample, field):
    values = getattr(sample, field).copy()
    if field == "probabilities":
        values[5] = np.roll(values[5], 1) * 0.9
    else:
        values[5] = b"another"
    return dataclasses.replace(sample, **{field: values})


@pytest.mark.parametrize(
    ("field", "complaint"),
    [
        ("probabilities", "a score differs by"),
        ("named", "is named differently"),
        ("paths", "takes another path"),
    ],
)
def test_a_difference_is_found(sample, answer, field, complaint):
    with pytest.raises(verification.Mismatch, match=complaint):
        compare(altered(sample, field), answer)


def test_what_hangs_on_the_last_digits_is_not_compared(sample, answer):
    wrong = altered(sample, "paths")
    margins = wrong.margins.copy()
    margins[5] = 1e-6
    compare(dataclasses.replace(wrong, margins=margins), answer)


@pytest.mark.slow
def test_images_that_are_cropped_and_not_resized_are_found(
    deep_tree, sample, tmp_path, monkeypatch
):
    size = deep_tree.images.shape[1]
    monkeypatch.setattr(
        signatures,
        "to_square",
        lambda images, image_size, pixels: images[:, :size, :size],
    )
    folder = save(deep_tree, tmp_path / "1")
    with pytest.raises(verification.Mismatch, match="not resized"):
        verification.verify(folder, sample, 1e-4)


def test_what_only_python_can_load_is_found(sample, tmp_path):
    """A module that holds Keras models fails in the C++ loader only."""
    import keras

    inputs = keras.Input((8, 8, 3))
    model = keras.Model(
        inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs))
    )
    module = tf.Module()
    module.model = model

    def answers(images):
        scores = model(tf.cast(images, tf.float32), training=False)
        return {"scores": scores}

    spec = tf.TensorSpec([None, 8, 8, 3], tf.uint8, "images")
    tf.saved_model.save(
        module,
        str(tmp_path / "1"),
        signatures={
            "predict_images": tf.function(answers, input_signature=[spec])
        },
    )
    folder = epath.Path(tmp_path / "1")
    meta_graph = verification.read_meta_graph(folder)
    assert tf.saved_model.load(str(folder)).signatures["predict_images"](
        tf.constant(sample.images)
    )["scores"].shape == (64, 10)
    signature = meta_graph.signature_def["predict_images"]
    run = (
        {signature.inputs["images"].name: sample.images},
        [signature.outputs["scores"].name],
    )
    with pytest.raises(verification.Mismatch, match="C API"):
        verification.run_elsewhere(folder, [run])
