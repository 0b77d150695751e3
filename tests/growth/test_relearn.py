import asyncio

import pytest

from hierkeras.growth.changes import Changes
from hierkeras.growth.relearn import is_pending, relearn
from hierkeras.recipe.growth import Growth
from hierkeras.training.spec import Clone, Flat, Refined
from hierkeras.tree.nodes import Tree
from tests import builders

CLASSES, GROUPS = tuple("0123"), (tuple("01"), tuple("23"))
LEARNING = ("beside", "after", "together")


def grown_before(**fields):
    """A tree of two levels by a clone increment, and what relearns."""
    growing = builders.untrained_grower(builders.recipe(**fields))
    specs = growing.specs

    async def grow():
        if growing.recipe.growth.leaves == "together":
            spec = specs.together("preview", GROUPS, CLASSES)
            root = await growing.train(spec, "root", "together")
            below = [
                specs.cut_out(root.job, k, own) for k, own in enumerate(GROUPS)
            ]
        else:
            spec = specs.flat("parent", CLASSES)
            root = await growing.train(spec, "root", "flat")
            below = [specs.clone(root.job, own) for own in GROUPS]
        leaves = [
            await growing.train(spec, f"root.{k + 1}", "leaf")
            for k, spec in enumerate(below)
        ]
        return builders.branch("root", CLASSES, *leaves, job=root.job)

    return growing, Tree(asyncio.run(grow()))


def relearnt(growing, tree, *names):
    """The tree after the images of some nodes changed, and its decisions."""
    leaves = [leaf for leaf in tree.leaves if leaf.name in names]
    branches = [branch for branch in tree.branches if branch.name in names]
    changes = Changes((), tuple(leaves), tuple(branches))
    return asyncio.run(relearn(tree, changes, growing))


def test_relearning_trains_what_is_stale_and_nothing_else():
    growing, before = grown_before(rule="fused")

    after, (decision,) = relearnt(growing, before, "root", "root.2")

    for old, new in zip(before.nodes(), after.nodes(), strict=True):
        assert (new.name, new.classes) == (old.name, old.classes)
        if new.name == "root.1":
            assert new == old
        else:
            start = growing.jobs.spec(new.job).start
            assert start.parent == old.job
            assert type(start) is (Clone if new.name == "root.2" else Refined)
    leaf = after.path("root.2")[-1]
    assert (decision.node, decision.growth) == ("root.2", "relearned")
    assert (decision.received, decision.flat) == ((), leaf)
    assert decision.flat_error == 0
    assert decision.reason == (
        "its images changed; validation error 0.00% before, 0.00% after"
    )
    labels = [use.label for use in growing.jobs.uses()][-2:]
    assert labels == ["root.2 relearnt", "root branch relearnt"]


def test_exponents_above_what_changed_are_chosen_again():
    growing, before = grown_before()
    # The branch takes 0 for 1, and the leaf that changed does not.
    growing.assessor.predictor.mistakes = {"0123": {"0": "1", "1": "0"}}
    sure = before.replacing(
        {
            "root": builders.branch(
                "root",
                CLASSES,
                *before.root.children,
                job=before.root.job,
                fusion_exponent=0.0,
            )
        }
    )

    after, _ = relearnt(growing, sure, "root.1")

    assert after.root.fusion_exponent > 0.5


@pytest.mark.parametrize("calibrate", [True, False])
def test_the_answer_is_calibrated_again_where_that_is_asked_for(calibrate):
    growing, before = grown_before(calibrate=calibrate)

    after, _ = relearnt(growing, before, "root.1")

    assert (after.temperatures is not None) == calibrate


def layers_trained(growing, tree, name):
    after, _ = relearnt(growing, tree, name)
    return growing.jobs.spec(after.path(name)[-1].job).start.leaf_layers


@pytest.mark.parametrize("leaves", LEARNING)
@pytest.mark.parametrize("layers", [0, 2])
def test_what_a_leaf_shares_stays_shared(leaves, layers):
    growing, before = grown_before(leaves=leaves, leaf_layers=layers)

    once, _ = relearnt(growing, before, "root.1")

    assert growing.jobs.spec(once.leaves[0].job).start.leaf_layers == layers
    assert layers_trained(growing, once, "root.1") == layers  # and once more


@pytest.mark.parametrize("leaves", LEARNING)
def test_a_leaf_that_was_never_cloned_trains_all_its_layers(leaves):
    fields = builders.recipe(leaves=leaves, leaf_layers=2)
    growing = builders.untrained_grower(fields)
    first = builders.trained(growing, CLASSES)
    grown = asyncio.run(
        growing.train(growing.specs.flat(first.job, CLASSES), "root", "flat")
    )

    for leaf in (first, grown):
        assert layers_trained(growing, Tree(leaf), "root") == 0


@pytest.mark.parametrize("leaves", LEARNING)
def test_leaves_relearn_for_the_epochs_of_leaves(leaves):
    growing, before = grown_before(
        leaves=leaves, max_epochs=10, leaf_share=0.5, flat_share=0.1
    )

    after, _ = relearnt(growing, before, "root.1")

    spec = growing.jobs.spec(after.leaves[0].job)
    assert spec.training.max_epochs == 5


@pytest.mark.parametrize(
    ("refinement", "start"), [("none", None), ("head", Refined), ("full", Flat)]
)
def test_stale_branches_are_refined_as_the_recipe_says(refinement, start):
    growing, before = grown_before(refine_branches=refinement)

    after, decisions = relearnt(growing, before, "root")

    assert decisions == ()
    if start is None:
        assert after.root.job == before.root.job
    else:
        assert type(growing.jobs.spec(after.root.job).start) is start


@pytest.mark.parametrize(
    ("leaves", "branches", "refinement", "pending"),
    [
        (1, 0, "none", True),
        (0, 1, "none", False),  # it can be refined later
        (0, 1, "head", True),
        (0, 1, "full", True),
        (0, 0, "full", False),
    ],
)
def test_when_there_is_something_to_relearn(
    leaves, branches, refinement, pending
):
    tree = builders.tree("01", "23")
    changes = Changes((), tree.leaves[:leaves], tree.branches[:branches])

    growth = Growth(refine_branches=refinement)

    assert is_pending(changes, growth) == pending
