"""Exemplars: chosen, kept, and what changes are measured against then."""

import asyncio
import dataclasses

import msgspec
import numpy as np
import pytest

from hierkeras._errors import UserError
from hierkeras.growth.changes import find_changes, learnt_from
from hierkeras.growth.grower import grower
from hierkeras.growth.herding import herd
from hierkeras.growth.memory import (
    check_keys,
    choose_exemplars,
    remaining_data,
)
from hierkeras.growth.relearn import relearn
from hierkeras.training.executors import InlineExecutor
from hierkeras.tree import generation
from tests import builders


def keys(context, name):
    rows = context.catalogue.indices("train", [name])
    return context.catalogue.keys[rows].tolist()


def published(context, tree, exemplars, before=None):
    """The context and the generation after a step with exemplars."""
    left = context.keeping(exemplars)
    made = builders.generation(
        tree,
        before.number + 1 if before else 1,
        learnt=learnt_from(tree, before, left.catalogue),
        exemplars=exemplars,
        remaining=remaining_data(tree, before, context.catalogue, left),
    )
    return left, made


def test_exemplars_are_herded_on_features_of_the_classes_leaf(
    trained, predictor
):
    context, tree = trained
    leaf = tree.path("root.2")[-1]

    chosen = choose_exemplars([leaf], 5, context, predictor)

    assert list(chosen) == list(leaf.classes)
    for name in leaf.classes:
        rows = context.catalogue.indices("train", [name])
        features = predictor.features(leaf.job, rows)
        best = rows[herd(features, 5)]
        assert chosen[name] == tuple(context.catalogue.keys[best])
        assert len(set(chosen[name])) == 5


def test_features_are_what_the_softmax_layer_is_given(trained, predictor):
    context, tree = trained
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


def test_a_class_with_exemplars_keeps_the_first_that_are_there(
    trained, predictor
):
    context, tree = trained
    leaf = tree.path("root.2")[-1]
    first, second, third, *_ = keys(context, "0")
    context = context.keeping(
        {"0": (third, "gone", first, second), "5": ("x",)}
    )

    chosen = choose_exemplars([leaf], 2, context, predictor)

    assert chosen["0"] == (third, first)
    assert len(chosen["6"]) == 2
    assert chosen["5"] == ("x",)  # of another leaf
    more = choose_exemplars([leaf], 9, context, predictor)
    assert more["0"] == (third, first, second)


def test_without_memory_nothing_is_chosen_or_forgotten(trained, predictor):
    context, tree = trained

    assert choose_exemplars(tree.leaves, 0, context, predictor) == {}
    assert remaining_data(tree, None, context.catalogue, context) == {}
    context = context.keeping({"0": ("x",)})
    assert choose_exemplars(tree.leaves, 0, context, predictor) == {"0": ("x",)}


def test_what_is_forgotten_is_no_change_and_what_is_kept_is(trained, predictor):
    context, tree = trained
    exemplars = choose_exemplars(tree.leaves, 4, context, predictor)

    left, made = published(context, tree, exemplars)

    changes = find_changes(made, left)
    assert (changes.leaves, changes.branches) == ((), ())
    assert set(made.step.remaining) == {n.job for n in tree.nodes()}
    learnt = made.step.learnt["5"].images
    assert learnt == 4 + len(context.catalogue.indices("validation", ["5"]))
    changes = find_changes(made, builders.without(left, [exemplars["5"][1]]))
    assert [dataclasses.astuple(c) for c in changes.classes] == [
        ("5", learnt, learnt - 1)
    ]
    assert [leaf.name for leaf in changes.leaves] == ["root.1.1"]
    assert [branch.name for branch in changes.branches] == ["root", "root.1"]


def test_relearning_trains_on_exemplars_and_then_finds_nothing(
    trained, predictor
):
    context, tree = trained
    left, first = published(
        context, tree, choose_exemplars(tree.leaves, 4, context, predictor)
    )
    kept = first.step.exemplars
    left = builders.without(left, [kept["5"][1]])
    recipe = builders.recipe(max_epochs=0, refine_branches="none")
    growing = grower(left, recipe, InlineExecutor(), predictor)
    changes = find_changes(first, left)

    relearnt, _ = asyncio.run(relearn(tree, changes, growing))
    exemplars = choose_exemplars(changes.leaves, 3, left, predictor)
    left, second = published(left, relearnt, exemplars, first)

    assert second.step.exemplars["5"] == (kept["5"][0], *kept["5"][2:])
    assert second.step.exemplars["3"] == kept["3"][:3]
    assert second.step.exemplars["0"] == kept["0"]
    assert find_changes(second, left).leaves == ()
    # What was not refined is as stale as it was; `root.1.2` as fresh.
    stale = find_changes(second, left).branches
    assert [branch.name for branch in stale] == ["root", "root.1"]


def test_a_key_that_nothing_can_record_is_refused_early(trained):
    context, _ = trained
    check_keys(context.catalogue, ["0", "1"])
    awkward = context.catalogue.keys.astype("U99")
    awkward[context.catalogue.indices("train", ["1"])[0]] = "a\udcff.png"
    catalogue = dataclasses.replace(context.catalogue, keys=awkward)

    check_keys(catalogue, ["0"])
    with pytest.raises(UserError, match=r"'a\\udcff.png' is no UTF-8"):
        check_keys(catalogue, ["0", "1"])


def test_exemplars_of_no_class_are_no_generation(trained):
    context, tree = trained
    _, whole = published(context, tree, {"0": ("a",)})
    step = msgspec.structs.replace(whole.step, exemplars={"cow": ("a",)})

    generation.check(whole)
    with pytest.raises(ValueError, match="exemplars of 'cow'"):
        generation.check(msgspec.structs.replace(whole, step=step))
