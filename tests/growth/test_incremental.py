import asyncio

import msgspec
import pytest

from hierkeras.growth.incremental import distribute, incremental
from hierkeras.training import results
from hierkeras.tree.nodes import Temperatures, Tree


@pytest.mark.parametrize("counts", ["hard", "soft"])
def test_new_classes_go_where_their_images_are_taken_for(
    trained, make_grower, answers, untrained, counts
):
    context, tree = trained
    taken = {"2": "8", "9": "7"}
    models = ["".join(node.classes) for node in tree.nodes()]
    predictor = answers(context, dict.fromkeys(models, taken))
    grower = make_grower(context, predictor, untrained, confusion_counts=counts)

    received = distribute(tree, ("9", "2"), grower)

    assert received == {"root.1.1": ("2",), "root.1.2": ("9",)}


@pytest.mark.parametrize(
    ("refinement", "trainable"),
    [
        ("none", "none"),
        pytest.param("head", "head", marks=pytest.mark.slow),
        pytest.param("full", "all", marks=pytest.mark.slow),
    ],
)
def test_a_step_changes_the_path_to_what_is_new_and_nothing_else(
    trained, predictor, plan, make_grower, refinement, trainable
):
    context, before = trained
    grower = make_grower(
        context, predictor, plan, growth="flat", refine_branches=refinement
    )

    after, (decision,) = asyncio.run(incremental(before, ("9",), grower))

    path = [node.name for node in before.path(decision.node)]
    assert path[:2] == ["root", "root.1"]  # the fixture's 9 looks like these
    assert len(path) == 3
    for node in before.nodes():
        new = after.path(node.name)[-1]
        if node.name in path:
            assert new.job != node.job
            assert new.classes == (*node.classes, "9")
        else:
            assert new == node
    # One job for each node of the path, none for the others.
    assert len(grower.jobs.uses()) == len(path)
    for branch in after.branches:
        spec = results.read(context.store, branch.job).spec
        assert spec.classes == branch.classes
        assert spec.trainable == trainable
        assert spec.initial.job == before.path(branch.name)[-1].job


def test_a_leaf_below_branches_becomes_a_branch(
    trained, make_grower, answers, untrained
):
    context, before = trained
    taken = {"2": "8", "9": "8"}
    models = ["".join(node.classes) for node in before.nodes()]
    predictor = answers(context, dict.fromkeys(models, taken))
    grower = make_grower(
        context, predictor, untrained, growth="clone", refine_branches="none"
    )

    after, (decision,) = asyncio.run(incremental(before, ("9", "2"), grower))

    grown = after.path("root.1.1")[-1]
    assert decision.received == ("9", "2")
    assert grown.job == decision.flat.job
    assert len(grown.children) == 2
    assert (before.depth, after.depth) == (3, 4)
    for name in ("root", "root.1", "root.1.1"):
        assert set(after.path(name)[-1].classes) == {
            *before.path(name)[-1].classes,
            "9",
            "2",
        }
    assert after.path("root.1.2")[-1] == before.path("root.1.2")[-1]
    assert after.path("root.2")[-1] == before.path("root.2")[-1]


@pytest.mark.parametrize("calibrate", ["nodes", "tree"])
def test_what_a_step_trains_is_calibrated_and_what_not_keeps_its_own(
    trained, predictor, untrained, make_grower, calibrate
):
    context, cold = trained
    alone = msgspec.structs.replace(cold.path("root.2")[-1], temperature=1.9)
    old = msgspec.structs.replace(
        cold.path("root.1.1")[-1], temperature=1.8
    )  # is replaced, as the fixture's 9 looks like it or its sibling
    sibling = msgspec.structs.replace(
        cold.path("root.1.2")[-1], temperature=1.7
    )
    before = cold.replacing(
        {"root.2": alone, "root.1.1": old, "root.1.2": sibling}
    )
    grower = make_grower(
        context,
        predictor,
        untrained,
        growth="clone",
        num_superclasses=2,
        refine_branches="none",
        calibrate=calibrate,
    )

    after, (decision,) = asyncio.run(incremental(before, ("9",), grower))

    grown = Tree(decision.clone)
    assert after.path("root.2")[-1] == alone
    trained_here = [*grown.nodes(), *after.path(decision.node)]
    for node in trained_here:
        expected = (
            grower.assessor.temperature(node.job, node.classes)
            if calibrate == "nodes"
            else 1.0
        )
        assert node.temperature == expected
    assert decision.flat.temperature == grown.root.temperature
    is_calibrated = {node.temperature for node in trained_here} != {1.0}
    assert is_calibrated == (calibrate == "nodes")


def test_a_trees_temperature_changes_no_distribution(
    trained, predictor, untrained, make_grower
):
    context, tree = trained
    warm = Tree(tree.root, Temperatures(hard=4.0, soft=4.0, fused=4.0))
    asked = []
    for each in (tree, warm):
        grower = make_grower(
            context, predictor, untrained, confusion_counts="soft"
        )
        asked.append(distribute(each, ("9", "2"), grower))
    assert asked[0] == asked[1]
