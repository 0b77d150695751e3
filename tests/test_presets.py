"""The trainings that each named recipe asks for, written out by hand.

Six digits and then four by `python -m hierkeras.increment --recipe=NAME`. The
classes of leaves depend on what is confused: only their union is told here.
"""

import shutil

import pytest

from hierkeras import increment
from hierkeras.recipe import presets
from hierkeras.training import results
from hierkeras.tree.store import Store
from tests import small_trunks
from tests.conftest import ROOT

FLAGS = (
    "--dataset=digits",
    "--class_batches=6,4",
    *("--backbone=small_cnn", "--image_size=8", "--width_multiplier=0.25"),
    *("--max_epochs=5", "--batch_size=64", "--noexport"),
)
# Every one of them may grow a tree from 40 classes on.
TREE = ("--set=min_classes_to_clone=2", "--num_superclasses=2")
# An epoch of the adaptive schedule is a stretch of so many images.
SHORT = ("--set=samples_per_check=192", "--set=validation_samples=32")

OLD, ALL = tuple("012345"), tuple("0123456789")
FIRST = ("root first", "scratch", 5, OLD)
LEAF = "of a superclass"


def cloned_leaves(kind, epochs):
    return [(f"root.{k} leaf", kind, epochs, LEAF) for k in (1, 2)]


# Algorithm 1: the flat increment, and beside it leaves from the old leaf.
ALGORITHM_1 = [("root flat", "flat", 5, ALL), *cloned_leaves("clone", 5)]
JOBS = {
    "photos": ((), [("root flat", "flat", 2, ALL)]),
    "photos, a tree": (
        TREE,
        [
            ("root preview", "preview", 5, ALL),
            ("root together", "together", 5, ALL),
            *cloned_leaves("cut_out", 5),
        ],
    ),
    "stream": ((), [("root flat", "flat", 1, ALL)]),
    "stream, a tree": (
        TREE,
        [("root flat", "flat", 1, ALL), *cloned_leaves("clone", 2)],
    ),
    "exemplars": ((), [("root flat", "flat", 2, ALL)]),
    "exemplars, a tree": (
        TREE,
        [("root flat", "flat", 2, ALL), *cloned_leaves("clone", 3)],
    ),
    "pretrained": ((), [("root flat", "solved", 1, ALL)]),
    "pretrained, a tree": (
        ("--growth=compete", *TREE),
        [("root flat", "solved", 1, ALL), *cloned_leaves("solved", 1)],
    ),
    "digits": ((), ALGORITHM_1),
    "paper": (SHORT, ALGORITHM_1),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A work directory whose jobs stay, so that none is trained twice."""
    return Store(tmp_path_factory.mktemp("presets"))


def specs(store, number):
    """What was asked of each job of a generation, by its label."""
    return {
        use.label: results.read(store, use.job).spec
        for use in store.read(number).step.jobs
    }


def solving_flags(store):
    """Flags of a recipe that needs a trunk."""
    file = store.root.parent / f"{store.root.name}.keras"
    small_trunks.write(file, size=8)
    return (*FLAGS[:2], f"--backbone={file}", "--noexport")


def told(found):
    """The label, start, epochs and classes of jobs."""
    return [
        (
            label,
            spec.start.__struct_config__.tag,
            spec.training.max_epochs,
            LEAF if label.endswith(" leaf") else spec.classes,
        )
        for label, spec in found.items()
    ]


def test_every_preset_is_tried():
    assert {name.split(",")[0] for name in JOBS} == set(presets.NAMES)


# Other tests look at the digits' jobs, which are the paper's, and at leaves
# that learn together with their branch.
IS_QUICK = ("pretrained, a tree",)
TRIED = [
    name if name in IS_QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in JOBS
]


@pytest.mark.parametrize("name", TRIED)
def test_the_jobs_of_a_preset(run_main, store, name):
    arguments, expected = JOBS[name]
    preset = name.split(",")[0]
    shutil.rmtree(store.generations, ignore_errors=True)
    (store.root / "LATEST").unlink(missing_ok=True)

    is_solved = preset == "pretrained"
    outcome = run_main(
        increment,
        f"--recipe={preset}",
        *(solving_flags(store) if is_solved else FLAGS),
        *arguments,
        f"--workdir={store.root}",
    )

    assert outcome.status == 0, outcome.stderr
    first = ("root first", "solved", 1, OLD) if is_solved else FIRST
    assert told(specs(store, 1)) == [first]
    found = specs(store, 2)
    assert told(found) == expected
    leaves = [spec for label, spec in found.items() if label.endswith(" leaf")]
    names = [name for spec in leaves for name in spec.classes]
    assert sorted(names) == list(ALL if leaves else ())
    assert store.read(2).settings["preset"] == preset
    # Where exemplars stand for the old images, all that learns is told.
    is_told = {spec.training.balanced_softmax for spec in found.values()}
    assert is_told == {preset == "exemplars"}
    if is_solved:
        # The flat head goes on from the old one; leaves know only their own.
        starts = {label: spec.start.parent for label, spec in found.items()}
        (old,) = specs(store, 1).values()
        assert starts == {**dict.fromkeys(found), "root flat": old.job}
        assert {spec.training.crops for spec in found.values()} == {3}
        assert {spec.network.feature_depths for spec in found.values()} == {3}
    elif "root flat" in found:
        distillation = found["root flat"].start.distillation
        assert distillation == (1.0 if preset == "exemplars" else 0.0)


def test_the_jobs_of_the_digits_that_other_tests_read(digits_tree):
    store = Store(digits_tree.workdir)
    found = told(specs(store, 2))
    assert [job[:2] for job in found] == [job[:2] for job in ALGORITHM_1]
    assert {job[2] for job in found} == {2}
    assert store.read(2).settings["preset"] == "digits"


PHOTOS = ROOT.parent / "shared" / "data" / "tiny_imagenet_animal"


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"needs photos in {PHOTOS}")
def test_photos_run_to_the_end_on_real_ones(run_binary, tmp_path):
    names = ["bee", "goose", "koala", "lion", "snail", "tarantula"]
    classes = tmp_path / "classes.txt"
    classes.write_text("\n".join(names))
    workdir = tmp_path / "workdir"

    done = run_binary(
        *("increment", f"--dataset=folder:{PHOTOS}", f"--workdir={workdir}"),
        *(f"--class_list={classes}", "--class_batches=4,2", "--max_epochs=3"),
        *("--set=min_classes_to_clone=2", "--num_superclasses=2"),
    )

    assert done.status == 0, done.stderr
    assert "training photos of about 64 pixels of 6 classes" in done.stderr
    latest = Store(workdir).latest()
    assert set(latest.tree.classes) == set(names)
    (decision,) = latest.step.decisions
    assert decision.evidence.num_images > 100
    assert latest.step.error_after < 0.6  # 5 of 6 by chance
    assert (workdir / "serving" / "2").is_dir()
