"""`python -m hierkeras.increment` as its user meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from hierkeras import increment
from hierkeras.tree.store import Store

# With these the data set chooses nothing, of which a line would tell.
DATA = (
    "data digits: 1,797 images of 10 classes (1,559 train, 83 validation, 155 "
    "test)\n"
)
DIGITS = ("--dataset=digits", "--image_size=8", "--augment=none")


def test_digits_grow_in_two_steps(digits_tree):
    assert digits_tree.outcome.status == 0, digits_tree.outcome.stderr
    tree = Store(digits_tree.workdir).latest().tree
    assert tree.classes == tuple("0123456789")
    assert tree.depth == 2
    progress, result = digits_tree.outcome.stderr, digits_tree.outcome.stdout
    data, chosen, *_ = progress.splitlines()
    assert data.startswith("data digits: 1,797 images of 10 classes (1,559")
    assert chosen.startswith("chosen for 1,559 training images of")
    assert "[root first] epoch 2/2: loss" in progress
    assert "generation 2: 4 new classes, validation error" in result
    assert "root received 6, 7, 8, 9: clone" in result
    assert result.endswith("2 steps done\n")


def test_a_step_is_summed_up_once_and_not_among_the_progress(digits_tree):
    progress, result = digits_tree.outcome.stderr, digits_tree.outcome.stdout
    assert result.count("images swept") == 2
    assert "images swept" not in progress
    for number in (1, 2):
        assert progress.count(f"generation {number} is there\n") == 1


def test_each_step_calibrates_its_tree(digits_tree):
    for number in (1, 2):
        tree = Store(digits_tree.workdir).read(number).tree
        chosen = msgspec.structs.astuple(tree.temperatures)
        assert all(0.25 <= one <= 4 for one in chosen)
        # A single leaf answers alike by every rule; two epochs teach no
        # network to be as sure as it is right.
        assert (len(set(chosen)) == 1) == (number == 1)
        assert 1.0 not in chosen


def test_run_again_it_trains_nothing_and_says_so(
    digits_tree, run_binary, contents
):
    before = contents(digits_tree.workdir)
    outcome = run_binary("increment", *digits_tree.flags)
    assert outcome.status == 0
    assert "nothing new: the tree knows every class" in outcome.stdout
    assert outcome.stderr == DATA
    assert contents(digits_tree.workdir) == before


def test_a_work_directory_remembers_its_data_set(digits_tree, run_main):
    workdir = f"--workdir={digits_tree.workdir}"
    outcome = run_main(increment, workdir, "--format=json")
    told = json.loads(outcome.stdout)
    images = {"train": 1559, "validation": 83, "test": 155}
    assert told.pop("data")["images"] == images
    assert told == {
        "message": "nothing new: the tree knows every class asked for",
        "generation": 2,
        "steps": [],
        "changed_classes": [],
        "exported": None,
        "report": None,
    }


def test_what_no_step_can_record_is_told(digits_tree, run_main):
    flags = (f"--workdir={digits_tree.workdir}", "--contention=0.6")
    outcome = run_main(increment, *flags)
    assert outcome.status == 0
    told = "not recorded, for there is no step: contention=0.6\n"
    assert outcome.stderr == DATA + told


@pytest.mark.slow
def test_four_batches_make_a_deep_tree(run_main, tmp_path):
    outcome = run_main(
        increment,
        "--flagfile=flags/digits.flags",
        "--class_batches=3,3,2,2",
        "--set=refine_branches=head",
        "--width_multiplier=0.5",
        "--max_epochs=1",
        f"--workdir={tmp_path}",
    )
    assert outcome.status == 0, outcome.stderr
    latest = Store(tmp_path).latest()
    assert latest.number == 4
    assert latest.tree.depth >= 3
    in_leaves = [name for leaf in latest.tree.leaves for name in leaf.classes]
    assert sorted(in_leaves) == list("0123456789")


def test_an_unreadable_image_is_left_out_and_listed(photo_tree):
    assert photo_tree.outcome.status == 0, photo_tree.outcome.stderr
    (step,) = json.loads(photo_tree.outcome.stdout)["steps"]
    assert step["unreadable_images"] == ["bee/broken.png"]


def test_too_many_unreadable_images_end_the_step(
    photo_tree, run_main, tmp_path
):
    workdir = tmp_path / "workdir"
    outcome = run_main(
        increment,
        *photo_tree.flags,
        "--max_bad_images=0",
        f"--workdir={workdir}",
    )
    outcome.check_refused(1, "bee/broken.png", "--max_bad_images=1")
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (["--dataset=folder:no/such"], 1, ["no/such'", "--dataset"]),
        (["--dataset=npz:no.npz"], 1, ["no.npz'", "--dataset"]),
        (["--dataset=zip:x"], 2, ["'zip:x'", "digits, folder:PATH"]),
        ([], 2, ["--dataset", "folder:PATH"]),
        ([*DIGITS, "--backbone=vgg"], 2, ["'vgg'", "small_cnn, small_"]),
        (
            ["--dataset=digits", "--backbone=alexnet", "--image_size=64"],
            2,
            ["alexnet", "at least 79", "image_size=64"],
        ),
        (
            [*DIGITS, "--class_batches=3,3", "--num_superclasses=4"],
            2,
            ["--num_superclasses=4", "6 classes", "--growth=flat"],
        ),
        ([*DIGITS, "--num_superclasses=1"], 2, ["num_superclasses=1"]),
        ([*DIGITS, "--validation_fraction=0"], 2, ["--validation_fraction=0"]),
        (
            [*DIGITS, "--set=partition_by=predicted_error"],
            2,
            ["partition_by=predicted_error", "leaves=after or"],
        ),
        (
            [*DIGITS, "--leaves=together", "--set=leaf_shrink=0.5"],
            2,
            ["leaves=together", "leaf_shrink=0.5", "leaves=after"],
        ),
        (
            [*DIGITS, "--leaves=together", "--memory_per_class=5"],
            2,
            ["leaves=together", "memory_per_class=5", "--recipe=exemplars"],
        ),
        ([*DIGITS, "--class_batches=6,5"], 2, ["6,5", "11", "10"]),
        ([*DIGITS, "--class_batches=6,x"], 2, ["--class_batches", "6,x"]),
        ([*DIGITS, "--class_batches=6,0"], 2, ["positive", "6,0"]),
        ([*DIGITS, "--class_list=no.txt"], 1, ["--class_list", "no.txt"]),
        ([*DIGITS, "--devices=GPU:99"], 2, ["--devices", "'GPU:99'", "CPU:0"]),
    ],
)
def test_a_mistake_makes_no_work_directory(
    run_main, tmp_path, arguments, status, named
):
    workdir = tmp_path / "workdir"
    outcome = run_main(increment, *arguments, f"--workdir={workdir}")
    outcome.check_refused(status, *named)
    assert not workdir.exists()


@pytest.mark.parametrize(("count", "held"), [(0, "0 images"), (2, "2 images")])
def test_a_class_with_too_few_images_is_named(
    photo_tree, run_main, contents, count, held
):
    # The tree in the work directory knows the folder's other classes.
    images = Path(photo_tree.flags[0].partition(":")[2])
    folder = images / "new"
    folder.mkdir()
    for path in list((images / "ant").iterdir())[:count]:
        os.link(path, folder / path.name)
    try:
        before = contents(photo_tree.workdir)
        outcome = run_main(increment, *photo_tree.flags)
        outcome.check_refused(1, "'new'", held, "at least 3", "add images")
        assert contents(photo_tree.workdir) == before
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (
            ["--backbone=small_resnet"],
            ["with backbone=small_cnn. Received: small_resnet"],
        ),
        (["--image_size=16"], ["with image_size=8. Received: 16"]),
        (["--width_multiplier=1"], ["with width_multiplier=0.5. Received: 1"]),
        (["--set=dropout=0.3"], ["with dropout=unset. Received: 0.3"]),
        (
            ["--validation_fraction=0.2"],
            ["with validation_fraction=0.05. Received: 0.2"],
        ),
        (["--test_fraction=0.2"], ["with test_fraction=0.1. Received: 0.2"]),
        (
            ["--dataset=folder:{photos}"],
            ["with dataset=digits. Received: folder"],
        ),
        (["--class_list={six}", "--class_batches="], ["4 of the 10", "'6'"]),
    ],
)
def test_a_work_directory_of_something_else_is_refused(
    digits_tree, photo_tree, run_main, contents, tmp_path, changed, named
):
    photos = photo_tree.flags[0].partition(":")[2]
    six = tmp_path / "six.txt"
    six.write_text("0\n1\n2\n3\n4\n5\n")
    before = contents(digits_tree.workdir)
    outcome = run_main(
        increment,
        *digits_tree.flags,
        *(flag.format(photos=photos, six=six) for flag in changed),
    )
    outcome.check_refused(
        1, str(digits_tree.workdir), "another --workdir", *named
    )
    assert contents(digits_tree.workdir) == before


def test_a_file_is_no_work_directory(run_main, tmp_path):
    path = tmp_path / "file"
    path.write_text("content")
    outcome = run_main(increment, *DIGITS, f"--workdir={path}")
    outcome.check_refused(1, str(path), "another --workdir")
    assert path.read_text() == "content"


def test_the_second_process_on_a_work_directory_is_refused(
    run_main, contents, tmp_path
):
    flags = [*DIGITS, f"--workdir={tmp_path}"]
    first = subprocess.Popen(
        [sys.executable, "-m", "hierkeras.increment", *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "LOCK.holder").exists():
            assert first.poll() is None, "the first process ended"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # It holds the lock and writes nothing more, so that one can compare.
        first.send_signal(signal.SIGSTOP)
        before = contents(tmp_path)
        outcome = run_main(increment, *flags)
        outcome.check_refused(
            1, str(tmp_path), f"process {first.pid}", "another --workdir"
        )
        assert contents(tmp_path) == before
    finally:
        first.kill()
        first.wait()
