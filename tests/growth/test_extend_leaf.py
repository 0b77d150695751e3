import asyncio
import dataclasses

import pytest

from hierkeras.growth.extend_leaf import extend_leaf
from hierkeras.training import results
from hierkeras.tree.nodes import Branch, Leaf

OLD, RECEIVED = ("1", "3", "7", "8"), ("2", "9")
# Before the step 1 is taken for 7 and 3 for 8, new 2 for 8 and new 9 for 7.
CONFUSION = {"1": "7", "7": "1", "3": "8", "8": "3", "2": "8", "9": "7"}
GROUPS = (("1", "7", "9"), ("3", "8", "2"))
# The flat increment knows the superclass, not the class.
CONFUSED_FLAT = {"1": "7", "7": "9", "9": "1", "3": "8", "8": "2", "2": "3"}


@pytest.fixture(scope="module")
def context(open_context, tmp_path_factory):
    return open_context(tmp_path_factory.mktemp("extend_leaf"))


@pytest.fixture(scope="module")
def leaf(context, untrained, run_job):
    spec = untrained.from_scratch(OLD, context.catalogue)
    return Leaf("root.5", OLD, run_job(context, spec))


@pytest.fixture
def extend(context, leaf, make_grower, answers, untrained):
    """A function from mistakes and options to what extending gives.

    Jobs run and train nothing; what their models answer is given.
    """

    def extend(mistakes, **options):
        known = answers(context, {"1378": CONFUSION, **mistakes})
        grower = make_grower(context, known, untrained, **options)
        node, decision = asyncio.run(extend_leaf(leaf, RECEIVED, grower))
        labels = [use.label for use in grower.jobs.uses()]
        return node, decision, labels

    return extend


def test_flat_wins_a_tie(extend):
    node, decision, _ = extend({}, num_superclasses=2)

    assert decision.flat_error == decision.clone_error == 0
    assert decision.growth == "flat"
    assert node == decision.flat
    assert (node.name, node.classes) == ("root.5", (*OLD, *RECEIVED))
    assert decision.reason == (
        "validation error of the clone increment 0.00% >= 0.00% of the flat "
        "increment"
    )


def test_the_clone_wins_where_its_error_is_less(extend):
    node, decision, _ = extend({"137829": CONFUSED_FLAT}, num_superclasses=2)

    assert (decision.flat_error, decision.clone_error) == (1, 0)
    assert decision.growth == "clone"
    assert node == decision.clone
    assert decision.node == "root.5"
    assert decision.received == RECEIVED


def test_the_branch_is_the_flat_model_over_the_superclasses(extend):
    node, decision, _ = extend({}, growth="clone", num_superclasses=2)

    assert isinstance(node, Branch)
    assert (node.name, node.job) == ("root.5", decision.flat.job)
    assert node.classes == (*OLD, *RECEIVED)
    assert [leaf.name for leaf in node.children] == ["root.5.1", "root.5.2"]
    assert tuple(leaf.classes for leaf in node.children) == GROUPS


def test_clone_takes_the_clone_whatever_its_error(extend):
    node, decision, _ = extend(
        {"179": {"1": "7", "7": "1"}}, growth="clone", num_superclasses=2
    )

    assert decision.clone_error > decision.flat_error == 0
    assert decision.growth == "clone"
    assert node == decision.clone
    assert decision.reason.startswith("--growth=clone; validation error of ")


def test_flat_trains_no_clone(extend):
    node, decision, labels = extend({"137829": CONFUSED_FLAT}, growth="flat")

    assert isinstance(node, Leaf)
    assert (decision.growth, decision.reason) == ("flat", "--growth=flat")
    assert (decision.clone, decision.clone_error) == (None, None)
    assert labels == ["root.5 flat"]


@pytest.mark.parametrize("growth", ["compete", "clone"])
@pytest.mark.parametrize(("least", "grown"), [(6, "clone"), (7, "flat")])
def test_a_leaf_of_few_classes_trains_no_clone(extend, growth, least, grown):
    node, decision, labels = extend(
        {"137829": CONFUSED_FLAT},
        growth=growth,
        num_superclasses=2,
        min_classes_to_clone=least,
    )

    assert decision.growth == grown
    if grown == "flat":
        assert isinstance(node, Leaf)
        assert labels == ["root.5 flat"]
        assert decision.reason == (
            "4 old and 2 new classes are fewer than --min_classes_to_clone=7"
        )


@pytest.mark.parametrize("clone_from", ["previous", "flat"])
def test_what_clones_start_from(extend, context, leaf, clone_from):
    node, decision, labels = extend(
        {}, growth="clone", num_superclasses=2, clone_from=clone_from
    )

    def parent(job):
        return results.read(context.store, job).spec.initial.job

    assert parent(decision.flat.job) == leaf.job
    expected = {"previous": leaf.job, "flat": decision.flat.job}[clone_from]
    assert [parent(child.job) for child in node.children] == [expected] * 2
    assert labels == ["root.5 flat", "root.5.1 leaf", "root.5.2 leaf"]


def test_too_few_classes_grow_flat(trained, predictor, make_grower, untrained):
    context, tree = trained
    two = tree.path("root.2")[-1]
    grower = make_grower(context, predictor, untrained, growth="clone")

    node, decision = asyncio.run(extend_leaf(two, ("9",), grower))

    assert node == Leaf("root.2", (*two.classes, "9"), node.job)
    assert decision.reason == "2 old and 1 new classes are too few to divide"


def test_the_flat_increment_s_confusions_may_divide(extend):
    pairs = {"1": "3", "3": "1", "7": "2", "2": "7", "8": "9", "9": "8"}
    options = {"growth": "clone", "num_superclasses": 3}

    node, _, labels = extend(
        {"137829": pairs}, confusion_from="flat", **options
    )

    groups = [leaf.classes for leaf in node.children]
    assert groups == [("1", "3"), ("7", "2"), ("8", "9")]
    assert labels[0] == "root.5 flat"
    assert len(labels) == 4
    before, _, _ = extend({"137829": pairs}, **options)
    assert [leaf.classes for leaf in before.children] != groups


def test_the_predicted_error_may_divide(extend):
    # Nobody is confused with 9: it goes where there is room.
    confused = {"1": "3", "3": "1", "7": "2", "2": "7", "8": "2"}

    node, _, _ = extend(
        {"137829": confused},
        growth="clone",
        num_superclasses=2,
        confusion_from="flat",
        partition_by="predicted_error",
    )

    groups = [leaf.classes for leaf in node.children]
    assert groups == [("1", "3", "9"), ("7", "8", "2")]


@pytest.fixture
def extend_together(context, leaf, make_grower, answers, untrained):
    """As `extend`; a branch and its leaves are trained as one network."""

    def extend(mistakes, received=RECEIVED, **options):
        known = answers(context, {"1378": CONFUSION, **mistakes})
        plan = dataclasses.replace(untrained, joint_epochs=1, leaf_layers=2)
        grower = make_grower(context, known, plan, **options)
        node, decision = asyncio.run(extend_leaf(leaf, received, grower))
        return node, decision, grower.jobs.uses()

    return extend


def test_a_branch_and_its_leaves_may_be_trained_together(
    context, leaf, extend_together
):
    node, decision, uses = extend_together(
        {}, growth="clone", num_superclasses=2
    )

    assert [use.label for use in uses] == [
        "root.5 preview",
        "root.5 joint",
        "root.5.1 leaf",
        "root.5.2 leaf",
    ]
    # One training, which sweeps each image once.
    assert [use.images_swept > 0 for use in uses] == [False, True, False, False]
    preview, joint, *leaves = (
        results.read(context.store, use.job).spec for use in uses
    )
    assert preview.initial.job == leaf.job
    assert joint.initial.job == preview.job
    assert joint.leaves.classes == GROUPS
    assert [each.initial.leaf for each in leaves] == [0, 1]
    assert (node.name, node.job) == ("root.5", joint.job)
    assert tuple(child.classes for child in node.children) == GROUPS
    # What competes is the branch alone.
    assert decision.flat == Leaf("root.5", (*OLD, *RECEIVED), joint.job)


def test_the_branch_alone_may_win(extend_together):
    mistakes = {"179": {"1": "7", "7": "1"}}

    node, decision, _ = extend_together(mistakes, num_superclasses=2)

    assert decision.clone_error > decision.flat_error == 0
    assert node == decision.flat


def test_a_preview_that_learnt_nothing_may_divide(extend_together):
    pairs = {"1": "3", "3": "1", "7": "2", "2": "7", "8": "9", "9": "8"}

    node, _, _ = extend_together(
        {"137829": pairs},
        growth="clone",
        num_superclasses=3,
        confusion_from="flat",
    )

    groups = [leaf.classes for leaf in node.children]
    assert groups == [("1", "3"), ("7", "2"), ("8", "9")]


def test_what_grows_flat_is_not_trained_together(extend_together):
    _, _, uses = extend_together({}, growth="flat")

    assert [use.label for use in uses] == ["root.5 flat"]
