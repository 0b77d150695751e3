"""A trunk that is trained on the first classes before it stays as it is."""

import json
import shutil

import numpy as np
import pytest

from hierkeras import doctor, increment
from hierkeras.models import trunks
from hierkeras.recipe import remembered
from hierkeras.training import results
from hierkeras.training.spec import Solved
from hierkeras.training.spec import Tuned as Spec
from hierkeras.tree.store import Store
from tests import small_trunks

CLASSES = ("bee", "cat", "dog", "emu")


class Tuned:
    """A work directory whose trunk learnt two classes, and then two more."""

    def __init__(self, run_main, root):
        self.root, self.workdir = root, root / "workdir"
        self._run = run_main
        small_trunks.write(root / "net.keras")
        small_trunks.write_photos(root / "photos", CLASSES, each=12)
        self.given = (
            f"--backbone={root / 'net.keras'}",
            *("--set=tuned_epochs=2", "--set=tuned_layers=2"),
            *("--set=feature_depths=1", "--set=crops=1"),
            *("--batch_size=4", "--max_old_class_regression=1"),
        )

    def increment(self, *flags):
        return self._run(
            increment,
            f"--dataset=folder:{self.root / 'photos'}",
            *(f"--workdir={self.workdir}", "--noexport"),
            *flags,
        )

    @property
    def store(self):
        return Store(self.workdir)

    def jobs(self, number):
        """The specs of the jobs of a generation, by what they were for."""
        return {
            use.label: results.read(self.store, use.job).spec
            for use in self.store.read(number).step.jobs
        }

    def network(self):
        return remembered.read(self.store.latest()).recipe.network


@pytest.fixture(scope="module")
def tuned(run_main, tmp_path_factory):
    tuned = Tuned(run_main, tmp_path_factory.mktemp("tuned"))
    tuned.first = tuned.increment(*tuned.given, "--class_batches=2")
    tuned.second = tuned.increment()
    return tuned


def test_it_is_trained_once(tuned):
    assert (tuned.first.status, tuned.second.status) == (0, 0), (
        tuned.first.stderr + tuned.second.stderr
    )
    first = tuned.jobs(1)
    assert set(first) == {"trunk", "root first"}
    assert first["trunk"].start == Spec(2)
    assert first["trunk"].training.augment == "crop_mirror"
    assert {type(spec.start) for spec in tuned.jobs(2).values()} == {Solved}


def test_what_it_has_seen_is_not_taken_for_what_it_will_say(tuned):
    for outcome in (tuned.first, tuned.second):
        assert "images, which the trunk did not see either, " in outcome.stderr
        assert "held out" not in outcome.stderr


def test_the_tree_grows_from_what_it_became(tuned):
    given, became = (
        tuned.jobs(1)[label].network.trunk for label in ("trunk", "root first")
    )
    assert given != became
    assert tuned.network().trunk == became
    before, after = (
        trunks.read(tuned.store.trunk(name), name) for name in (given, became)
    )
    changed = [
        not np.array_equal(old, new)
        for old, new in zip(
            before.get_weights(), after.get_weights(), strict=True
        )
    ]
    # Two layers are the softmax layer, which is not of a trunk, and the upper
    # convolution with its bias.
    assert changed == [False, False, True, True]


def test_the_command_that_began_it_finds_nothing_new(tuned):
    again = tuned.increment(*tuned.given)
    assert (again.status, tuned.store.latest().number) == (0, 2), again.stderr


def test_a_trunk_that_is_gone_is_made_again(tuned):
    trunk = tuned.network().trunk
    shutil.rmtree(tuned.store.trunk(trunk))
    again = tuned.increment(*tuned.given)
    assert again.status == 0, again.stderr
    trunks.read(tuned.store.trunk(trunk), trunk)


def test_the_doctor_finds_no_damage(tuned, run_main):
    outcome = run_main(doctor, f"--workdir={tuned.workdir}", "--format=json")
    found = json.loads(outcome.stdout)["findings"]
    assert [each for each in found if each["level"] == "damage"] == []


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--set=tuned_epochs=3"], "grown with tuned_epochs=2. Received: 3"),
        (["--set=tuned_layers=0"], "grown with tuned_layers=2. Received: 0"),
    ],
)
def test_it_is_not_trained_later(tuned, flags, named):
    tuned.increment(*flags).check_refused(1, named)


def test_without_a_trunk_there_is_none_to_train(run_main, tmp_path):
    run_main(
        increment,
        *("--dataset=digits", f"--workdir={tmp_path / 'new'}"),
        "--set=tuned_epochs=3",
    ).check_refused(2, "tuned_epochs is of")
