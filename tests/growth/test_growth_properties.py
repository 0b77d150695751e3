"""Whatever the models answer, growing keeps the tree's promises.

Real Algorithms 1 and 2, without training: jobs do nothing, and what their
models answer is drawn by chance.
"""

import asyncio
import collections
import functools

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from hierkeras.data.arrays import ArraySource
from hierkeras.data.catalogue import Catalogue
from hierkeras.growth.assess import Assessor
from hierkeras.growth.changes import Changes
from hierkeras.growth.grower import Grower
from hierkeras.growth.incremental import grow_tree
from hierkeras.growth.relearn import relearn
from hierkeras.growth.specs import Specs
from hierkeras.recipe import fields
from hierkeras.recipe.recipe import check
from hierkeras.training.spec import Clone, CutOut, Preview, parents
from hierkeras.tree.generation import from_json, to_json
from hierkeras.tree.nodes import Branch, Leaf
from hierkeras.tree.routing import ROUTING_RULES, Routing, route
from tests import builders

pytestmark = pytest.mark.usefixtures("one_thread")

STRANGE = (
    *("bee", "Bee", "", "../x", "CON", 'a "b" \\', "z\n\0", "🐝"),
    *("\u00e9", "e\u0301"),  # one text in two Unicode forms
)
CLASSES = tuple(f"{name}{i}" for i in range(3) for name in STRANGE)
IMAGES = np.repeat(np.arange(len(CLASSES)), 3)  # for validation
CATALOGUE = Catalogue(
    CLASSES,
    keys=np.arange(len(IMAGES)).astype(str),
    labels=IMAGES.astype(np.int32),
    splits=np.ones(len(IMAGES), np.int8),
    digests=np.zeros(len(IMAGES)),
)


class ChanceAnswers:
    """In place of a predictor: a job's softmax outputs, by chance."""

    def __init__(self, specs, seed):
        self.specs = specs
        self.seed = seed
        self.outputs = functools.cache(self.draw_outputs)

    def probabilities(self, job, indices):
        return self.outputs(job)[indices]

    def draw_outputs(self, job):
        classes = self.specs[job].classes
        random = np.random.default_rng([self.seed, int(job, 16)])
        shape = len(CATALOGUE.keys), len(classes)
        kind = random.integers(5)
        if kind == 0:  # unsure: every class is as likely
            outputs = np.full(shape, 1 / len(classes))
        elif kind == 1:  # collapsed: all images are of one class
            outputs = np.eye(len(classes))[np.zeros(shape[0], int)]
        elif kind == 2:  # sure and often wrong; all but one underflow
            outputs = np.full(shape, 1e-38)
            taken = random.integers(len(classes), size=shape[0])
            outputs[np.arange(shape[0]), taken] = 1.0
        elif kind == 3:  # right about what it knows
            names = [CLASSES[label] for label in CATALOGUE.labels]
            outputs = np.eye(len(classes))[
                [classes.index(n) if n in classes else 0 for n in names]
            ]
        else:
            outputs = random.dirichlet(np.full(len(classes), 0.2), shape[0])
        return outputs.astype(np.float32)

    def node_probabilities(self, node, rows):
        return self.probabilities(node.job, rows)


class Priced(Assessor):
    """An assessor to whom every model costs the same."""

    def flops(self, tree):
        return 1e6 * len(list(tree.nodes()))


def any_of(name):
    return st.sampled_from(fields.find(name).values)


# How a recipe's leaves learn, and what divides them, which have to fit.
FITTING = [("beside", "spectral", 0)] + [
    (leaves, rule, layers)
    for leaves in ("after", "together")
    for rule in ("spectral", "predicted_error")
    for layers in (0, 2)
]
RECIPES = st.builds(
    lambda fitting, **options: builders.recipe(
        leaves=fitting[0],
        partition_by=fitting[1],
        leaf_layers=fitting[2],
        **options,
    ),
    fitting=st.sampled_from(FITTING),
    increments=any_of("increments") | st.just("clone"),
    compete_by=any_of("compete_by"),
    significance=st.sampled_from([0.05, 1.0]),
    num_superclasses=st.sampled_from([0, 2, 3, 5]),
    refine_branches=any_of("refine_branches"),
    confusion_counts=any_of("confusion_counts"),
    calibrate=st.booleans(),
    rule=any_of("rule"),
    beam_width=st.integers(1, 4),
)


# Most often new classes, so that trees become large.
WHAT = ["new classes", "new classes", "the same again", "new images"]


class GrowingTree(RuleBasedStateMachine):
    """Any sequence of steps, from any generation, with classes or images."""

    @initialize(
        seed=st.integers(0, 2**32), count=st.integers(1, 9), recipe=RECIPES
    )
    def start(self, seed, count, recipe):
        self.executor = builders.Untrained()
        self.answers = ChanceAnswers(self.executor.specs, seed)
        self.generations = []
        self.latest = None
        self.context = builders.open_context(
            "nowhere",
            source=ArraySource("none", "none", CATALOGUE, np.zeros((0, 8, 8))),
        )
        self.run(recipe, grow_tree, None, CLASSES[:count])

    def run(self, recipe, grow, tree, what):
        check(recipe)
        grower = Grower(
            recipe,
            Specs(recipe, CATALOGUE),
            builders.UntrainedJobs(self.context, self.executor),
            Priced(CATALOGUE, self.answers, recipe.routing),
        )
        grown, decisions = asyncio.run(grow(tree, what, grower))
        assert (grown.temperatures is not None) == recipe.growth.calibrate
        self.latest = builders.generation(
            grown,
            len(self.generations) + 1,
            made_by=recipe,
            parent=self.latest.number if self.latest else None,
            new_classes=what if grow is grow_tree else (),
            decisions=decisions,
            jobs=grower.jobs.uses(),
            error_after=grower.assessor.error(grown, grown.classes),
        )
        self.generations.append(self.latest)

    # One rule: hypothesis would leave one of two out of many runs.
    @rule(
        data=st.data(),
        recipe=RECIPES,
        what=st.sampled_from(WHAT),
    )
    def step(self, data, recipe, what):
        if data.draw(st.integers(0, 4)) == 4:  # roll back
            self.latest = data.draw(st.sampled_from(self.generations))
        before = self.latest
        known = before.tree.classes
        unknown = [name for name in CLASSES if name not in known]
        if what == "new images" or not unknown:
            self.relearn(data, recipe)
            return
        classes = st.sampled_from(unknown)
        new = tuple(
            data.draw(st.lists(classes, min_size=1, max_size=9, unique=True))
        )
        self.run(recipe, grow_tree, before.tree, new)
        check_step(before.tree, self.latest, new, self.executor.specs)
        if what == "the same again":
            once, self.latest = self.latest, before
            self.run(recipe, grow_tree, before.tree, new)
            assert self.latest.tree == once.tree
            assert self.latest.step == once.step
            # Their numbers differ.
            assert self.latest != once
            assert to_json(self.latest) != to_json(once)

    def relearn(self, data, recipe):
        before = self.latest.tree
        leaves = data.draw(st.sets(st.sampled_from(before.leaves), min_size=1))
        branches = {b for b in before.branches if below(b) & leaves}
        changed = Changes((), tuple(leaves), tuple(branches))

        self.run(recipe, relearn, before, changed)

        after = self.latest.tree
        assert shape(after.root) == shape(before.root)
        specs = self.executor.specs
        for leaf in before.leaves:
            new = after.path(leaf.name)[-1]
            assert (new == leaf) == (leaf not in leaves)
            if new != leaf:
                start = specs[new.job].start
                assert start.leaf_layers == own_layers(specs, leaf.job)

    @invariant()
    def each_class_is_in_one_leaf_and_every_branch_covers_what_is_below(self):
        tree = self.latest.tree
        counts = collections.Counter(
            name for leaf in tree.leaves for name in leaf.classes
        )
        assert counts == collections.Counter(tree.classes)
        assert set(counts.values()) == {1}
        for branch in tree.branches:
            assert sorted(branch.classes) == sorted(
                name for leaf in below(branch) for name in leaf.classes
            )
            for child in branch.children:
                assert child.name.rpartition(".")[0] == branch.name
                assert len(child.classes) >= 2
        for node in tree.nodes():
            assert self.executor.specs[node.job].classes == node.classes

    @invariant()
    def json_and_back_is_equal(self):
        text = to_json(self.latest)
        assert from_json(text) == self.latest
        assert to_json(from_json(text)) == text

    @invariant()
    def routing_probabilities_sum_to_1(self):
        rows = np.arange(0, len(IMAGES), 7)
        for name in ROUTING_RULES:
            answers = route(
                self.latest.tree,
                self.answers.node_probabilities,
                rows,
                Routing(name, 2),
            ).probabilities
            assert (answers >= 0).all()
            np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def check_step(before, generation, new, specs):
    """A step takes in the new classes and leaves the rest alone."""
    after, step = generation.tree, generation.step
    assert sorted(after.classes) == sorted((*before.classes, *new))
    received = {d.node: d.received for d in step.decisions}
    assert sorted(n for names in received.values() for n in names) == sorted(
        new
    )
    assert all(received.values())
    assert received.keys() <= {leaf.name for leaf in before.leaves}
    for decision in step.decisions:
        grown = after.path(decision.node)[-1]
        assert grown.job == decision.flat.job
        if decision.growth == "clone":
            # Its exponent is chosen; those of branches above may follow.
            assert grown == decision.clone
        else:
            assert grown == decision.flat
    for node in before.nodes():
        arrived = {
            name
            for grown in received
            if node in before.path(grown)
            for name in received[grown]
        }
        now = after.path(node.name)[-1]
        assert now.classes[: len(node.classes)] == node.classes
        assert set(now.classes) == {*node.classes, *arrived}
        # A job for what received classes, and for what is above it.
        assert (now.job != node.job) == bool(arrived)
        if not arrived:
            assert now == node
    # No job is run for nothing, and each starts from what was there.
    used = {node.job for node in after.nodes()}
    for decision in step.decisions:
        used.add(decision.flat.job)
        used.update(leaf.job for leaf in below(decision.clone))
    old = {node.job for node in before.nodes()}
    ran = {use.job for use in step.jobs}
    # Previews are of no tree; they tell how to divide, and train nothing.
    previews = {u.job for u in step.jobs if u.label.endswith(" preview")}
    assert all(isinstance(specs[job].start, Preview) for job in previews)
    assert used - old == ran - previews
    flats = {decision.flat.job for decision in step.decisions}
    for job in ran:
        start = specs[job].start
        assert set(parents(start)) <= old | flats | previews
        if isinstance(start, CutOut):
            (branch,) = parents(start)
            own = specs[branch].start.superclasses
            assert own[start.leaf] == specs[job].classes


def below(node):
    """The leaves below a node."""
    if node is None or isinstance(node, Leaf):
        return {node} - {None}
    return {leaf for child in node.children for leaf in below(child)}


def own_layers(specs, job):
    """Layers that a model does not share with what is above it; 0: all."""
    start = specs[job].start
    if isinstance(start, CutOut):
        return specs[start.branch].start.leaf_layers
    return start.leaf_layers if isinstance(start, Clone) else 0


def shape(node):
    """What a tree is, less the models."""
    if isinstance(node, Branch):
        return node.name, node.classes, [shape(c) for c in node.children]
    return node.name, node.classes


TestGrowingTree = GrowingTree.TestCase
TestGrowingTree.settings = settings(max_examples=8, stateful_step_count=5)
