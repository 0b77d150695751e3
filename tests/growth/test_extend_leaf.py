import asyncio
import dataclasses
from collections.abc import Mapping

import pytest

from hierkeras.growth.extend_leaf import extend_leaf
from hierkeras.training.spec import Clone, CutOut, Flat, JobSpec, Preview
from hierkeras.tree.generation import Decision
from hierkeras.tree.nodes import Branch, Leaf, Node
from tests import builders

pytestmark = pytest.mark.usefixtures("one_thread")

OLD, RECEIVED = ("1", "3", "7", "8"), ("2", "9")
CLASSES = (*OLD, *RECEIVED)
# Before the step 1 is taken for 7 and 3 for 8, new 2 for 8 and new 9 for 7.
CONFUSION = {"1": "7", "7": "1", "3": "8", "8": "3", "2": "8", "9": "7"}
GROUPS = (("1", "7", "9"), ("3", "8", "2"))
# What knows all six classes takes some for others of their superclass.
ROOT = "137829"
CONFUSED = {"1": "7", "7": "9", "9": "1", "3": "8", "8": "2", "2": "3"}
PAIRS = {"1": "3", "3": "1", "7": "2", "2": "7", "8": "9", "9": "8"}
LEARNING = ("beside", "after", "together")


@dataclasses.dataclass(frozen=True)
class Extended:
    """What extending a leaf gave, and the jobs that it ran, by label."""

    old: Leaf
    node: Node
    decision: Decision
    jobs: Mapping[str, JobSpec]

    def start(self, label):
        return self.jobs[label].start

    @property
    def groups(self):
        return tuple(child.classes for child in self.node.children)


def extend(mistakes=None, old=OLD, received=RECEIVED, **fields):
    """Extends a leaf from scratch; what its models answer is given."""
    known = {"1378": CONFUSION, **(mistakes or {})}
    grower = builders.untrained_grower(builders.recipe(**fields), known)
    leaf = builders.trained(grower, old, "root.5")
    return extended(leaf, received, grower)


def extended(leaf, received, grower):
    before = set(grower.jobs.uses())
    node, decision = asyncio.run(extend_leaf(leaf, received, grower))
    used = [use for use in grower.jobs.uses() if use not in before]
    jobs = {use.label: grower.jobs.spec(use.job) for use in used}
    return Extended(leaf, node, decision, jobs)


def clone(**fields):
    return {"increments": "clone", **compete(**fields)}


def compete(**fields):
    return {"num_superclasses": 2, **fields}


def test_leaves_learn_beside_the_flat_increment_as_in_algorithm_1():
    step = extend(**clone(leaves="beside"))

    assert list(step.jobs) == ["root.5 flat", "root.5.1 leaf", "root.5.2 leaf"]
    parent = step.old.job
    assert step.start("root.5 flat") == Flat(parent, "random", 1.0, 0.0, 0.0)
    for label, own in zip(list(step.jobs)[1:], GROUPS, strict=True):
        assert step.start(label) == Clone(parent, "random", 1.0, 0.0, 0)
        assert step.jobs[label].classes == own


def test_leaves_learn_after_the_flat_increment():
    step = extend({ROOT: CONFUSED}, **clone(leaves="after", leaf_layers=2))

    assert list(step.jobs) == ["root.5 flat", "root.5.1 leaf", "root.5.2 leaf"]
    flat = step.jobs["root.5 flat"]
    assert flat.start.parent == step.old.job
    for label, own in zip(list(step.jobs)[1:], step.groups, strict=True):
        assert step.start(label) == Clone(flat.job, "random", 1.0, 0.0, 2)
        assert step.jobs[label].classes == own


def test_leaves_learn_together_with_their_branch():
    step = extend({ROOT: CONFUSED}, **clone(leaves="together", leaf_layers=2))

    assert list(step.jobs) == [
        "root.5 preview",
        "root.5 together",
        "root.5.1 leaf",
        "root.5.2 leaf",
    ]
    preview, branch, *leaves = step.jobs.values()
    assert preview.start == Preview(step.old.job)
    assert branch.start.parent == preview.job
    assert branch.start.leaf_layers == 2
    assert branch.start.superclasses == step.groups
    assert branch.classes == preview.classes == CLASSES
    assert [spec.start for spec in leaves] == [
        CutOut(branch.job, 0),
        CutOut(branch.job, 1),
    ]
    assert tuple(spec.classes for spec in leaves) == step.groups
    # What competes is the branch alone.
    assert step.decision.flat == Leaf("root.5", CLASSES, branch.job)


@pytest.mark.parametrize("leaves", LEARNING)
def test_the_branch_is_the_flat_model_over_the_superclasses(leaves):
    step = extend({ROOT: CONFUSION}, **clone(leaves=leaves))

    node, flat = step.node, step.decision.flat
    assert isinstance(node, Branch)
    assert (node.name, node.classes, node.job) == ("root.5", CLASSES, flat.job)
    assert [leaf.name for leaf in node.children] == ["root.5.1", "root.5.2"]
    assert step.groups == GROUPS
    assert [leaf.job for leaf in node.children] == [
        spec.job for label, spec in step.jobs.items() if "leaf" in label
    ]


@pytest.mark.parametrize("leaves", LEARNING)
def test_whose_confusions_divide(leaves):
    """The leaf's as it was, or of what knows the new classes as well."""
    step = extend({ROOT: PAIRS}, **clone(leaves=leaves, num_superclasses=3))

    pairs = (("1", "3"), ("7", "2"), ("8", "9"))
    assert (step.groups == pairs) == (leaves != "beside")


@pytest.mark.parametrize("leaves", ["after", "together"])
def test_the_predicted_error_may_divide(leaves):
    # Nobody is confused with 9: it goes where there is room.
    confused = {"1": "3", "3": "1", "7": "2", "2": "7", "8": "2"}

    step = extend(
        {ROOT: confused}, **clone(leaves=leaves, partition_by="predicted_error")
    )

    assert step.groups == (("1", "3", "9"), ("7", "8", "2"))


@pytest.mark.parametrize("leaves", LEARNING)
def test_flat_wins_a_tie(leaves):
    step = extend(**compete(leaves=leaves))

    assert step.decision.flat_error == step.decision.clone_error == 0
    assert step.decision.growth == "flat"
    assert step.node == step.decision.flat
    assert (step.node.name, step.node.classes) == ("root.5", CLASSES)
    assert step.decision.reason == (
        "validation error of the clone increment 0.00% >= 0.00% of the flat "
        "increment"
    )


@pytest.mark.parametrize("leaves", LEARNING)
def test_the_clone_wins_where_its_error_is_less(leaves):
    step = extend({ROOT: CONFUSED}, **compete(leaves=leaves))

    decision = step.decision
    assert (decision.flat_error, decision.clone_error) == (1, 0)
    assert (decision.growth, decision.node) == ("clone", "root.5")
    assert decision.received == RECEIVED
    assert decision.evidence is None
    assert step.node == decision.clone


def test_evidence_may_decide_and_is_recorded():
    step = extend({ROOT: CONFUSED}, num_superclasses=2, compete_by="evidence")

    evidence = step.decision.evidence
    assert step.node == step.decision.clone
    assert evidence.only_flat_right == 0
    assert evidence.only_clone_right == evidence.num_images > 50
    assert evidence.clone_flops > evidence.flat_flops > 0
    assert step.decision.reason.startswith("right where the other is wrong: ")


def test_a_forced_clone_is_taken_whatever_its_error():
    step = extend({"179": {"1": "7", "7": "1"}}, **clone())

    assert step.decision.clone_error > step.decision.flat_error == 0
    assert step.decision.growth == "clone"
    assert step.node == step.decision.clone
    assert step.decision.reason.startswith(
        "--growth=clone; validation error of the clone increment "
    )


@pytest.mark.parametrize("leaves", LEARNING)
def test_a_forced_flat_increment_is_the_only_job(leaves):
    step = extend({ROOT: CONFUSED}, increments="flat", leaves=leaves)

    decision = step.decision
    assert step.node == decision.flat
    assert (decision.growth, decision.reason) == ("flat", "--growth=flat")
    assert (decision.clone, decision.clone_error) == (None, None)
    assert decision.flat_error == 1
    assert list(step.jobs) == ["root.5 flat"]


@pytest.mark.parametrize("leaves", LEARNING)
@pytest.mark.parametrize("increments", ["compete", "clone"])
@pytest.mark.parametrize(("least", "grown"), [(6, "clone"), (7, "flat")])
def test_a_leaf_of_few_classes_trains_no_clone(
    leaves, increments, least, grown
):
    fields = compete(increments=increments, min_classes_to_clone=least)

    step = extend({ROOT: CONFUSED}, leaves=leaves, **fields)

    assert step.decision.growth == grown
    if grown == "flat":
        assert list(step.jobs) == ["root.5 flat"]
        assert step.decision.reason == (
            "4 old and 2 new classes are fewer than min_classes_to_clone=7"
        )


@pytest.mark.parametrize("leaves", LEARNING)
def test_what_cannot_be_divided_grows_flat(leaves):
    step = extend(old="06", received=("9",), increments="clone", leaves=leaves)

    flat = step.jobs["root.5 flat"]
    assert step.node == Leaf("root.5", ("0", "6", "9"), flat.job)
    assert flat.start.parent == step.old.job
    assert step.decision.clone is None
    assert step.decision.reason == (
        "2 old and 1 new classes are too few to divide"
    )


SHARES_NO_MORE = "; it shares its branch's trunk no more"


def leaf_of(grower, leaves):
    """A leaf `root.5` of the old classes, made as an earlier step would."""
    specs = grower.specs
    parent = builders.trained(grower, OLD).job
    if leaves == "together":
        branch = specs.together(parent, (OLD, RECEIVED), CLASSES)
        asyncio.run(grower.train(branch, "root", "together"))
        spec = specs.cut_out(branch.job, 0, OLD)
    else:
        spec = specs.clone(parent, OLD)
    return asyncio.run(grower.train(spec, "root.5", "leaf"))


@pytest.mark.parametrize("leaves", LEARNING)
@pytest.mark.parametrize("increments", ["flat", "clone", "compete"])
@pytest.mark.parametrize("layers", [0, 2])
def test_a_leaf_that_grows_shares_its_branch_s_trunk_no_more(
    leaves, increments, layers
):
    fields = compete(increments=increments, leaves=leaves, leaf_layers=layers)
    grower = builders.untrained_grower(
        builders.recipe(**fields), {"1378": CONFUSION}
    )

    once = extended(leaf_of(grower, leaves), RECEIVED, grower)

    assert once.decision.reason.endswith(SHARES_NO_MORE) == bool(layers)
    assert once.decision.reason != SHARES_NO_MORE
    if isinstance(once.node, Leaf):
        again = extended(once.node, ("0", "6"), grower)
        assert SHARES_NO_MORE not in again.decision.reason
