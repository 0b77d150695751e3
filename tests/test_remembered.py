"""A work directory remembers how its tree is grown."""

import json
import shutil

import msgspec
import pytest

from hierkeras import increment
from hierkeras.recipe import presets
from hierkeras.tree.store import Store
from tests.conftest import write_images

# What decides no result is not remembered: it is given each time.
NO_EXPORT = "--noexport"
GIVEN = {
    "image_size": 8,
    "width_multiplier": 0.25,
    "max_epochs": 1,
    "batch_size": 4,
    "seed": 3,
    "momentum": 0.8,
    "beam_width": 3,
    "top": 2,
}


class Plants:
    """A folder of images of plants, and a work directory."""

    def __init__(self, root, run_main):
        self.root = root
        self.folder = root / "images"
        self.store = Store(root / "workdir")
        self._run = run_main

    def increment(self, *arguments):
        workdir = f"--workdir={self.store.root}"
        outcome = self._run(increment, workdir, NO_EXPORT, *arguments)
        assert outcome.status == 0, outcome.stderr
        return outcome.stdout

    def settings(self, number):
        file = self.store.generations / f"{number:06d}.json"
        settings = json.loads(file.read_text())["settings"]
        # Each test has a work directory of its own.
        assert settings["data"].pop("from_workdir").endswith("images")
        return settings

    def specs(self, number):
        """What was asked of the jobs of a step."""
        return [
            json.loads((self.store.models / use.job / "job.json").read_text())[
                "spec"
            ]
            for use in self.store.read(number).step.jobs
        ]


@pytest.fixture(scope="module")
def begun(tmp_path_factory, run_main):
    """Two plants, by a recipe of which much was given by hand."""
    begun = Plants(tmp_path_factory.mktemp("plants"), run_main)
    for seed, name in enumerate(("aster", "briar")):
        write_images(begun.folder / name, range(8), seed)
    begun.increment(
        f"--dataset=folder:{begun.folder}",
        "--recipe=stream",
        *(f"--set={name}={value}" for name, value in GIVEN.items()),
    )
    return begun


@pytest.fixture
def plants(begun, tmp_path, run_main):
    """The same with a third plant that the tree does not know."""
    shutil.copytree(begun.root / "workdir", tmp_path / "workdir")
    plants = Plants(tmp_path, run_main)
    plants.folder = begun.folder
    write_images(plants.folder / "clove", range(8), seed=2)
    return plants


def changed(settings, **values):
    """Settings with other values of some fields, whatever section has them."""
    settings = json.loads(json.dumps(settings))
    for section in settings["recipe"].values():
        section.update({k: v for k, v in values.items() if k in section})
    return settings


def test_the_next_step_needs_no_flags(plants):
    plants.increment()

    first, second = plants.settings(1), plants.settings(2)
    assert second == first
    assert (first["preset"], first["kind"]) == ("stream", "folder")
    assert changed(first, **GIVEN) == first
    ((one,), (other,)) = plants.specs(1), plants.specs(2)
    assert one["network"] == other["network"] == first["recipe"]["network"]
    assert one["training"] == other["training"]
    assert one["training"]["seed"] == 3
    assert one["training"]["momentum"] == 0.8
    assert other["start"]["kind"] == "flat"


@pytest.mark.slow
def test_what_is_given_later_is_used_from_then_on(plants):
    first = plants.settings(1)

    plants.increment("--set=initial_learning_rate=0.02", "--set=momentum=0.5")

    expected = {"initial_learning_rate": 0.02, "momentum": 0.5}
    assert plants.settings(2) == changed(first, **expected)
    (spec,) = plants.specs(2)
    assert spec["training"]["initial_learning_rate"] == 0.02
    assert spec["training"]["momentum"] == 0.5
    shown = json.loads(plants.increment("--show", "--format=json"))
    assert shown["recipe"] == plants.settings(2)["recipe"]
    assert set(shown["sources"].values()) == {"remembered"}


@pytest.mark.slow
def test_another_preset_replaces_all_but_the_network(plants):
    plants.increment("--recipe=digits", "--max_epochs=1", "--growth=flat")

    settings = plants.settings(2)
    assert settings["preset"] == "digits"
    found, preset = settings["recipe"], presets.preset("digits")
    assert found["network"] == plants.settings(1)["recipe"]["network"]
    expected = msgspec.to_builtins(preset)
    expected["training"].update(max_epochs=1, augment="shift_mirror")
    expected["growth"].update(increments="flat")
    for section in ("training", "growth", "routing", "serving"):
        assert found[section] == expected[section]
    (spec,) = plants.specs(2)
    assert spec["network"] == found["network"]
    assert spec["training"]["momentum"] == preset.training.momentum


def test_a_flag_is_kept_by_no_other_preset(plants):
    asked = ("--recipe=exemplars", "--show", "--format=json")
    shown = json.loads(plants.increment(*asked))
    assert shown["recipe"]["growth"]["memory_per_class"] == 20
    assert shown["recipe"]["training"]["momentum"] == 0.9
    assert shown["recipe"]["network"]["width_multiplier"] == 0.25
    assert shown["sources"]["momentum"] == "preset exemplars"
    assert shown["sources"]["width_multiplier"] == "remembered"
    assert shown["pending"] == [["clove"]]
    assert shown["classes"] == ["aster", "briar"]
