"""Growing on while the images of known classes change under the tree."""

import json
import shutil
import unicodedata

import pytest

from hierkeras import evaluate, export, increment
from hierkeras.tree.store import Store
from tests.conftest import write_images

CLASSES = ("ant", "bee", "cat")
NOTHING = "nothing new: the tree knows every class asked for"


class Photos:
    """A folder of photos, and a work directory that is grown from it."""

    def __init__(self, root, run_main):
        self.root = root
        self.folder = root / "photos"
        self.workdir = root / "workdir"
        self.store = Store(self.workdir)
        self._run = run_main

    def increment(self, *arguments):
        return self._run(
            increment,
            f"--dataset=folder:{self.folder}",
            "--image_size=8",
            "--width_multiplier=0.5",
            "--augment=none",  # else a line tells what was chosen
            "--max_epochs=1",
            "--batch_size=8",
            "--growth=flat",
            "--noexport",
            f"--workdir={self.workdir}",
            *arguments,
        )

    def run(self, module):
        return self._run(
            module,
            f"--workdir={self.workdir}",
            f"--dataset=folder:{self.folder}",
        )


@pytest.fixture
def photos(tmp_path, run_main):
    """Three classes of ten photos, and no tree yet."""
    for seed, name in enumerate(CLASSES):
        write_images(tmp_path / "photos" / name, range(10), seed)
    return Photos(tmp_path, run_main)


@pytest.fixture(scope="module")
def first(tmp_path_factory, run_main):
    root = tmp_path_factory.mktemp("changed")
    for seed, name in enumerate(CLASSES):
        write_images(root / "photos" / name, range(10), seed)
    (root / "photos" / "ant" / "bad.png").write_bytes(
        b"\x89PNG\r\n\x1a\nbroken"
    )
    first = Photos(root, run_main)
    outcome = first.increment()
    assert outcome.status == 0, outcome.stderr
    return first


@pytest.fixture
def grown(first, tmp_path, run_main):
    """The same with a tree; a copy of a test's own."""
    shutil.copytree(first.root, tmp_path, dirs_exist_ok=True)
    return Photos(tmp_path, run_main)


def test_changed_images_are_told_of_and_change_nothing(grown, contents):
    write_images(grown.folder / "bee", range(10, 14), 1)
    (grown.folder / "cat" / "0.png").unlink()
    before = contents(grown.workdir)

    outcome = grown.increment()

    assert outcome.status == 0
    assert outcome.stderr.startswith(
        "images changed since they were learnt: bee (4 more), cat (1 fewer)\n"
        f"data folder:{grown.folder}: 34 images of 3 classes ("
    )
    assert outcome.stdout.endswith(
        f"{NOTHING}; images of 2 classes changed: --relearn trains the 1 "
        "leaf that they touch\n"
    )
    assert contents(grown.workdir) == before


@pytest.mark.slow
def test_relearning_makes_a_generation_once(grown):
    write_images(grown.folder / "bee", range(10, 14), 1)

    outcome = grown.increment("--relearn", "--format=json")

    assert outcome.status == 0, outcome.stderr
    result = json.loads(outcome.stdout)
    assert result["message"] == "1 step done"
    assert result["changed_classes"] == [
        {"name": "bee", "learnt": 9, "images": 13}
    ]
    assert result["steps"][0]["decision"] == "root: relearned"
    old, new = grown.store.history(grown.store.latest())
    assert new.tree.classes == old.tree.classes
    assert new.tree.root.job != old.tree.root.job
    assert new.step.new_classes == ()
    again = grown.increment("--relearn")
    assert again.status == 0, again.stderr
    (line,) = again.stderr.splitlines()
    assert line.startswith("data folder:")
    assert again.stdout.endswith(f"{NOTHING}\n")
    text = grown.run(evaluate).stdout
    assert "new classes -" in text
    assert "No Table 3: the last step relearned known classes" in text


@pytest.mark.slow
def test_the_next_step_that_trains_the_leaf_takes_them(grown):
    write_images(grown.folder / "bee", range(10, 14), 1)
    write_images(grown.folder / "dog", range(10), 3)
    for name in ("bee", "dog"):
        (grown.folder / name / "bad.png").write_bytes(
            b"\x89PNG\r\n\x1a\nbroken"
        )

    outcome = grown.increment("--format=json")

    assert "changed since they were learnt: bee (5 more)\n" in outcome.stderr
    (step,) = json.loads(outcome.stdout)["steps"]
    assert step["decision"] == "root: flat"
    # Not those of the step before.
    assert step["unreadable_images"] == ["bee/bad.png", "dog/bad.png"]
    step = grown.store.latest().step
    assert min(step.unreadable_images) == "ant/bad.png"
    assert (step.learnt["bee"].images, step.learnt["cat"].images) == (13, 9)
    assert "changed" not in grown.increment().stdout


@pytest.mark.slow
def test_a_bad_new_image_of_a_known_class_is_left_out(grown):
    (grown.folder / "bee" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")

    outcome = grown.increment("--relearn")

    assert outcome.status == 0, outcome.stderr
    assert outcome.stdout.endswith(
        f"{NOTHING}, and all that changed are unreadable images\n"
    )
    assert grown.store.latest().number == 1


@pytest.mark.parametrize(
    ("now", "named"),
    [
        ("Bee", "'Bee' differs from it only in case: give it its old name"),
        ("bees", "'bees' is near: give it its old name"),
        (None, "give the data set that it was grown from"),
    ],
)
def test_a_class_that_is_gone_is_named_in_one_line(grown, now, named):
    if now:
        (grown.folder / "bee").rename(grown.folder / now)
    else:
        shutil.rmtree(grown.folder / "bee")

    for outcome in (
        grown.increment(),
        grown.run(evaluate),
        grown.run(export),
    ):
        outcome.check_refused(1, "1 of the 3", "'bee' first", named)


def test_a_known_class_without_images_is_refused(grown, contents):
    write_images(grown.folder / "dog", range(10), 3)
    for path in (grown.folder / "bee").iterdir():
        path.unlink()
    before = contents(grown.workdir)

    outcome = grown.increment()

    outcome.check_refused(1, "'bee' has 0 images", "add images")
    assert contents(grown.workdir) == before


def test_one_name_in_two_unicode_forms_is_refused(photos):
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "bée")
        write_images(photos.folder / name, range(3), 5)

    photos.increment().check_refused(1, "twice", r"'b\xe9e'", "rename or merge")
    assert not photos.workdir.exists()


def test_images_that_are_there_twice_are_reported(photos):
    write_images(photos.folder / "Bee", range(3), 5)
    for name in ("ant", "Bee"):
        shutil.copy(photos.folder / "bee" / "7.png", photos.folder / name)

    outcome = photos.increment("--format=json")

    assert outcome.status == 0, outcome.stderr
    told = outcome.stderr.split("[root first]")[0]
    assert "classes that differ only in case: 'Bee' and 'bee'\n" in told
    assert "\n1 image in two classes, Bee/7.png and ant/7.png\n" in told
    result = json.loads(outcome.stdout)
    (step,) = result["steps"]
    assert {
        "where": "two classes",
        "count": 1,
        "pairs": [["Bee/7.png", "ant/7.png"]],
    } in step["duplicates"]
    assert result["data"]["classes"] == 4
    assert f"data folder:{photos.folder}: " in told


@pytest.mark.slow
def test_a_work_directory_remembers_its_class_list(photos, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("bee\nant\n")
    assert photos.increment(f"--class_list={listed}").status == 0

    assert photos.increment().stdout.endswith(f"{NOTHING}\n")
    assert photos.store.latest().tree.classes == ("bee", "ant")
    photos.increment("--class_batches=5").check_refused(2, "the data set has 2")
    everything = ("--class_batches=5", "--class_list=")
    photos.increment(*everything).check_refused(2, "the data set has 3")
