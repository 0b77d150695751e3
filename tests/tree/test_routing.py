import collections

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from hierkeras.tree import routing
from hierkeras.tree.nodes import Branch, Leaf, Temperatures, Tree
from hierkeras.tree.routing import ROUTING_RULES, Routing, route

ROWS = np.array([7, 2, 11, 5, 3])  # images need not be numbered from 0
TREES = st.from_type(Tree)
SEEDS = st.integers(0, 1000)


class Outputs:
    """Random softmax outputs of every node; remembers who was asked what."""

    def __init__(self, tree, seed):
        random = np.random.default_rng(seed)
        self.of = {
            node.name: random.dirichlet(
                np.ones(len(node.classes)), ROWS.max() + 1
            )
            for node in tree.nodes()
        }
        self.asked = collections.defaultdict(list)

    def __call__(self, node, rows):
        self.asked[node.name] += rows.tolist()
        return self.of[node.name][rows]

    def probability(self, node, row, class_name):
        return self.of[node.name][row, node.classes.index(class_name)]

    def mass(self, branch, child, row):
        """b(k|x), a class at a time."""
        return sum(
            self.probability(branch, row, name) for name in child.classes
        )


def below(node):
    return {node.name, *(name for c in node.children for name in below(c))}


def with_exponent(node, exponent):
    if isinstance(node, Leaf):
        return node
    children = tuple(with_exponent(c, exponent) for c in node.children)
    return msgspec.structs.replace(
        node, children=children, fusion_exponent=exponent
    )


@given(
    tree=TREES,
    seed=SEEDS,
    rule=st.sampled_from(ROUTING_RULES),
    beam=st.integers(1, 3),
)
def test_probabilities_sum_to_1_and_leaves_do_not_depend_on_the_rule(
    tree, seed, rule, beam
):
    outputs = Outputs(tree, seed)

    routed = route(tree, outputs, ROWS, Routing(rule, beam))

    assert routed.probabilities.shape == (len(ROWS), len(tree.classes))
    assert (routed.probabilities >= 0).all()
    np.testing.assert_allclose(routed.probabilities.sum(axis=1), 1)
    hard = route(tree, outputs, ROWS, Routing("hard"))
    np.testing.assert_array_equal(routed.leaves, hard.leaves)


@given(tree=TREES, seed=SEEDS)
def test_hard_is_the_leaf_of_the_most_probable_child(tree, seed):
    outputs = Outputs(tree, seed)

    routed = route(tree, outputs, ROWS, Routing("hard"))

    for i, row in enumerate(ROWS):
        node = tree.root
        while node.children:
            masses = [outputs.mass(node, child, row) for child in node.children]
            node = node.children[int(np.argmax(masses))]
        assert tree.leaves[routed.leaves[i]] == node


@given(tree=TREES, seed=SEEDS)
def test_hard_runs_a_node_on_the_rows_that_reach_it_only(tree, seed):
    outputs = Outputs(tree, seed)

    routed = route(tree, outputs, ROWS, Routing("hard"))

    reached = [tree.leaves[i].name for i in routed.leaves]
    for node in tree.nodes():
        expected = [
            row
            for row, leaf in zip(ROWS, reached, strict=True)
            if leaf in below(node)
        ]
        assert sorted(outputs.asked.get(node.name, [])) == sorted(expected)
        # A node that no row reaches is not asked at all.
        assert (node.name in outputs.asked) == bool(expected)


@given(tree=TREES.filter(lambda t: t.depth > 1), seed=SEEDS)
def test_soft_leaves_the_branchs_own_probabilities_outside_the_beam(tree, seed):
    outputs = Outputs(tree, seed)

    routed = route(tree, outputs, ROWS, Routing("soft", 1))

    for i, row in enumerate(ROWS):
        masses = [outputs.mass(tree.root, c, row) for c in tree.root.children]
        for k, child in enumerate(tree.root.children):
            assert (row in outputs.asked[child.name]) == (
                k == np.argmax(masses)
            )
            columns = [tree.classes.index(name) for name in child.classes]
            if k != np.argmax(masses):
                np.testing.assert_array_equal(
                    routed.probabilities[i, columns],
                    outputs.of["root"][row, columns],
                )


@given(tree=TREES, seed=SEEDS, beam=st.integers(1, 3))
def test_the_fusion_exponent_leads_from_the_roots_opinion_to_soft(
    tree, seed, beam
):
    outputs = Outputs(tree, seed)
    fused = Routing("fused", beam)

    trusting_leaves = route(
        Tree(with_exponent(tree.root, 1.0)), outputs, ROWS, fused
    )
    trusting_root = route(
        Tree(with_exponent(tree.root, 0.0)), outputs, ROWS, fused
    )

    soft = route(tree, outputs, ROWS, Routing("soft", beam))
    np.testing.assert_allclose(
        trusting_leaves.probabilities, soft.probabilities
    )
    np.testing.assert_allclose(
        trusting_root.probabilities, outputs.of["root"][ROWS]
    )


def test_fused_by_hand():
    tree = Tree(
        Branch(
            "root",
            ("a", "c", "b", "d"),
            "job",
            (Leaf("1", ("a", "b"), "job"), Leaf("2", ("c", "d"), "job")),
            fusion_exponent=0.5,
        )
    )
    outputs = {
        "root": [0.45, 0.32, 0.05, 0.18],  # half of it below each child
        "1": [0.2, 0.8],
        "2": [0.5, 0.5],
    }

    routed = route(
        tree,
        lambda node, rows: np.array([outputs[node.name]]),
        np.array([0]),
        Routing("fused"),
    )

    # a: sqrt(0.2 * 0.45) = 0.3 and b: sqrt(0.8 * 0.05) = 0.2, so 0.6 and 0.4;
    # c: sqrt(0.5 * 0.32) = 0.4 and d: sqrt(0.5 * 0.18) = 0.3, so 4/7 and 3/7.
    expected = dict(a=0.5 * 0.6, b=0.5 * 0.4, c=0.5 * 4 / 7, d=0.5 * 3 / 7)
    assert dict(
        zip(tree.classes, routed.probabilities[0], strict=True)
    ) == pytest.approx(expected)


def test_a_probability_of_0_does_not_become_nan():
    fused = routing.fuse(np.array([[1.0, 0.0]]), np.array([[0.0, 0.7]]), 0.5)

    assert np.isfinite(fused).all()
    assert fused.sum() == pytest.approx(1)


def test_the_beam_takes_the_most_probable_and_the_first_of_equals():
    children = np.array([[0.1, 0.6, 0.3], [0.25, 0.25, 0.5], [0.3, 0.3, 0.3]])

    taken = routing.beam(children, 2)

    assert taken.tolist() == [
        [False, True, True],
        [True, False, True],
        [True, True, False],
    ]
    assert routing.beam(children, 5).all()


def test_children_are_asked_where_two_classes_contend():
    branch = np.array(
        [
            [0.50, 0.24, 0.01, 0.25],  # 0.25 is half of 0.50, 0.24 is less
            [0.46, 0.44, 0.05, 0.05],  # both in the first child
            [0.90, 0.04, 0.03, 0.03],  # sure
            [0.30, 0.20, 0.25, 0.25],
        ]
    )

    asked = routing.contended(branch, [(0, 1), (2, 3)], 0.5)

    assert asked.tolist() == [
        [True, True],
        [True, False],
        [False, False],
        [True, True],
    ]


def test_a_likely_leaf_is_below_the_child_that_is_chosen():
    # The most probable class is in the first child, which is not chosen.
    branch = np.array([[0.40, 0.00, 0.35, 0.25], [0.40, 0.20, 0.15, 0.25]])
    chosen = np.array([[False, True], [True, False]])

    found = routing.likely_leaves(
        branch, chosen, [(0, 1), (3, 2)], leaf_of=[0, 0, 1, 2]
    )

    assert found.tolist() == [1, 0]


@given(
    tree=TREES,
    seed=SEEDS,
    rule=st.sampled_from(["soft", "fused"]),
    beam=st.integers(1, 3),
    contention=st.sampled_from([0.2, 0.5, 1.0]),
)
def test_contention_runs_fewer_nodes_and_leaves_the_rest_as_it_was(
    tree, seed, rule, beam, contention
):
    outputs, all_outputs = Outputs(tree, seed), Outputs(tree, seed)
    how = Routing(rule, beam, contention)

    routed = route(tree, outputs, ROWS, how)

    every = route(tree, all_outputs, ROWS, Routing(rule, beam))
    np.testing.assert_allclose(routed.probabilities.sum(axis=1), 1)
    for name, rows in all_outputs.asked.items():
        assert set(outputs.asked.get(name, [])) <= set(rows)
    # The leaf is below the child that is most probable.
    for row, leaf in zip(ROWS, routed.leaves, strict=True):
        node = tree.root
        if node.children:
            mass = [outputs.mass(node, child, row) for child in node.children]
            node = node.children[int(np.argmax(mass))]
        assert tree.leaves[leaf].name in below(node)
    if tree.depth <= 2:
        np.testing.assert_array_equal(routed.leaves, every.leaves)
        # An image for which every child of the beam ran is answered as before.
        asked = [outputs.asked.get(c.name, []) for c in tree.root.children]
        usual = [all_outputs.asked.get(c.name, []) for c in tree.root.children]
        for i, row in enumerate(ROWS):
            if [row in a for a in asked] == [row in u for u in usual]:
                np.testing.assert_array_equal(
                    routed.probabilities[i], every.probabilities[i]
                )


@given(tree=TREES, seed=SEEDS)
def test_hard_routing_knows_no_contention(tree, seed):
    outputs = Outputs(tree, seed)

    plain = route(tree, outputs, ROWS, Routing("hard"))
    found = route(tree, outputs, ROWS, Routing("hard", contention=1.0))

    np.testing.assert_array_equal(found.probabilities, plain.probabilities)
    np.testing.assert_array_equal(found.leaves, plain.leaves)


def test_keras_computes_the_same():
    from keras import ops

    random = np.random.default_rng(0)
    branch = random.dirichlet(np.ones(5), 20).astype(np.float32)
    leaf = random.dirichlet(np.ones(2), 20).astype(np.float32)
    leaf[0] = [1, 0]
    positions = [(4, 0), (1,), (3, 2)]
    ties = np.array([[0.25, 0.25, 0.5]], np.float32)

    mass = routing.child_probabilities(branch, positions)

    def same(ours, theirs):
        np.testing.assert_allclose(
            ours, ops.convert_to_numpy(theirs), rtol=1e-4
        )

    same(mass, routing.child_probabilities(branch, positions, ops))
    same(
        routing.contended(branch, positions, 0.5),
        routing.contended(ops.convert_to_tensor(branch), positions, 0.5, ops),
    )
    same(
        routing.likely_leaves(
            branch, routing.beam(mass, 1), positions, [0, 1, 2, 3, 4]
        ),
        routing.likely_leaves(
            ops.convert_to_tensor(branch),
            ops.convert_to_tensor(routing.beam(mass, 1)),
            positions,
            [0, 1, 2, 3, 4],
            ops,
        ),
    )
    same(
        routing.fuse(leaf, branch[:, [4, 0]], 0.3),
        routing.fuse(leaf, ops.convert_to_tensor(branch[:, [4, 0]]), 0.3, ops),
    )
    for children in (mass, ties):
        same(
            routing.temper(children, 1.7),
            routing.temper(ops.convert_to_tensor(children), 1.7, ops),
        )
        same(
            routing.beam(children, 2),
            routing.beam(ops.convert_to_tensor(children), 2, ops),
        )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"rule": "greedy"}, "one of hard, soft, fused. Received.*'greedy'"),
        ({"beam_width": 0}, ">= 1. Received: beam_width=0"),
        ({"beam_width": 10**6 + 1}, "<= 1000000. Received"),
        ({"beam_width": 2.0}, "`int`, got `float`. Received: beam_width=2.0"),
        ({"contention": 1.5}, "<= 1.0. Received: contention=1.5"),
        ({"contention": float("nan")}, ">= 0.0. Received: contention=nan"),
    ],
)
def test_a_routing_that_makes_no_sense_is_refused(fields, complaint):
    with pytest.raises(ValueError, match=complaint):
        Routing(**fields)
    with pytest.raises(ValueError):
        msgspec.json.decode(msgspec.json.encode(fields), type=Routing)


def test_a_rule_in_words_names_what_it_goes_by():
    assert str(Routing("hard", 3, 0.5).acting) == "hard routing"
    assert str(Routing("fused", 3, 0.5).acting) == (
        "fused routing, beam_width 3, contention 0.5"
    )


def test_a_temperature_by_hand():
    # Square roots 0.8 and 0.6, and squares 0.64² and 0.36².
    two = np.array([[0.64, 0.36]])
    np.testing.assert_allclose(routing.temper(two, 2.0), [[8 / 14, 6 / 14]])
    squares = np.array([[0.4096, 0.1296]]) / 0.5392
    np.testing.assert_allclose(routing.temper(two, 0.5), squares)
    assert routing.temper(two, 1.0) is two


@given(
    temperature=st.floats(0.01, 100),
    logits=st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=5),
)
def test_a_temperature_divides_the_logits(temperature, logits):
    logits = np.array([logits])
    softmax = special.softmax(logits, axis=1)

    found = routing.temper(softmax, temperature)

    expected = special.softmax(logits / temperature, axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert found.sum() == pytest.approx(1)


def test_what_is_0_stays_0_and_what_is_tiny_does_no_harm():
    rows = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [1.0, 1e-38, 1e-45]])

    for temperature in (0.01, 0.25, 4.0, 100.0):
        found = routing.temper(rows.astype(np.float32), temperature)
        assert np.isfinite(found).all()
        assert (found[:2] == 0).tolist() == (rows[:2] == 0).tolist()
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
        assert found.dtype == np.float32
    assert routing.temper(np.zeros((0, 3)), 2.0).shape == (0, 3)


@given(
    tree=TREES,
    seed=SEEDS,
    rule=st.sampled_from(ROUTING_RULES),
    chosen=st.sampled_from([0.3, 1.0, 2.0]),
)
def test_the_temperature_of_the_answer_is_the_rules(tree, seed, rule, chosen):
    outputs = Outputs(tree, seed)
    others = dict.fromkeys(ROUTING_RULES, 7.0)
    tempered = Tree(tree.root, Temperatures(**{**others, rule: chosen}))

    found = route(tempered, outputs, ROWS, Routing(rule))

    plain = route(tree, outputs, ROWS, Routing(rule))
    np.testing.assert_allclose(
        found.probabilities, routing.temper(plain.probabilities, chosen)
    )
    np.testing.assert_array_equal(
        found.probabilities.argmax(axis=1), plain.probabilities.argmax(axis=1)
    )
    np.testing.assert_array_equal(found.leaves, plain.leaves)
