import msgspec
import pytest

from hierkeras.growth.changes import (
    ChangedClass,
    expected_data,
    find_changes,
    learnt_from,
    new_leaves,
)
from hierkeras.tree.nodes import Tree
from tests import builders


@pytest.fixture
def before(trained):
    """The generation of the tree of three levels."""
    context, tree = trained
    learnt = learnt_from(tree, None, context.catalogue)
    return builders.generation(tree, learnt=learnt)


@pytest.fixture
def changed(trained):
    """The same work directory, with three training images of "5" removed."""
    return builders.less(trained[0], "train", "5", 3)


def names(nodes):
    return [node.name for node in nodes]


def test_nothing_changed_where_no_image_did(trained, before):
    changes = find_changes(before, trained[0])

    assert (changes.classes, changes.leaves, changes.branches) == ((), (), ())


def test_a_changed_class_touches_its_leaf_and_the_branches_above(
    trained, before, changed
):
    changes = find_changes(before, changed)

    counts = trained[0].catalogue.counts(["5"])["5"]
    images = counts["train"] + counts["validation"]
    assert changes.classes == (ChangedClass("5", images, images - 3),)
    assert changes.class_names == ("5",)
    assert names(changes.leaves) == ["root.1.1"]
    assert names(changes.branches) == ["root", "root.1"]


def test_test_images_are_not_learnt_from(trained, before):
    context = builders.less(trained[0], "test", "5", 99)

    assert find_changes(before, context).leaves == ()


def test_an_older_generation_does_not_tell_which_class_it_was(before, changed):
    step = msgspec.structs.replace(before.step, learnt={})
    older = msgspec.structs.replace(before, step=step)

    changes = find_changes(older, changed)

    assert names(changes.leaves) == ["root.1.1"]
    assert changes.class_names == ("3", "5", "8")
    assert {one.learnt for one in changes.classes} == {None}


def test_what_is_left_of_a_job_s_images_takes_their_place(trained, before):
    context, tree = trained
    leaf, other = tree.path("root.1.1")[-1], tree.path("root.2")[-1]
    step = msgspec.structs.replace(before.step, remaining={leaf.job: "left"})
    later = msgspec.structs.replace(before, step=step)

    own, others = (
        [expected_data(node, made, context) for made in (None, before, later)]
        for node in (leaf, other)
    )

    trained_on = context.catalogue.fingerprint(leaf.classes)
    assert own == [trained_on, trained_on, "left"]
    assert others == [context.catalogue.fingerprint(other.classes)] * 3


def test_leaves_that_live_on_keep_what_they_learnt(before, changed):
    learnt = learnt_from(before.tree, before, changed.catalogue)

    assert learnt == before.step.learnt


def test_leaves_that_were_trained_learnt_what_there_is(before, changed):
    grown = before.tree.replacing(
        {"root.1.1": builders.leaf("root.1.1", "358", "new")}
    )

    learnt = learnt_from(grown, before, changed.catalogue)

    assert names(new_leaves(grown, before.tree)) == ["root.1.1"]
    assert new_leaves(grown, None) == list(grown.leaves)
    now = learnt_from(Tree(grown.leaves[0]), None, changed.catalogue)
    assert learnt == {**before.step.learnt, **now}
    assert learnt != before.step.learnt
