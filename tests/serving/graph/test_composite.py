"""The graph answers as the tree does, whatever rows a batch holds."""

import numpy as np
import pytest
import tensorflow as tf

from hierkeras.serving.graph.composite import Composite
from hierkeras.tree.nodes import Temperatures, Tree
from hierkeras.tree.routing import ROUTING_RULES, Routing, route


def traced(grown, routing):
    size = grown.images.shape[1]
    return tf.function(
        Composite(grown.tree, grown.models, routing),
        autograph=False,
        input_signature=[tf.TensorSpec([None, size, size, 3], tf.uint8)],
    )


# Some rows need the root alone, some five networks.
CONTENDED = Routing("fused", 2, contention=0.5)


@pytest.fixture(
    scope="module", params=[*map(Routing, ROUTING_RULES), CONTENDED], ids=str
)
def deep(request, deep_tree):
    """Routing, graph, and the tree's own answers."""
    routing = request.param
    rows = np.arange(len(deep_tree.images))
    expected = route(deep_tree.tree, deep_tree.probabilities, rows, routing)
    return deep_tree, traced(deep_tree, routing), expected


def test_the_sample_reaches_every_leaf(deep):
    grown, _, expected = deep
    assert set(expected.leaves) == set(range(len(grown.tree.leaves)))


def test_the_graph_answers_as_the_tree_does(deep):
    grown, graph, expected = deep

    probabilities, leaves = graph(grown.images)

    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_array_equal(leaves, expected.leaves)


@pytest.mark.parametrize(
    "size", [1, 7, pytest.param(32, marks=pytest.mark.slow)]
)
def test_a_row_is_answered_alike_in_any_batch(deep, size):
    grown, graph, expected = deep
    order = np.random.default_rng(size).permutation(len(grown.images))[:224]

    for start in range(0, len(order), size):
        rows = order[start : start + size]
        probabilities, leaves = graph(grown.images[rows])
        np.testing.assert_allclose(
            probabilities, expected.probabilities[rows], atol=1e-5
        )
        np.testing.assert_array_equal(leaves, expected.leaves[rows])


def test_all_rows_may_go_to_one_leaf(deep):
    grown, graph, expected = deep
    for leaf in range(len(grown.tree.leaves)):
        rows = np.flatnonzero(expected.leaves == leaf)
        probabilities, leaves = graph(grown.images[rows])
        np.testing.assert_allclose(
            probabilities, expected.probabilities[rows], atol=1e-5
        )
        assert set(leaves.numpy()) == {leaf}


def test_an_empty_batch_gets_an_empty_answer(deep):
    grown, graph, _ = deep
    probabilities, leaves = graph(grown.images[:0])
    assert probabilities.shape == (0, len(grown.tree.classes))
    assert leaves.shape == (0,)


@pytest.mark.parametrize(
    "rule", ["soft", pytest.param("hard", marks=pytest.mark.slow)]
)
def test_one_among_many_children_is_found(wide_tree, rule):
    routing = Routing(rule, beam_width=3)
    rows = np.arange(len(wide_tree.images))
    expected = route(wide_tree.tree, wide_tree.probabilities, rows, routing)
    graph = traced(wide_tree, routing)

    assert len(set(expected.leaves)) == 10
    for batch in (rows, rows[:1], rows[5:6], rows[:9]):
        probabilities, leaves = graph(wide_tree.images[batch])
        np.testing.assert_allclose(
            probabilities, expected.probabilities[batch], atol=1e-5
        )
        np.testing.assert_array_equal(leaves, expected.leaves[batch])


def test_a_tree_of_one_leaf_is_its_network(deep_tree):
    leaf = deep_tree.tree.leaves[0]
    alone = type(deep_tree)(Tree(leaf), deep_tree.models, deep_tree.images)
    rows = np.arange(9)

    probabilities, leaves = traced(alone, Routing())(alone.images[rows])

    np.testing.assert_allclose(
        probabilities, alone.probabilities(leaf, rows), atol=1e-6
    )
    assert not leaves.numpy().any()


@pytest.mark.parametrize("routing", [Routing("hard"), CONTENDED], ids=str)
def test_only_the_nodes_that_a_batch_needs_run(deep_tree, monkeypatch, routing):
    from hierkeras.serving.graph.weights import Weights

    ran = []
    call = Weights.call
    names = {}

    def noting(self, model, inputs):
        number = names.setdefault(id(model), len(names))
        tf.py_function(lambda: ran.append(number), [], [])
        return call(self, model, inputs)

    monkeypatch.setattr(Weights, "call", noting)
    graph = traced(deep_tree, routing)
    graph(deep_tree.images)
    assert sorted(ran) == list(range(len(names)))  # each once
    found = []
    for row in range(12):
        needed = set()

        def noted(node, rows, needed=needed):
            needed.add(node.name)
            return deep_tree.probabilities(node, rows)

        route(deep_tree.tree, noted, np.array([row]), routing)
        ran.clear()
        graph(deep_tree.images[row : row + 1])
        assert len(ran) == len(needed)
        found.append(len(ran))
    assert len(set(found)) > 1


@pytest.mark.parametrize("rule", ROUTING_RULES)
def test_the_graph_applies_the_temperature_of_the_answer(deep_tree, rule):
    answer = Temperatures(hard=1.7, soft=0.6, fused=2.2)
    tree = Tree(deep_tree.tree.root, answer)
    warm = type(deep_tree)(tree, deep_tree.models, deep_tree.images)
    rows = np.arange(len(warm.images))
    routing = Routing(rule)

    probabilities, leaves = traced(warm, routing)(warm.images)

    expected = route(tree, warm.probabilities, rows, routing)
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_array_equal(leaves, expected.leaves)
    cold = Tree(tree.root)
    other = route(cold, warm.probabilities, rows, routing).probabilities
    assert np.abs(other - expected.probabilities).max() > 1e-3
