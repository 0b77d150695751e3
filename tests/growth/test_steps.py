import shutil
from pathlib import Path

import numpy as np
import pytest
from hierkeras.growth.options import GrowthOptions
from PIL import Image

from hierkeras._errors import UserError
from hierkeras.data.source import DataConfig
from hierkeras.growth import settings, steps
from hierkeras.training.context import Context, ContextConfig
from hierkeras.training.executors import InlineExecutor
from hierkeras.tree import generation
from hierkeras.tree.nodes import Leaf
from hierkeras.tree.routing import Routing

BATCHES = [tuple("0137"), tuple("2468")]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("steps")


@pytest.fixture(scope="module")
def grow(workdir, open_context, plan):
    """A function that runs both steps, as a process of its own would."""

    def grow():
        from hierkeras.training.predictor import Predictor

        context = open_context(workdir)
        growth = GrowthOptions(
            growth="clone",
            num_superclasses=2,
            routing=Routing("fused"),
            scratch_baseline=True,
        )
        config = steps.StepConfig(
            plan,
            growth,
            settings.to_settings(
                context.source, context.config.data, plan.model, growth.routing
            ),
        )
        with context.store.lock():
            grown = list(
                steps.grow(
                    context,
                    BATCHES,
                    config,
                    InlineExecutor(),
                    Predictor(context),
                )
            )
        return context.store, grown

    return grow


@pytest.fixture(scope="module")
def grown(grow):
    return grow()


def test_each_step_is_published(grown):
    store, (first, second) = grown

    assert [generation.to_json(g) for g in store.history(store.latest())] == [
        generation.to_json(g) for g in (first, second)
    ]
    assert (first.number, second.number) == (1, 2)
    assert first.tree.classes == BATCHES[0]
    assert second.tree.classes == (*BATCHES[0], *BATCHES[1])
    assert settings.routing(second) == Routing("fused")


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


def test_finished_jobs_are_not_run_again(grown, grow):
    store, before = grown
    shutil.rmtree(store.generations)
    (store.root / "LATEST").unlink()

    _, after = grow()

    for old, new in zip(before, after, strict=True):
        assert new.tree == old.tree
        assert new.step.decisions == old.step.decisions
        assert [use.job for use in new.step.jobs] == [
            use.job for use in old.step.jobs
        ]
        assert all(use.reused for use in new.step.jobs)


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
    return Context(ContextConfig(str(tmp_path / "workdir"), data, 8))


def photos_of(context, name, split):
    folder = Path(context.config.data.dataset.removeprefix("folder:"))
    indices = context.catalogue.indices(split, [name])
    return [folder / key for key in context.catalogue.keys[indices]]


def total(context, name):
    return sum(context.catalogue.counts([name])[name].values())


def test_an_unreadable_image_is_left_out(photos):
    steps.leave_out_unreadable(photos, ["ant", "bee"], [], max_bad_images=1)

    assert photos.config.unreadable == ("bee/7.png",)
    assert (total(photos, "ant"), total(photos, "bee")) == (30, 29)


def test_more_unreadable_images_than_allowed_are_an_error(photos):
    with pytest.raises(UserError, match="--max_bad_images=1") as caught:
        steps.leave_out_unreadable(photos, ["ant", "bee"], [], max_bad_images=0)

    assert "1 images cannot be read, bee/7.png first" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_left_with_too_few_images_is_an_error(photos):
    for path in photos_of(photos, "bee", "validation"):
        path.write_bytes(b"torn")

    with pytest.raises(UserError, match=r"Class 'bee' .* 0 validation"):
        steps.leave_out_unreadable(photos, ["bee"], [], max_bad_images=30)


def test_of_known_classes_validation_images_are_read_only(photos):
    torn = photos_of(photos, "ant", "validation")[0]
    torn.write_bytes(b"torn")

    steps.leave_out_unreadable(photos, [], ["ant", "bee"], max_bad_images=1)

    assert photos.config.unreadable == (f"ant/{torn.name}",)
