import asyncio

import pytest

from hierkeras.growth.assess import Assessor
from hierkeras.growth.capacity import capacities
from hierkeras.growth.extend_leaf import extend_leaf
from hierkeras.growth.incremental import incremental
from hierkeras.training import results
from hierkeras.tree.nodes import Leaf, Tree
from hierkeras.tree.routing import Routing

OLD, RECEIVED = ("1", "3", "7", "8"), ("2", "9")
GROUPS = (("1", "7", "9"), ("3", "8", "2"))


@pytest.fixture(scope="module")
def context(open_context, tmp_path_factory):
    return open_context(tmp_path_factory.mktemp("capacity"))


@pytest.fixture(scope="module")
def leaf(context, untrained, run_job):
    spec = untrained.from_scratch(OLD, context.catalogue)
    return Leaf("root", OLD, run_job(context, spec))


@pytest.fixture
def choose(context, untrained, run_job, answers):
    """A function from a flat increment's mistakes to what leaves get."""
    classes = (*OLD, *RECEIVED)
    spec = untrained.from_scratch(classes, context.catalogue)
    flat = Leaf("root", classes, run_job(context, spec))

    def choose(mistakes, groups=GROUPS, factor=1.5, rule="need"):
        known = answers(context, {"".join(classes): mistakes})
        assessor = Assessor(context.catalogue, known, Routing())
        return capacities(flat, groups, factor, rule, assessor)

    return choose


def test_the_confused_get_more_and_the_easy_less(choose):
    # A third of the first leaf's images, two thirds of the second's.
    mistakes = {"1": "7", "3": "8", "8": "3"}

    assert choose(mistakes) == (1 / 1.5, 1.5)
    assert choose(mistakes, GROUPS[::-1]) == (1.5, 1 / 1.5)
    assert choose(mistakes, factor=1.0) == (1.0, 1.0)
    assert choose(mistakes, rule="all") == (1.5, 1.5)


def test_leaves_near_the_mean_stay_as_wide(choose):
    # There are as many validation images of "1" as of "3".
    three = (("1", "3"), ("2", "8"), ("7", "9"))

    half, all_wrong = {"1": "3"}, {"2": "8", "8": "2"}
    assert choose(half | all_wrong, three) == (1.0, 1.5, 1 / 1.5)
    assert choose({"1": "3", "2": "8"}, three[:2]) == (1.0, 1.0)
    assert choose({}) == (1.0, 1.0)


def test_confusion_with_another_leafs_classes_does_not_count(choose):
    # Among those of its own leaf none is likelier than "3", the first.
    assert choose({"3": "7"}) == (1.0, 1.0)


CONFUSION = {"1": "7", "7": "1", "3": "8", "8": "3", "2": "8", "9": "7"}


@pytest.fixture
def grow(context, leaf, make_grower, answers, untrained):
    """A function from mistakes and options to what extending gives."""

    def grow(mistakes, **options):
        known = answers(context, {"1378": CONFUSION, **mistakes})
        grower = make_grower(
            *(context, known, untrained),
            **{"growth": "clone", "num_superclasses": 2, **options},
        )
        return *asyncio.run(extend_leaf(leaf, RECEIVED, grower)), grower

    return grow


def specs(context, nodes):
    return [results.read(context.store, node.job).spec for node in nodes]


def test_leaves_of_a_clone_increment_differ_in_width(grow, context, leaf):
    mistakes = {"137829": {"3": "8", "8": "3", "1": "7"}}

    node, decision, _ = grow(mistakes, clone_from="flat", leaf_capacity=2.0)

    easy, hard = specs(context, node.children)
    assert [child.classes for child in node.children] == list(GROUPS)
    assert (easy.model.width_multiplier, hard.model.width_multiplier) == (
        *(0.25, 1.0),
    )
    assert easy.initial.widening_noise == 0 < hard.initial.widening_noise
    (flat,) = specs(context, [node])
    assert flat.model.width_multiplier == 0.5
    assert decision.reason.endswith("; leaves of width 0.25, 1")
    plain, decision, _ = grow(mistakes, clone_from="flat")
    assert {
        s.model.width_multiplier for s in specs(context, plain.children)
    } == {0.5}
    assert "width" not in decision.reason


def test_later_steps_keep_a_leafs_width(
    grow, context, make_grower, answers, untrained
):
    mistakes = {"137829": {"3": "8", "8": "3", "1": "7"}}
    node, _, _ = grow(mistakes, clone_from="flat", leaf_capacity=2.0)
    tree = Tree(node)
    # What the branch takes for "3" goes to the wider leaf.
    known = answers(context, {"137829": {"0": "3", "5": "3"}})
    later = make_grower(
        context, known, untrained, growth="flat", refine_branches="full"
    )

    grown, _ = asyncio.run(incremental(tree, ("0", "5"), later))

    assert grown.path("root.2")[-1].classes == (*GROUPS[1], "0", "5")
    widths = {
        n.name: s.model.width_multiplier
        for n, s in zip(
            grown.nodes(), specs(context, grown.nodes()), strict=True
        )
    }
    assert widths == {"root": 0.5, "root.1": 0.25, "root.2": 1.0}
