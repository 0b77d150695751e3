"""Growing from exemplars, where not every image can be kept."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from hierkeras import evaluate, increment
from hierkeras.data import registry
from hierkeras.data.source import DataConfig
from hierkeras.training import results
from hierkeras.tree.store import Store

IMAGES = 20
BATCH_SIZE = 2
NOTHING = "nothing new: the tree knows every class asked for"


class Digits:
    """A folder of images of digits, and a work directory."""

    def __init__(self, root, run_main):
        self.root = root
        self.folder = root / "images"
        self.workdir = root / "workdir"
        self.store = Store(self.workdir)
        self._run = run_main

    def add(self, name):
        folder = self.folder / name
        folder.mkdir(parents=True)
        digits = load_digits()
        images = digits.images[digits.target == int(name)][:IMAGES]
        for number, image in enumerate(images):
            pixels = (image * 15).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")

    def keys(self, split, *names):
        data = DataConfig(f"folder:{self.folder}")
        catalogue = registry.open_source(data).catalogue
        return catalogue.keys[catalogue.indices(split, names)].tolist()

    def increment(self, *arguments):
        return self._run(
            increment,
            f"--dataset=folder:{self.folder}",
            "--image_size=8",
            "--width_multiplier=0.5",
            "--max_epochs=1",
            f"--batch_size={BATCH_SIZE}",
            "--growth=flat",
            "--noexport",
            "--format=json",
            f"--workdir={self.workdir}",
            *arguments,
        )

    def evaluate(self):
        return self._run(
            evaluate,
            f"--workdir={self.workdir}",
            f"--dataset=folder:{self.folder}",
        )

    def forget(self, exemplars):
        """Deletes the training images of classes but for their exemplars."""
        kept = {key for keys in exemplars.values() for key in keys}
        for key in self.keys("train", *exemplars):
            if key not in kept:
                (self.folder / key).unlink()


def swept(images):
    return round(images / BATCH_SIZE) * BATCH_SIZE


@pytest.fixture(scope="module")
def digits(tmp_path_factory, run_main):
    """Four digits, of which two came first, with five exemplars each."""
    digits = Digits(tmp_path_factory.mktemp("replay"), run_main)
    for name in "0123":
        digits.add(name)
    outcome = digits.increment("--class_batches=2,2", "--memory_per_class=5")
    assert outcome.status == 0, outcome.stderr
    return digits


@pytest.fixture
def grown(digits, tmp_path, run_main):
    """The same; a copy of a test's own."""
    shutil.copytree(digits.root, tmp_path, dirs_exist_ok=True)
    return Digits(tmp_path, run_main)


def test_a_step_sweeps_exemplars_of_old_classes_only(digits):
    first, second = digits.store.history(digits.store.latest())

    old, new = digits.keys("train", "0", "1"), digits.keys("train", "2", "3")
    assert [use.images_swept for use in first.step.jobs] == [swept(len(old))]
    assert len(old) > 20
    (use,) = second.step.jobs
    assert use.images_swept == swept(2 * 5 + len(new))


def test_a_generation_names_exemplars_of_every_class(digits):
    first, second = digits.store.history(digits.store.latest())

    assert list(first.step.exemplars) == ["0", "1"]
    assert list(second.step.exemplars) == ["0", "1", "2", "3"]
    for name, keys in second.step.exemplars.items():
        assert len(set(keys)) == 5
        assert set(keys) <= set(digits.keys("train", name))
    # What was herded first stays.
    assert first.step.exemplars.items() <= second.step.exemplars.items()
    assert second.step.learnt["0"].images == 5 + len(
        digits.keys("validation", "0")
    )


@pytest.mark.slow
def test_few_exemplars_are_made_up_for_unless_it_is_forbidden(digits, grown):
    def remedies(replay):
        job = replay.store.latest().tree.root.job
        spec = results.read(replay.store, job).spec
        return spec.training.balanced_softmax, spec.start.distillation

    assert remedies(digits) == (True, 1.0)
    no = ["--set=balanced_softmax=false", "--set=flat_distillation=0"]
    for name, arguments, expected in (
        # Old classes have exemplars, whatever is kept now.
        ("4", ["--memory_per_class=0"], (True, 1.0)),
        ("5", ["--memory_per_class=5", *no], (False, 0.0)),
    ):
        grown.add(name)
        outcome = grown.increment(*arguments)
        assert outcome.status == 0, outcome.stderr
        assert remedies(grown) == expected


@pytest.mark.slow
def test_what_is_no_exemplar_may_be_deleted(grown):
    before = grown.store.latest()
    grown.forget(before.step.exemplars)

    again = grown.increment("--relearn")
    grown.add("4")
    third = grown.increment("--memory_per_class=3")

    assert again.status == 0, again.stderr
    data, moved = again.stderr.splitlines()
    assert data.startswith("data folder:")
    assert moved.startswith("not recorded, for there is no step: dataset=")
    assert json.loads(again.stdout)["message"] == NOTHING
    assert third.status == 0, third.stderr
    assert "changed" not in third.stderr
    (step,) = json.loads(third.stdout)["steps"]
    assert step["decision"] == "root: flat"
    new = grown.keys("train", "4")
    assert step["images_swept"] == swept(4 * 5 + len(new))
    kept = grown.store.latest().step.exemplars
    assert {name: len(keys) for name, keys in kept.items()} == dict.fromkeys(
        "01234", 3
    )
    assert kept["0"] == before.step.exemplars["0"][:3]
    assert grown.evaluate().status == 0


@pytest.mark.slow
def test_an_exemplar_that_vanished_is_a_change(grown):
    first, gone, *others = grown.store.latest().step.exemplars["0"]
    (grown.folder / gone).unlink()
    images = len(grown.keys("validation", "0"))

    outcome = grown.increment("--relearn")

    assert outcome.status == 0, outcome.stderr
    assert json.loads(outcome.stdout)["changed_classes"] == [
        {"name": "0", "learnt": 5 + images, "images": 4 + images}
    ]
    step = grown.store.latest().step
    assert step.exemplars["0"] == (first, *others)
    assert step.jobs[0].images_swept == swept(4 + 3 * 5)
    assert json.loads(grown.increment().stdout)["message"] == NOTHING


@pytest.mark.slow
def test_workers_train_on_exemplars_too(grown):
    grown.add("4")

    outcome = grown.increment("--executor=process")

    assert outcome.status == 0, outcome.stderr
    (use,) = grown.store.latest().step.jobs
    new = grown.keys("train", "4")
    assert use.images_swept == swept(4 * 5 + len(new))
