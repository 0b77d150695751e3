"""Leaves that are heads above one trunk, in one loop of the graph."""

import numpy as np
import pytest
import tensorflow as tf

from hierkeras.serving.graph.composite import Composite
from hierkeras.tree.nodes import Branch, Leaf, Tree
from hierkeras.tree.routing import ROUTING_RULES, Routing, route
from tests.small_trees import SIZE, Grown

CLASSES = tuple("abcdefghijklmnop")
# Of uneven sizes, and not in the order of the branch's classes.
LEAVES = ("ba", "dfc", "e", "ihg", "jk")
BELOW = ("lm", "po", "n")


def leaf(name, classes):
    return Leaf(name, tuple(classes), f"job of {name}")


def tree():
    """Five leaves, and a branch of three, which are too few for a loop."""
    inner = Branch(
        "root.3",
        tuple("lmnop"),
        "job of root.3",
        tuple(leaf(f"root.3.{k}", own) for k, own in enumerate(BELOW, 1)),
        0.3,
    )
    numbers = (1, 2, 4, 5, 6)
    leaves = [
        leaf(f"root.{n}", own) for n, own in zip(numbers, LEAVES, strict=True)
    ]
    children = (*leaves[:2], inner, *leaves[2:])
    return Tree(Branch("root", CLASSES, "job of root", children, 0.6))


@pytest.fixture(scope="module")
def grown(images):
    """Networks of one body, each with a matrix of its own."""
    return networks(images, "float32")


def networks(images, dtype):
    """Networks whose features are of some type."""
    import keras

    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 64, offset=-2)(inputs)
    x = keras.layers.Conv2D(
        24,
        3,
        activation="tanh",
        kernel_initializer=keras.initializers.GlorotUniform(0),
    )(x)
    x = keras.layers.GlobalAveragePooling2D(dtype=dtype)(x)
    models = {}
    made = tree()
    for seed, node in enumerate(made.nodes()):
        logits = keras.layers.Dense(
            len(node.classes),
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=9.0, seed=seed
            ),
            bias_initializer=keras.initializers.RandomNormal(seed=seed),
        )(x)
        models[node.job] = keras.Model(inputs, logits)
    return Grown(made, models, images)


def traced(grown, how):
    composite = Composite(grown.tree, grown.models, how)
    graph = tf.function(
        composite,
        autograph=False,
        input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.uint8)],
    )
    return composite, graph


HOW = [*map(Routing, ROUTING_RULES), Routing("fused", 3, contention=0.3)]


@pytest.mark.parametrize("how", HOW, ids=str)
def test_answers_are_those_of_the_tree_in_any_batch(grown, how):
    rows = np.arange(len(grown.images))
    expected = route(grown.tree, grown.probabilities, rows, how)
    assert set(expected.leaves) == set(range(len(grown.tree.leaves)))

    composite, graph = traced(grown, how)

    assert list(composite._heads) == ["root"]
    assert composite._heads["root"].numbers == [0, 1, 3, 4, 5]
    for some in (rows, rows[:1], rows[3:10], rows[:0]):
        probabilities, leaves = graph(grown.images[some])
        np.testing.assert_allclose(
            probabilities, expected.probabilities[some], atol=2e-5
        )
        np.testing.assert_array_equal(leaves, expected.leaves[some])


def test_only_the_heads_that_rows_go_to_run(grown):
    how = Routing("soft", 2, contention=0.5)
    composite, graph = traced(grown, how)
    ran, joined = [], composite._rule.joined

    def noting(*arguments):
        tf.py_function(lambda: ran.append(1), [], [])
        return joined(*arguments)

    composite._rule.joined = noting
    graph(grown.images[:1])  # it is traced
    found = set()
    for row in range(24):
        needed = set()

        def noted(node, rows, needed=needed):
            needed.add(node.name)
            return grown.probabilities(node, rows)

        route(grown.tree, noted, np.array([row]), how)
        ran.clear()
        graph(grown.images[row : row + 1])
        assert len(ran) == len(needed) - 1  # the root is nobody's child
        found.add(len(ran))
    assert len(found) > 1


def test_features_of_mixed_precision_are_those_that_keras_takes(images):
    mixed = networks(images, "bfloat16")
    rows = np.arange(32)
    expected = route(mixed.tree, mixed.probabilities, rows, Routing("soft"))

    composite, graph = traced(mixed, Routing("soft"))

    assert list(composite._heads) == ["root"]
    probabilities, _ = graph(mixed.images[rows])
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-2)


def test_the_matrices_are_stored_once(grown):
    composite, _ = traced(grown, Routing())
    held = sum(v.shape.num_elements() for v in composite.variables)
    kernel = composite._heads["root"].kernel
    assert kernel.shape == (sum(map(len, LEAVES)), 24)
    # What is small is part of the graph.
    assert held == kernel.shape.num_elements()


def test_a_graph_does_not_grow_with_the_leaves():
    def operations(number):
        import keras

        inputs = keras.Input((SIZE, SIZE, 3))
        x = keras.layers.Flatten()(inputs)
        names = tuple(f"c{n}" for n in range(2 * number))
        leaves = tuple(
            leaf(f"root.{k + 1}", names[2 * k : 2 * k + 2])
            for k in range(number)
        )
        many = Tree(Branch("root", names, "job of root", leaves))
        models = {
            node.job: keras.Model(
                inputs, keras.layers.Dense(len(node.classes))(x)
            )
            for node in many.nodes()
        }
        _, graph = traced(Grown(many, models, None), Routing())
        definition = graph.get_concrete_function().graph.as_graph_def()
        functions = definition.library.function
        return len(definition.node) + sum(len(f.node_def) for f in functions)

    assert operations(80) == operations(40)
