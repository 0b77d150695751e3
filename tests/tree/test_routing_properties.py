"""Routing of any softmax outputs, also those that underflowed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hierkeras.tree import routing
from hierkeras.tree.nodes import Leaf, Tree
from hierkeras.tree.routing import ROUTING_RULES, Routing, route

IMAGES = 4
RULES = st.builds(
    Routing,
    st.sampled_from(ROUTING_RULES),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
# Ties, what underflows to zero or nearly, and anything between.
WEIGHTS = st.sampled_from([0.0, 1e-45, 1e-38, 1e-30, 0.5, 1.0]) | st.floats(
    0, 1, width=32
)


def softmax_outputs(count, images=IMAGES):
    """float32 arrays of shape (images, count), rows summing to 1."""

    def normalised(weights):
        weights[weights.sum(axis=1) < 1e-6, 0] = 1.0
        return weights / weights.sum(axis=1, keepdims=True)

    shape = images, count
    return hnp.arrays(np.float32, shape, elements=WEIGHTS).map(normalised)


@st.composite
def trees_with_outputs(draw):
    tree = draw(st.from_type(Tree))
    outputs = {
        node.name: draw(softmax_outputs(len(node.classes)))
        for node in tree.nodes()
    }
    return tree, outputs


def by_definition(node, outputs, image, rule):
    """The answer by the formulas, a class at a time: class to probability."""
    own = dict(
        zip(node.classes, outputs[node.name][image].tolist(), strict=True)
    )
    if isinstance(node, Leaf):
        return own
    # Summed as float32, so that ties are ties.
    mass = routing.child_probabilities(
        outputs[node.name][[image]], node.positions()
    )[0]
    # The most probable children, the first of equals.
    ranked = np.argsort(-mass, kind="stable").tolist()
    if rule.rule == "hard":
        child = node.children[ranked[0]]
        below = by_definition(child, outputs, image, rule)
        return {name: below.get(name, 0.0) for name in node.classes}
    answer = own
    # In float32, as it is compared.
    row = outputs[node.name][image]
    least = rule.contention * row.max()
    contenders = {
        name for name, p in zip(node.classes, row, strict=True) if p >= least
    }
    for k in ranked[: rule.beam_width]:
        child = node.children[k]
        is_asked = len(contenders) > 1 and contenders & set(child.classes)
        if rule.contention and not is_asked:
            continue
        below = by_definition(child, outputs, image, rule)
        if rule.rule == "fused":
            a = node.fusion_exponent
            mean = {
                name: max(p, 1e-30) ** a * max(own[name], 1e-30) ** (1 - a)
                for name, p in below.items()
            }
            total = sum(mean.values())
            below = {name: m / total for name, m in mean.items()}
        answer = answer | {name: mass[k] * p for name, p in below.items()}
    return answer


@given(grown=trees_with_outputs(), rule=RULES)
def test_routing_follows_the_definition(grown, rule):
    tree, outputs = grown

    routed = route(
        tree, lambda n, rows: outputs[n.name][rows], np.arange(IMAGES), rule
    )

    answers = routed.probabilities
    assert answers.dtype == np.float32
    assert (answers >= 0).all()
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    for image, answer in enumerate(answers):
        expected = by_definition(tree.root, outputs, image, rule)
        np.testing.assert_allclose(
            answer, [expected[n] for n in tree.classes], rtol=1e-3, atol=1e-6
        )


@given(grown=trees_with_outputs(), rule=RULES)
def test_an_image_is_routed_alike_alone_and_among_others(grown, rule):
    tree, outputs = grown

    def probabilities(node, rows):
        return outputs[node.name][rows]

    together = route(tree, probabilities, np.arange(IMAGES), rule)

    for image in range(IMAGES):
        alone = route(tree, probabilities, np.array([image]), rule)
        np.testing.assert_array_equal(
            alone.probabilities[0], together.probabilities[image]
        )
        assert alone.leaves[0] == together.leaves[image]
    none = route(tree, probabilities, np.arange(0), rule)
    assert none.probabilities.shape == (0, len(tree.classes))


PAIRS = st.integers(1, 6).flatmap(
    lambda count: st.tuples(softmax_outputs(count), softmax_outputs(count))
)
EXPONENTS = st.floats(0, 1) | st.sampled_from([0.0, 0.3, 1.0])


@given(pair=PAIRS, exponent=EXPONENTS)
def test_fused_opinions_are_a_mean(pair, exponent):
    leaf, branch = pair

    fused = routing.fuse(leaf, branch, exponent)

    assert (fused >= 0).all()
    np.testing.assert_allclose(fused.sum(axis=1), 1, rtol=1e-5)
    # Whichever is named first, with its weight.
    np.testing.assert_allclose(
        fused, routing.fuse(branch, leaf, 1 - exponent), rtol=1e-3, atol=1e-6
    )
    for opinion in pair:
        np.testing.assert_allclose(
            routing.fuse(opinion, opinion, exponent),
            opinion,
            rtol=1e-3,
            atol=1e-6,
        )
    # What both think more probable, is.
    for i, j in np.ndindex(leaf.shape[1], leaf.shape[1]):
        agreed = (leaf[:, i] >= leaf[:, j]) & (branch[:, i] >= branch[:, j])
        assert (fused[agreed, i] >= fused[agreed, j] * (1 - 1e-5)).all()


@given(
    children=hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=2, max_dims=2), elements=WEIGHTS
    ),
    width=st.integers(1, 7),
)
def test_the_beam_is_the_head_of_a_stable_sort(children, width):
    runs = routing.beam(children, width)

    order = np.argsort(-children, axis=1, kind="stable")[:, :width]
    expected = np.zeros(children.shape, bool)
    np.put_along_axis(expected, order, True, axis=1)
    np.testing.assert_array_equal(runs, expected)


@given(grown=trees_with_outputs())
def test_children_share_all_of_a_branchs_probability(grown):
    tree, outputs = grown

    for branch in tree.branches:
        own = outputs[branch.name]
        mass = routing.child_probabilities(own, branch.positions())

        assert mass.dtype == np.float32
        for k, columns in enumerate(branch.positions()):
            np.testing.assert_allclose(
                mass[:, k], own[:, list(columns)].sum(axis=1), rtol=1e-5
            )
