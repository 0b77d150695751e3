import asyncio
import dataclasses

import keras
import msgspec
import numpy as np
import pytest

from hierkeras.growth.assess import Assessor
from hierkeras.growth.grower import grower
from hierkeras.growth.incremental import (
    distribute,
    grow_tree,
    incremental,
    with_exponents,
)
from hierkeras.training.spec import Flat, Preview, Refined
from hierkeras.tree.nodes import Temperatures, Tree
from hierkeras.tree.routing import Routing
from tests import builders

pytestmark = pytest.mark.usefixtures("one_thread")

# Everyone takes 2 for 8 and 9 for 7.
TAKEN = {"2": "8", "9": "7"}


def grown_before(mistakes=TAKEN, **fields):
    """A tree of three levels, and what grows it without training."""
    shape = ("01345678", "135784", "358", "147", "06")
    growing = builders.untrained_grower(
        builders.recipe(**fields), dict.fromkeys(shape, mistakes)
    )
    jobs = [builders.trained(growing, classes).job for classes in shape]
    leaves = {
        name: builders.leaf(name, classes, job)
        for name, classes, job in zip(
            ("root.1.1", "root.1.2", "root.2"), shape[2:], jobs[2:], strict=True
        )
    }
    inner = builders.branch(
        "root.1", shape[1], leaves["root.1.1"], leaves["root.1.2"], job=jobs[1]
    )
    root = builders.branch(
        "root", shape[0], inner, leaves["root.2"], job=jobs[0]
    )
    return growing, Tree(root), set(growing.jobs.uses())


@pytest.mark.parametrize("counts", ["hard", "soft"])
def test_new_classes_go_where_their_images_are_taken_for(counts):
    growing, tree, _ = grown_before(confusion_counts=counts)

    received = distribute(tree, ("9", "2"), growing)

    assert received == {"root.1.1": ("2",), "root.1.2": ("9",)}


@pytest.mark.parametrize(
    ("refinement", "start"),
    [("none", Preview), ("head", Refined), ("full", Flat)],
)
def test_a_step_changes_the_path_to_what_is_new_and_nothing_else(
    refinement, start
):
    growing, before, used = grown_before(
        increments="flat", refine_branches=refinement
    )

    after, (decision,) = asyncio.run(incremental(before, ("9",), growing))

    assert decision.node == "root.1.2"
    path = ["root", "root.1", "root.1.2"]
    for node in before.nodes():
        new = after.path(node.name)[-1]
        if node.name in path:
            spec = growing.jobs.spec(new.job)
            assert new.classes == spec.classes == (*node.classes, "9")
            assert spec.start.parent == node.job
        else:
            assert new == node
    for branch in after.branches:
        assert type(growing.jobs.spec(branch.job).start) is start
    # One job for each node of the path, none for the others.
    labels = {use.label for use in set(growing.jobs.uses()) - used}
    assert labels == {"root branch", "root.1 branch", "root.1.2 flat"}


@pytest.mark.parametrize("leaves", ["beside", "after", "together"])
def test_a_leaf_below_branches_becomes_a_branch(leaves):
    growing, before, _ = grown_before(
        {"2": "8", "9": "8"}, increments="clone", leaves=leaves
    )

    after, (decision,) = asyncio.run(incremental(before, ("9", "2"), growing))

    grown = after.path("root.1.1")[-1]
    assert decision.received == ("9", "2")
    assert grown == decision.clone
    assert grown.job == decision.flat.job
    assert len(grown.children) == 2
    assert (before.depth, after.depth) == (3, 4)
    for name in ("root", "root.1", "root.1.1"):
        old, new = (t.path(name)[-1].classes for t in (before, after))
        assert set(new) == {*old, "9", "2"}
    for name in ("root.1.2", "root.2"):
        assert after.path(name)[-1] == before.path(name)[-1]


def test_two_leaves_may_grow_in_one_step():
    growing, before, _ = grown_before(increments="flat")

    after, decisions = asyncio.run(incremental(before, ("9", "2"), growing))

    assert [(d.node, d.received) for d in decisions] == [
        ("root.1.1", ("2",)),
        ("root.1.2", ("9",)),
    ]
    # A branch takes its new classes leaf by leaf.
    assert after.path("root.1")[-1].classes == tuple("13578429")


def test_a_trees_temperature_changes_no_distribution():
    growing, tree, _ = grown_before(confusion_counts="soft")
    random = np.random.default_rng(0)
    images = len(growing.specs.catalogue.keys)
    tables = {
        node.job: random.dirichlet(np.full(len(node.classes), 0.3), images)
        for node in tree.nodes()
    }
    assessor = Assessor(
        growing.specs.catalogue, builders.Tables(tables), Routing("soft")
    )
    growing = dataclasses.replace(growing, assessor=assessor)
    warm = Tree(tree.root, Temperatures(hard=9.0, soft=9.0, fused=9.0))
    new = tuple("92130")

    assert distribute(tree, new, growing) == distribute(warm, new, growing)


@pytest.mark.parametrize("calibrate", [True, False])
def test_a_tree_has_temperatures_where_they_are_asked_for(calibrate):
    growing, before, _ = grown_before(increments="flat", calibrate=calibrate)

    first, _ = asyncio.run(grow_tree(None, ("0", "1"), growing))
    later, _ = asyncio.run(grow_tree(before, ("9",), growing))

    for tree in (first, later):
        bare = Tree(tree.root)
        expected = growing.assessor.with_temperatures(bare)
        assert tree == (expected if calibrate else bare)


def test_the_first_tree_is_one_leaf_from_scratch():
    growing = builders.untrained_grower(builders.recipe())

    tree, (decision,) = asyncio.run(grow_tree(None, ("3", "1"), growing))

    spec = growing.specs.scratch(("3", "1"))
    assert tree.root == builders.leaf("root", "31", spec.job)
    assert (decision.growth, decision.received) == ("first", ("3", "1"))
    assert decision.reason == "there was no tree"
    assert decision.flat == tree.root
    assert decision.flat_error == 0


class Writing(builders.Untrained):
    """An executor that leaves results, of a network of no use."""

    async def run(self, spec, label, context):
        image = keras.Input((1,))
        model = keras.Model(image, keras.layers.Dense(1)(image))
        builders.write_job(context.store, spec, model)
        return await super().run(spec, label, context)


def test_growing_is_a_function_of_its_arguments(tmp_path):
    """What was trained is found, whoever asks and however often."""
    recipe = builders.recipe(
        increments="clone", num_superclasses=2, rule="fused"
    )
    context = builders.open_context(tmp_path)
    executor = Writing()
    answers = builders.Answers(
        context.catalogue, executor.specs, {"0137": {"2": "3", "4": "1"}}
    )

    def grown(runs):
        tree, steps = None, []
        for new_classes in (tuple("0137"), tuple("24")):
            growing = grower(context, recipe, runs, answers)
            tree, decisions = asyncio.run(grow_tree(tree, new_classes, growing))
            steps.append((tree, decisions, growing.jobs.uses()))
        return steps

    once = grown(executor)
    idle = builders.Untrained()

    again = grown(idle)

    assert idle.specs == {}
    assert [len(jobs) for _, _, jobs in once] == [1, 3]
    for (*before, ran), (*after, found) in zip(once, again, strict=True):
        assert after == before
        assert not any(use.reused for use in ran)
        assert {use.job for use in found} == {use.job for use in ran}
        assert all(use.reused for use in found)


def test_an_exponent_is_chosen_for_the_branches_that_are_named():
    class Assessor:
        """Notes whom it is asked about."""

        def __init__(self):
            self.asked = []

        def with_exponent(self, branch):
            self.asked.append(branch.name)
            return msgspec.structs.replace(branch, fusion_exponent=0.5)

    growing, tree, _ = grown_before()
    assessor = Assessor()
    growing = dataclasses.replace(growing, assessor=assessor)

    found = with_exponents(tree, {"root.1", "root.2"}, growing)

    assert assessor.asked == ["root.1"]  # root.2 is a leaf
    assert found.root.fusion_exponent == tree.root.fusion_exponent
    assert found.root.children[0].fusion_exponent == 0.5
    both = with_exponents(tree, {"root", "root.1"}, growing)
    assert assessor.asked[1:] == ["root.1", "root"]  # the lowest one first
    assert both.root.children[0].fusion_exponent == 0.5
