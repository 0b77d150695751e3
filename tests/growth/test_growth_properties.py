"""Whatever the models answer, growing keeps the tree's promises.

Real Algorithms 1 and 2, without training: jobs do nothing, and what their
models answer is drawn by chance.
"""

import asyncio
import collections
import functools

import numpy as np
import pytest
from hierkeras.growth.options import (
    CAPACITY_RULES,
    CLONE_SOURCES,
    CONFUSION_COUNTS,
    GROWTH_MODES,
    REFINEMENTS,
    GrowthOptions,
)
from hierkeras.growth.plan import JobPlan
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
from hierkeras.data.source import DataConfig
from hierkeras.growth.assess import Assessor
from hierkeras.growth.changes import Changes
from hierkeras.growth.extend_leaf import Grower
from hierkeras.growth.incremental import first_tree, incremental
from hierkeras.growth.relearn import relearn
from hierkeras.models.registry import ModelConfig
from hierkeras.training.context import Context, ContextConfig
from hierkeras.training.jobs import Jobs
from hierkeras.training.results import JobResult, Measured
from hierkeras.training.spec import Recipe
from hierkeras.tree.generation import Generation, Step, from_json, to_json
from hierkeras.tree.nodes import Branch, Leaf
from hierkeras.tree.routing import ROUTING_RULES, Routing, route

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


class UntrainedJobs:
    """In place of an executor: remembers what it was asked, trains nothing."""

    def __init__(self):
        self.specs = {}

    async def run(self, spec, label, context):
        assert spec.initial is None or spec.initial.job in self.specs
        self.specs[spec.job] = spec
        await asyncio.sleep(0)  # others come between, as with real jobs
        measured = Measured(0.0, 0.0, 0.0)
        return JobResult(spec, label, measured, 0, 0, 0.0, {})


class RememberedJobs(Jobs):
    """The jobs of a step, where the executor alone knows their specs."""

    def __init__(self, context, executor):
        super().__init__(context, executor)
        self.spec = executor.specs.__getitem__


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


DIVISIONS = [
    {"confusion_from": "previous"},
    {"confusion_from": "flat"},
    {"confusion_from": "flat", "partition_by": "predicted_error"},
]
OPTIONS = st.builds(
    lambda division, **options: GrowthOptions(**division, **options),
    division=st.sampled_from(DIVISIONS),
    growth=st.sampled_from([*GROWTH_MODES, "clone"]),
    num_superclasses=st.sampled_from([0, 2, 3, 5]),
    clone_from=st.sampled_from(CLONE_SOURCES),
    refine_branches=st.sampled_from(REFINEMENTS),
    routing=st.builds(
        Routing, st.sampled_from(ROUTING_RULES), st.integers(1, 4)
    ),
    confusion_counts=st.sampled_from(CONFUSION_COUNTS),
    leaf_capacity=st.sampled_from([1.0, 1.5]),
    capacity_rule=st.sampled_from(CAPACITY_RULES),
)


# Most often new classes, so that trees become large.
WHAT = ["new classes", "new classes", "the same again", "new images"]


class GrowingTree(RuleBasedStateMachine):
    """Any sequence of steps, from any generation, with classes or images."""

    @initialize(
        seed=st.integers(0, 2**32),
        count=st.integers(1, 9),
        options=OPTIONS,
        joint_epochs=st.sampled_from([0, 3]),
    )
    def start(self, seed, count, options, joint_epochs):
        self.joint_epochs = joint_epochs
        self.executor = UntrainedJobs()
        self.answers = ChanceAnswers(self.executor.specs, seed)
        self.generations = []
        self.latest = None
        self.context = Context(
            ContextConfig("nowhere", DataConfig("none"), 8),
            ArraySource("none", "none", CATALOGUE, np.zeros((0, 8, 8))),
        )
        self.run(options, CLASSES[:count], first_tree)

    def run(self, options, new_classes, grow, *arguments):
        assessor = Assessor(CATALOGUE, self.answers, options.routing)
        jobs = RememberedJobs(self.context, self.executor)
        plan = JobPlan(
            ModelConfig("small_cnn", image_size=8),
            Recipe(),
            joint_epochs=self.joint_epochs,
        )
        grower = Grower(options, plan, jobs, assessor)
        tree, decisions = asyncio.run(grow(*arguments, new_classes, grower))
        step = Step(
            new_classes if isinstance(new_classes, tuple) else (),
            decisions,
            jobs.uses(),
            scratch=None,
            unreadable_images=(),
            old_error_before=None,
            old_error_after=None,
            error_after=assessor.error(tree, tree.classes),
            seconds=0.0,
        )
        parent = self.latest.number if self.latest else None
        number = len(self.generations) + 1
        self.latest = Generation(number, {}, tree, step, parent)
        self.generations.append(self.latest)

    # One rule: hypothesis would leave one of two out of many runs.
    @rule(
        data=st.data(),
        options=OPTIONS,
        what=st.sampled_from(WHAT),
    )
    def step(self, data, options, what):
        if data.draw(st.integers(0, 4)) == 4:  # roll back
            self.latest = data.draw(st.sampled_from(self.generations))
        before = self.latest
        known = before.tree.classes
        unknown = [name for name in CLASSES if name not in known]
        if what == "new images" or not unknown:
            self.relearn(data, options)
            return
        classes = st.sampled_from(unknown)
        new = tuple(
            data.draw(st.lists(classes, min_size=1, max_size=9, unique=True))
        )
        self.run(options, new, incremental, before.tree)
        check_step(before.tree, self.latest, new, self.executor.specs)
        if what == "the same again":
            once, self.latest = self.latest, before
            self.run(options, new, incremental, before.tree)
            assert self.latest.tree == once.tree
            assert self.latest.step == once.step
            # Their numbers differ.
            assert self.latest != once
            assert to_json(self.latest) != to_json(once)

    def relearn(self, data, options):
        before = self.latest.tree
        leaves = data.draw(st.sets(st.sampled_from(before.leaves), min_size=1))
        branches = {b for b in before.branches if below(b) & leaves}
        changed = Changes((), tuple(leaves), tuple(branches))

        self.run(options, changed, relearn, before)

        after = self.latest.tree
        assert shape(after.root) == shape(before.root)
        for leaf in before.leaves:
            assert (after.path(leaf.name)[-1] == leaf) == (leaf not in leaves)

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
    assert all(specs[job].trainable == "none" for job in previews)
    assert used - old == ran - previews
    flats = {decision.flat.job for decision in step.decisions}
    leaves = {
        leaf.job
        for decision in step.decisions
        for leaf in below(decision.clone)
    }
    for job in ran:
        parent = specs[job].initial.job
        assert parent in old | flats | previews
        factor = width(specs[job]) / width(specs[parent])
        assert 0.99 / 1.5 < factor < 1.01 * 1.5
        assert factor == 1 or job in leaves


def width(spec):
    return spec.model.width_multiplier


def below(node):
    """The leaves below a node."""
    if node is None or isinstance(node, Leaf):
        return {node} - {None}
    return {leaf for child in node.children for leaf in below(child)}


def shape(node):
    """What a tree is, less the models."""
    if isinstance(node, Branch):
        return node.name, node.classes, [shape(c) for c in node.children]
    return node.name, node.classes


TestGrowingTree = GrowingTree.TestCase
TestGrowingTree.settings = settings(max_examples=15, stateful_step_count=8)
