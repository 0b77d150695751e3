import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hierkeras._errors import UserError
from hierkeras.data.source import DataConfig
from hierkeras.growth import steps
from hierkeras.recipe import remembered
from hierkeras.training import results
from hierkeras.tree import generation
from hierkeras.tree.nodes import Leaf
from tests import builders

BATCHES = [tuple("0137"), tuple("2468")]
RECIPE = builders.recipe(
    increments="clone",
    num_superclasses=2,
    rule="fused",
    scratch_baseline=True,
)


def grow(context, recipe, batches, relearns=False):
    """Makes steps as a process of its own would."""
    workshop = builders.workshop(context, recipe)
    with context.store.lock():
        return list(steps.grow(workshop, batches, relearns))


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """The context of both steps, and their generations."""
    context = builders.open_context(tmp_path_factory.mktemp("steps"))
    return context, grow(context, RECIPE, BATCHES)


def test_each_step_is_published(grown):
    context, (first, second) = grown

    published = context.store.history(context.store.latest())
    assert [generation.to_json(g) for g in published] == [
        generation.to_json(g) for g in (first, second)
    ]
    assert (first.number, second.number) == (1, 2)
    assert (first.parent, second.parent) == (None, 1)
    assert first.tree.classes == BATCHES[0]
    assert second.tree.classes == (*BATCHES[0], *BATCHES[1])
    assert remembered.read(second) == builders.remembered(RECIPE)


def test_a_step_tells_what_it_did(grown):
    _, (first, second) = grown

    assert [use.label for use in first.step.jobs] == ["root first"]
    assert [d.growth for d in first.step.decisions] == ["first"]
    assert first.tree.root == Leaf("root", BATCHES[0], first.tree.root.job)
    assert first.step.scratch is None
    assert first.step.old_error_before is None
    assert sorted(use.label for use in second.step.jobs) == [
        "root flat",
        "root.1 leaf",
        "root.2 leaf",
    ]
    assert second.step.scratch.label == "scratch baseline"
    # The old classes' images were judged by the old tree, then by the new.
    assert second.step.old_error_before == first.step.error_after
    assert second.step.error_after == second.step.decisions[0].clone_error
    for step in (first.step, second.step):
        assert all(use.images_swept > 0 for use in step.jobs)
        assert not any(use.reused for use in step.jobs)


def test_a_step_leaves_the_caller_s_context_as_it_is(grown):
    context, _ = grown

    untouched = builders.open_context(context.config.workdir)
    assert context.config == untouched.config
    for split in ("train", "validation"):
        assert context.catalogue.counts("01") == untouched.catalogue.counts(
            "01"
        ), split


def test_finished_jobs_are_not_run_again(grown):
    context, before = grown
    store = context.store
    shutil.rmtree(store.generations)
    (store.root / "LATEST").unlink()

    after = grow(builders.open_context(store.root), RECIPE, BATCHES)

    for old, new in zip(before, after, strict=True):
        assert new.tree == old.tree
        assert new.step.decisions == old.step.decisions
        assert {use.job for use in new.step.jobs} == {
            use.job for use in old.step.jobs
        }
        assert all(use.reused for use in new.step.jobs)


def test_exemplars_stand_for_images_from_the_next_step_on(tmp_path):
    context = builders.open_context(tmp_path)
    recipe = builders.recipe(
        max_epochs=0, increments="flat", memory_per_class=3
    )

    first, second = grow(context, recipe, [("0", "1"), ("2",)])

    assert {n: len(keys) for n, keys in first.step.exemplars.items()} == {
        "0": 3,
        "1": 3,
    }
    assert second.step.exemplars.keys() == {"0", "1", "2"}
    assert second.step.exemplars["0"] == first.step.exemplars["0"]
    before, after = (
        results.read(context.store, made.tree.root.job).spec
        for made in (first, second)
    )
    assert not before.training.balanced_softmax
    assert after.training.balanced_softmax
    assert after.start.distillation == recipe.growth.flat_distillation > 0
    exemplars = first.step.exemplars
    assert after.data == context.keeping(exemplars).catalogue.fingerprint("012")
    assert not context.config.exemplars


def test_a_step_relearns_and_the_next_finds_nothing(tmp_path):
    recipe = builders.recipe(max_epochs=0)
    context = builders.open_context(tmp_path)
    (first,) = grow(context, recipe, [tuple("013")])
    changed = builders.less(context, "train", "1", 2)

    (second,) = grow(changed, recipe, [], relearns=True)

    assert second.parent == first.number
    assert second.step.new_classes == ()
    assert [d.growth for d in second.step.decisions] == ["relearned"]
    assert [use.label for use in second.step.jobs] == ["root relearnt"]
    assert second.step.old_error_after == second.step.error_after
    learnt = {"0": 0, "1": -2, "3": 0}
    for name, difference in learnt.items():
        images = second.step.learnt[name].images
        assert images - first.step.learnt[name].images == difference
    assert grow(changed, recipe, [], relearns=True) == []


@pytest.fixture
def photos(tmp_path):
    """A context of two classes of 30 photos; one of them is torn."""
    random = np.random.default_rng(0)
    for name in ("ant", "bee"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(30):
            pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    torn = tmp_path / "photos" / "bee" / "7.png"
    torn.write_bytes(torn.read_bytes()[:60])
    data = DataConfig(f"folder:{tmp_path / 'photos'}")
    return builders.open_context(tmp_path / "workdir", data=data)


def photos_of(context, name, split):
    folder = Path(context.config.data.dataset.removeprefix("folder:"))
    indices = context.catalogue.indices(split, [name])
    return [folder / key for key in context.catalogue.keys[indices]]


def total(context, name):
    return sum(context.catalogue.counts([name])[name].values())


def test_an_unreadable_image_is_left_out(photos):
    left = steps.without_unreadable(photos, ["ant", "bee"], [], 1)

    assert list(left.config.unreadable) == ["bee/7.png"]
    assert (total(left, "ant"), total(left, "bee")) == (30, 29)
    assert (photos.config.unreadable, total(photos, "bee")) == ({}, 30)


def test_more_unreadable_images_than_allowed_are_an_error(photos):
    with pytest.raises(UserError, match="--max_bad_images=1") as caught:
        steps.without_unreadable(photos, ["ant", "bee"], [], 0)

    assert "1 images cannot be read, bee/7.png first" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_left_with_too_few_images_is_an_error(photos):
    *files, _, _ = [
        path
        for split in ("train", "validation", "test")
        for path in photos_of(photos, "bee", split)
    ]
    for path in files:
        path.write_bytes(b"torn")

    with pytest.raises(UserError, match=r"Class 'bee' has 2 images .* read"):
        steps.without_unreadable(photos, ["bee"], [], 30)


def test_unreadable_images_leave_no_split_empty(photos):
    for path in photos_of(photos, "bee", "validation"):
        path.write_bytes(b"torn")

    left = steps.without_unreadable(photos, ["bee"], [], 30)

    assert min(left.catalogue.counts(["bee"])["bee"].values()) > 0


def test_of_known_classes_validation_images_are_read_only(photos):
    torn = photos_of(photos, "ant", "validation")[0]
    torn.write_bytes(b"torn")

    left = steps.without_unreadable(photos, [], ["ant", "bee"], 1)

    assert list(left.config.unreadable) == [f"ant/{torn.name}"]


@pytest.mark.slow
def test_what_a_step_left_out_stays_out(photos):
    recipe = builders.recipe(max_epochs=0)

    with photos.store.lock():
        first, second = steps.grow(
            builders.workshop(photos, recipe, max_bad_images=1),
            [("ant",), ("bee",)],
        )

    assert first.step.unreadable_images == {}
    assert list(second.step.unreadable_images) == ["bee/7.png"]
    left = builders.without(photos, ["bee/7.png"]).catalogue
    images, _ = left.class_fingerprints(["bee"])["bee"]
    assert second.step.learnt["bee"].images == images
    # It is no change of "bee", and needs no allowance again.
    assert grow(photos, recipe, [], relearns=True) == []
