"""The files of TensorBoard's embedding projector, read back."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.plugins.projector import ProjectorConfig

from hierkeras.analysis import projector
from hierkeras.tree.nodes import Tree
from tests import builders

CLASSES = ("0", "1", "2", "3")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return builders.open_context(tmp_path_factory.mktemp("digits"))


def tree(*names):
    """A branch over two leaves, which name the classes in another order."""
    a, b, c, d = names
    leaves = [builders.leaf("root.1", (d, a)), builders.leaf("root.2", (c, b))]
    return Tree(builders.branch("root", names, *leaves, job="root"))


def points(context, names=CLASSES):
    """All validation images; each is taken for the first class."""
    ordered = ("3", "0", "2", "1")
    indices, labels = context.samples("validation", ordered)
    order = np.argsort(indices)
    named = np.zeros(len(labels), np.int64)
    return projector.some_points(
        tree(*names), indices[order], labels[order], named
    )


def test_images_are_chosen_with_their_classes(digits):
    found = points(digits)

    assert found.job == "root"
    assert (np.diff(found.indices) > 0).all()
    names = digits.catalogue.labels[found.indices]
    leaf = {"0": "root.1", "3": "root.1", "1": "root.2", "2": "root.2"}
    expected = [
        (name, leaf[name], "3")
        for name in (digits.catalogue.class_names[k] for k in names)
    ]
    assert found.labels == expected


def test_their_number_is_bounded(digits, monkeypatch):
    monkeypatch.setattr(projector, "_MOST_IMAGES", 8)

    found = points(digits)

    names = [words[0] for words in found.labels]
    assert sorted(names) == ["0", "0", "1", "1", "2", "2", "3", "3"]


def test_the_projector_finds_features_labels_and_images(digits):
    hostile = ("0", "one\tor\ntwo", "2", "<script>3")
    found = points(digits, hostile)
    size = len(digits.catalogue.keys)
    features = np.random.default_rng(0).normal(size=(size, 5))
    run = digits.store.tensorboard / "step-000001"
    run.mkdir(parents=True)

    projector.write(run, found, digits, builders.Tables({"root": features}))

    config = ProjectorConfig()
    text_format.Parse((run / "projector_config.pbtxt").read_text(), config)
    [embedding] = config.embeddings
    table = np.loadtxt(run / embedding.tensor_path, delimiter="\t")
    np.testing.assert_allclose(table, features[found.indices], rtol=1e-3)
    lines = (run / embedding.metadata_path).read_text().splitlines()
    header, *rows = [line.split("\t") for line in lines]
    assert header == ["class", "superclass", "taken for"]
    assert len(rows) == len(found.indices)
    assert {row[0] for row in rows} == {
        "0",
        r"one\tor\ntwo",
        "2",
        "<script>3",
    }
    png = (run / embedding.sprite.image_path).read_bytes()
    squares = tf.io.decode_png(png).numpy()
    side, across = embedding.sprite.single_image_dim[0], len(squares) // 32
    assert side == 32 and (across - 1) ** 2 < len(rows) <= across**2
    # The projector counts squares from left to right, row by row.
    [pixels] = digits.images.evaluation_batches(found.indices, 999)
    number = across + 2
    shown = squares[side : 2 * side, 2 * side : 3 * side]
    wanted = tf.image.resize(pixels[number], (side, side), "area")
    np.testing.assert_array_equal(shown, np.round(wanted))
