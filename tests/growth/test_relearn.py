import asyncio
import dataclasses

import msgspec
import pytest

from hierkeras.growth import steps
from hierkeras.growth.changes import ChangedClass, find_changes, learnt_from
from hierkeras.growth.relearn import is_pending, relearn
from hierkeras.training import results
from hierkeras.training.executors import InlineExecutor
from hierkeras.tree.generation import Generation, Step
from hierkeras.tree.nodes import Tree


def generation(context, tree):
    step = Step(
        new_classes=tree.classes,
        decisions=(),
        jobs=(),
        scratch=None,
        unreadable_images=(),
        old_error_before=None,
        old_error_after=None,
        error_after=0.5,
        seconds=1.0,
        learnt=learnt_from(tree, None, context.catalogue),
    )
    return Generation(1, {}, tree, step)


@pytest.fixture
def before(trained):
    """The generation of the tree of three levels."""
    return generation(*trained)


@pytest.fixture
def changed(trained, open_context):
    """The same work directory, with three training images of "5" removed."""
    context = open_context(trained[0].config.workdir)
    indices = context.catalogue.indices("train", ["5"])[:3]
    context.leave_out(context.catalogue.keys[indices].tolist())
    return context


def test_nothing_changed_where_no_image_did(trained, before):
    changes = find_changes(before, trained[0])

    assert (changes.classes, changes.leaves, changes.branches) == ((), (), ())


def test_a_changed_class_touches_its_leaf_and_the_branches_above(
    trained, before, changed
):
    changes = find_changes(before, changed)

    images = len(trained[0].catalogue.indices("train", ["5"])) + len(
        trained[0].catalogue.indices("validation", ["5"])
    )
    assert changes.classes == (ChangedClass("5", images, images - 3),)
    assert [leaf.name for leaf in changes.leaves] == ["root.1.1"]
    assert [branch.name for branch in changes.branches] == ["root", "root.1"]


def test_test_images_are_not_learnt_from(before, trained, open_context):
    context = open_context(trained[0].config.workdir)
    indices = context.catalogue.indices("test", ["5"])
    context.leave_out(context.catalogue.keys[indices].tolist())

    assert find_changes(before, context).leaves == ()


def test_an_older_generation_does_not_tell_which_class_it_was(before, changed):
    step = msgspec.structs.replace(before.step, learnt={})
    older = msgspec.structs.replace(before, step=step)

    changes = find_changes(older, changed)

    assert [leaf.name for leaf in changes.leaves] == ["root.1.1"]
    assert changes.class_names == ("3", "5", "8")
    assert {one.learnt for one in changes.classes} == {None}


def test_leaves_that_live_on_keep_what_they_learnt(before, changed):
    learnt = learnt_from(before.tree, before, changed.catalogue)

    assert learnt == before.step.learnt


def relearnt(before, changed, make_grower, plan, refinement):
    from hierkeras.training.predictor import Predictor

    grower = make_grower(
        changed, Predictor(changed), plan, refine_branches=refinement
    )
    changes = find_changes(before, changed)
    return (*asyncio.run(relearn(before.tree, changes, grower)), grower)


def test_relearning_trains_what_is_stale_and_nothing_else(
    before, changed, make_grower, untrained
):
    tree, decisions, grower = relearnt(
        before, changed, make_grower, untrained, "head"
    )

    for old, new in zip(before.tree.nodes(), tree.nodes(), strict=True):
        assert (new.name, new.classes) == (old.name, old.classes)
        if new.name in ("root", "root.1", "root.1.1"):
            spec = results.read(changed.store, new.job).spec
            assert spec.initial.job == old.job
            assert spec.data == changed.catalogue.fingerprint(new.classes)
        else:
            assert new.job == old.job
    (decision,) = decisions
    assert (decision.node, decision.growth) == ("root.1.1", "relearned")
    assert decision.flat == tree.path("root.1.1")[-1]
    assert decision.flat_error == grower.assessor.error(
        Tree(decision.flat), decision.flat.classes
    )
    after = find_changes(generation(changed, tree), changed)
    assert not is_pending(after, grower.options)


def test_branches_that_were_not_refined_can_be_later(
    before, changed, make_grower, untrained
):
    tree, _, grower = relearnt(before, changed, make_grower, untrained, "none")

    after = find_changes(generation(changed, tree), changed)

    assert not is_pending(after, grower.options)
    assert after.leaves == ()
    assert [branch.name for branch in after.branches] == ["root", "root.1"]
    later = dataclasses.replace(grower.options, refine_branches="head")
    assert is_pending(after, later)


def test_a_step_relearns_and_the_next_finds_nothing(
    tmp_path, open_context, untrained, make_grower
):
    from hierkeras.training.predictor import Predictor

    def run(batches, removed=()):
        context = open_context(tmp_path)
        context.leave_out(list(removed))
        predictor = Predictor(context)
        options = make_grower(context, predictor, untrained).options
        config = steps.StepConfig(untrained, options, {}, relearn=True)
        with context.store.lock():
            return context, list(
                steps.grow(
                    context, batches, config, InlineExecutor(), predictor
                )
            )

    context, (first,) = run([tuple("013")])
    gone = context.catalogue.keys[context.catalogue.indices("train", ["1"])[:2]]

    _, (second,) = run([], gone.tolist())

    assert second.parent == first.number
    assert second.step.new_classes == ()
    assert [d.growth for d in second.step.decisions] == ["relearned"]
    assert [use.label for use in second.step.jobs] == ["root relearnt"]
    assert second.step.old_error_after == second.step.error_after
    learnt = {"0": 0, "1": -2, "3": 0}
    for name, difference in learnt.items():
        images = second.step.learnt[name].images
        assert images - first.step.learnt[name].images == difference
    assert run([], gone.tolist())[1] == []
