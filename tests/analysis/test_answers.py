"""What a tree answers, image by image."""

import numpy as np
import pytest

from hierkeras.analysis import answers
from hierkeras.tree.nodes import Tree
from hierkeras.tree.routing import ROUTING_RULES, Routing
from tests import builders


@pytest.mark.parametrize("chunk", [8192, 4])
def test_answers_of_a_tree_whatever_the_chunk(
    generation, context, predictor, monkeypatch, chunk
):
    monkeypatch.setattr(answers, "_NUMBERS", 4 * chunk)
    tree = generation.tree
    indices = context.catalogue.indices("test", tree.classes)
    labels = context.catalogue.labels_among(indices, tree.classes)

    found = answers.answer(tree, indices, labels, predictor, Routing("hard"))

    def names(columns):
        return "".join(tree.classes[column] for column in columns)

    assert names(labels) == "aabbccddd"
    assert list(found.by_routing) == list(ROUTING_RULES)
    assert names(found.by_routing["hard"].named) == "acbacdadd"
    assert names(found.by_routing["soft"].named) == "aabacdadd"
    assert names(found.by_routing["fused"].named) == "acbbccadd"
    assert names(found.own_leaf) == "aabacdcdd"
    assert found.leaves.tolist() == [0, 1, 0, 0, 1, 1, 0, 1, 1]
    assert found.images_run == {"root": 9, "root.1": 4, "root.2": 5}
    np.testing.assert_allclose(
        found.by_routing["hard"].confidence,
        [0.9, 0.55, 0.7, 0.62, 0.82, 0.62, 0.75, 0.82, 0.9],
    )


def test_leaves_are_those_of_hard_routing_whatever_contends():
    # The root is sure of a, and root.1, which it need not ask, is of b.
    leaf, branch = builders.leaf, builders.branch
    below = leaf("root.1.1", "a", "one"), leaf("root.1.2", "b", "two")
    inner = branch("root.1", "ab", *below, job="inner")
    other = leaf("root.2", "c", "three")
    tree = Tree(branch("root", "abc", inner, other, job="outer"))
    tables = {
        "outer": np.array([[0.8, 0.1, 0.1]]),
        "inner": np.array([[0.2, 0.8]]),
        **dict.fromkeys(("one", "two", "three"), np.ones((1, 1))),
    }

    found = answers.answer(
        tree,
        np.array([0]),
        np.array([0]),
        builders.Tables(tables),
        Routing("fused", 2, contention=0.5),
    )

    assert tree.leaves[found.leaves[0]].name == "root.1.2"
    assert found.by_routing["fused"].named.tolist() == [0]
    assert found.images_run == {"root": 1}
