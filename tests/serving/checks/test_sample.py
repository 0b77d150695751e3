"""How far the answers of a tree are from being others."""

import numpy as np
import pytest
import tensorflow as tf

from hierkeras.data.decoding.pixels import Pixels
from hierkeras.serving.checks import sample
from hierkeras.tree.nodes import Branch, Leaf, Tree
from hierkeras.tree.routing import Routing
from tests.data.decoding import zoo

INNER = Branch(
    "root.1",
    ("a", "b"),
    "inner",
    (Leaf("root.1.1", ("a",), "one"), Leaf("root.1.2", ("b",), "two")),
)
TREE = Tree(
    Branch(
        "root", ("a", "b", "c"), "outer", (INNER, Leaf("root.2", ("c",), "t"))
    )
)
HOW = Routing("fused", 2, contention=0.5)


class Table:
    """Answers from a table of node names."""

    def __init__(self, **rows):
        self.rows = {
            name.replace("_", "."): np.array(row) for name, row in rows.items()
        }

    def node_probabilities(self, node, rows):
        return self.rows[node.name][rows]


def margin(root, inner=(0.99, 0.01), how=HOW):
    table = Table(root=[root], root_1=[inner])
    return sample._margins(TREE, how, table, np.array([0]))[0]


def test_a_class_at_the_threshold_has_no_margin():
    assert margin((0.6, 0.1, 0.3)) == pytest.approx(0)
    # A contender has 0.35 or more; 0.25 lacks two sevenths of that.
    assert margin((0.70, 0.05, 0.25)) == pytest.approx(2 / 7)


def test_which_leaf_is_likely_counts_below_a_branch_only():
    # Far from the threshold; a and b, below root.1, are nearly alike.
    assert margin((0.445, 0.440, 0.115)) == pytest.approx(0.005)
    # With c, a leaf of its own, they do not matter.
    assert margin((0.101, 0.100, 0.799)) > 0.5


def test_hard_routing_hangs_on_no_contention():
    hard = Routing("hard", contention=0.5)

    assert margin((0.6, 0.1, 0.3), how=hard) == pytest.approx(0.4)


def test_a_leaf_is_warmed_up_by_an_image_on_its_path():
    rows = np.array([3, 5, 8, 9])
    needed = {
        "root.1.1": np.array([3, 5]),
        "root.2": np.array([3, 8, 9]),
    }

    # root.1.2 runs for none. The path of 5 ends at root.1.1, that of 9 at
    # root.2, those of 3 and 8 at root.1.2.
    found = sample._one_for_each(TREE, rows, np.array([1, 0, 1, 2]), needed)

    assert rows[found].tolist() == [5, 9]


class Files:
    """A context of files in memory."""

    def __init__(self, files):
        self.catalogue = self.source = self
        self.keys = np.array(list(files))
        self._contents = list(files.values())

    def read(self, rows):
        contents = [self._contents[row] for row in rows]
        return tf.data.Dataset.from_tensor_slices(contents)


def test_files_are_sent_as_they_are_and_the_refused_are_named(monkeypatch):
    image = zoo.picture(9, 9)
    kinds = {"a.png": "PNG", "b.jpg": "TIFF", "c.png": "PNG", "d.gif": "GIF"}
    files = {name: zoo.encoded(image, kind) for name, kind in kinds.items()}
    files["e.bmp"] = zoo.encoded(zoo.picture(20, 20), "BMP")
    context, rows = Files(files), np.arange(5)
    pixels = Pixels(max_pixels=100)
    sent, refused = sample._files(context, rows, pixels)
    assert sent == {i: files[context.keys[i]] for i in (0, 2, 3)}
    assert refused == {
        "is a TIFF, which this model does not decode; convert it to JPEG or "
        "PNG": ["b.jpg"],
        "has more than 100 pixels": ["e.bmp"],
    }
    # One of each format is sent whatever it takes.
    monkeypatch.setattr(sample, "_MOST_BYTES", len(files["a.png"]))
    sent, _ = sample._files(context, rows, pixels)
    assert list(sent) == [0, 3]


def test_each_ending_is_in_the_sample():
    keys = np.array(["a/1.jpg", "a/2.JPG", "a/3.webp", "a/4"])
    chosen = sample._of_each_ending(keys, np.array([3, 1, 2, 0]))
    assert sorted(chosen) == [1, 2, 3]
    assert sample._of_each_ending(keys, np.array([0, 1])).size == 0
