"""Exemplars: chosen, kept, and what changes are measured against then."""

import asyncio
import dataclasses

import msgspec
import numpy as np
import pytest

from hierkeras._errors import UserError
from hierkeras.growth.changes import find_changes, learnt_from
from hierkeras.growth.herding import herd
from hierkeras.growth.memory import (
    check_keys,
    choose_exemplars,
    remaining_data,
)
from hierkeras.growth.relearn import relearn
from hierkeras.tree import generation
from hierkeras.tree.generation import Generation, Step


@pytest.fixture
def own(trained, open_context):
    """A context of a test's own, with a tree of three levels."""
    context, tree = trained
    return open_context(context.config.workdir), tree


@pytest.fixture
def predictor(own):
    from hierkeras.training.predictor import Predictor

    return Predictor(own[0])


def keys(context, name):
    rows = context.catalogue.indices("train", [name])
    return context.catalogue.keys[rows].tolist()


def published(context, tree, exemplars, before=None):
    """The generation after a step that trained all of a tree's models."""
    trained_on = context.catalogue
    context.keep_only(exemplars)
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
        learnt=learnt_from(tree, before, context.catalogue),
        exemplars=exemplars,
        remaining=remaining_data(tree, before, trained_on, context),
    )
    return Generation(before.number + 1 if before else 1, {}, tree, step)


def test_exemplars_are_herded_on_features_of_the_classes_leaf(own, predictor):
    context, tree = own
    leaf = tree.path("root.2")[-1]

    chosen = choose_exemplars([leaf], 5, context, predictor)

    assert list(chosen) == list(leaf.classes)
    for name in leaf.classes:
        rows = context.catalogue.indices("train", [name])
        features = predictor.features(leaf.job, rows)
        best = rows[herd(features, 5)]
        assert chosen[name] == tuple(context.catalogue.keys[best])
        assert len(set(chosen[name])) == 5


def test_features_are_what_the_softmax_layer_is_given(own, predictor):
    context, tree = own
    rows = context.catalogue.indices("validation", ["0", "6"])

    features = predictor.features(tree.root.job, rows)

    head = predictor.model(tree.root.job).get_layer("logits")
    logits = features @ head.kernel + head.bias
    odds = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    np.testing.assert_allclose(
        odds / odds.sum(axis=1, keepdims=True),
        predictor.probabilities(tree.root.job, rows),
        atol=1e-5,
    )


def test_a_class_with_exemplars_keeps_the_first_that_are_there(own, predictor):
    context, tree = own
    leaf = tree.path("root.2")[-1]
    first, second, third, *_ = keys(context, "0")
    context.keep_only({"0": (third, "gone", first, second), "5": ("x",)})

    chosen = choose_exemplars([leaf], 2, context, predictor)

    assert chosen["0"] == (third, first)
    assert len(chosen["6"]) == 2
    assert chosen["5"] == ("x",)  # of another leaf
    more = choose_exemplars([leaf], 9, context, predictor)
    assert more["0"] == (third, first, second)


def test_without_memory_nothing_is_chosen_or_forgotten(own, predictor):
    context, tree = own

    assert choose_exemplars(tree.leaves, 0, context, predictor) == {}
    assert remaining_data(tree, None, context.catalogue, context) == {}
    context.keep_only({"0": ("x",)})
    assert choose_exemplars(tree.leaves, 0, context, predictor) == {"0": ("x",)}


def test_only_training_images_are_forgotten(own):
    context, _ = own
    before = context.catalogue.counts(["0", "6"])
    kept = tuple(keys(context, "0")[:3])

    context.keep_only({"0": kept, "no such class": ()})

    after = context.catalogue.counts(["0", "6"])
    assert keys(context, "0") == list(kept)
    assert after == before | {"0": before["0"] | {"train": 3}}
    context.leave_out(kept[:1])
    assert keys(context, "0") == list(kept[1:])
    context.keep_only({})
    assert context.catalogue.counts(["0"])["0"]["train"] == (
        before["0"]["train"] - 1
    )


def test_what_is_forgotten_is_no_change_and_what_is_kept_is(own, predictor):
    context, tree = own
    exemplars = choose_exemplars(tree.leaves, 4, context, predictor)

    generation = published(context, tree, exemplars)

    changes = find_changes(generation, context)
    assert (changes.leaves, changes.branches) == ((), ())
    assert set(generation.step.remaining) == {n.job for n in tree.nodes()}
    learnt = generation.step.learnt["5"].images
    assert learnt == 4 + len(context.catalogue.indices("validation", ["5"]))
    context.leave_out([exemplars["5"][1]])
    changes = find_changes(generation, context)
    assert [dataclasses.astuple(c) for c in changes.classes] == [
        ("5", learnt, learnt - 1)
    ]
    assert [leaf.name for leaf in changes.leaves] == ["root.1.1"]
    assert [branch.name for branch in changes.branches] == ["root", "root.1"]


def test_relearning_trains_on_exemplars_and_then_finds_nothing(
    own, predictor, make_grower, untrained
):
    context, tree = own
    first = published(
        context, tree, choose_exemplars(tree.leaves, 4, context, predictor)
    )
    context.leave_out([first.step.exemplars["5"][1]])
    grower = make_grower(context, predictor, untrained, refine_branches="none")
    changes = find_changes(first, context)

    relearnt, _ = asyncio.run(relearn(tree, changes, grower))
    exemplars = choose_exemplars(changes.leaves, 3, context, predictor)
    second = published(context, relearnt, exemplars, first)

    kept = first.step.exemplars
    assert second.step.exemplars["5"] == (kept["5"][0], *kept["5"][2:])
    assert second.step.exemplars["3"] == kept["3"][:3]
    assert second.step.exemplars["0"] == kept["0"]
    assert find_changes(second, context).leaves == ()
    # What was not refined is as stale as it was; `root.1.2` as fresh.
    stale = find_changes(second, context).branches
    assert [branch.name for branch in stale] == ["root", "root.1"]


def test_a_key_that_nothing_can_record_is_refused_early(own):
    context, _ = own
    check_keys(context.catalogue, ["0", "1"])
    awkward = context.catalogue.keys.astype("U99")
    awkward[context.catalogue.indices("train", ["1"])[0]] = "a\udcff.png"
    catalogue = dataclasses.replace(context.catalogue, keys=awkward)

    check_keys(catalogue, ["0"])
    with pytest.raises(UserError, match=r"'a\\udcff.png' is no UTF-8"):
        check_keys(catalogue, ["0", "1"])


def test_exemplars_of_no_class_are_no_generation(own):
    context, tree = own
    whole = published(context, tree, {"0": ("a",)})
    step = msgspec.structs.replace(whole.step, exemplars={"cow": ("a",)})

    generation.check(whole)
    with pytest.raises(ValueError, match="exemplars of 'cow'"):
        generation.check(msgspec.structs.replace(whole, step=step))
