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

DIGITS = ("--dataset=digits", "--image_size=8")
WIDER = ("--leaf_capacity=1.5", "--clone_from=flat")


def test_digits_grow_in_two_steps(digits_tree):
    assert digits_tree.outcome.status == 0, digits_tree.outcome.stderr
    tree = Store(digits_tree.workdir).latest().tree
    assert tree.classes == tuple("0123456789")
    assert tree.depth == 2
    progress, result = digits_tree.outcome.stderr, digits_tree.outcome.stdout
    assert "[root first] epoch 2/2: loss" in progress
    assert "generation 2: 4 new classes, validation error" in result
    assert "root received 6, 7, 8, 9: clone" in result
    assert result.endswith("2 steps done\n")


def test_each_step_calibrates_its_tree(digits_tree):
    for number in (1, 2):
        tree = Store(digits_tree.workdir).read(number).tree
        chosen = msgspec.structs.astuple(tree.temperatures)
        assert all(0.25 <= one <= 4 for one in chosen)
        # A single leaf answers alike by every rule; two epochs teach no
        # network to be as sure as it is right.
        assert (len(set(chosen)) == 1) == (number == 1)
        assert 1.0 not in chosen
        assert {node.temperature for node in tree.nodes()} == {1.0}


def test_run_again_it_trains_nothing_and_says_so(
    digits_tree, run_binary, contents
):
    before = contents(digits_tree.workdir)
    outcome = run_binary("increment", *digits_tree.flags)
    assert outcome.status == 0
    assert "nothing new: the tree knows every class" in outcome.stdout
    assert outcome.stderr == ""
    assert contents(digits_tree.workdir) == before


def test_a_work_directory_remembers_its_data_set(digits_tree, run_main):
    flags = [f for f in digits_tree.flags if not f.startswith("--flagfile")]
    outcome = run_main(increment, *flags, "--image_size=8", "--format=json")
    assert json.loads(outcome.stdout) == {
        "message": "nothing new: the tree knows every class asked for",
        "generation": 2,
        "steps": [],
        "changed_classes": [],
        "exported": None,
    }


@pytest.mark.slow
def test_four_batches_make_a_deep_tree(run_main, tmp_path):
    outcome = run_main(
        increment,
        "--flagfile=flags/digits.flags",
        "--class_batches=3,3,2,2",
        "--growth=clone",
        "--refine_branches=head",
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
        (["--dataset=folder:no/such"], 1, ["'no/such'", "--dataset"]),
        (["--dataset=npz:no.npz"], 1, ["'no.npz'", "--dataset"]),
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
        ([*DIGITS, "--num_superclasses=1"], 2, ["--num_superclasses=1"]),
        (
            [*DIGITS, "--partition_by=predicted_error"],
            2,
            ["--partition_by=predicted_error", "--confusion_from=flat"],
        ),
        (
            [*DIGITS, "--leaf_capacity=1.5"],
            2,
            ["--leaf_capacity=1.5", "--clone_from=flat"],
        ),
        (
            [*DIGITS, *WIDER, "--leaf_layers=2"],
            2,
            ["--leaf_capacity=1.5", "--leaf_layers=2"],
        ),
        (
            [*DIGITS, *WIDER, "--image_size=79", "--backbone=alexnet"],
            2,
            ["--leaf_capacity=1.5: A trained alexnet", "small_cnn, small_r"],
        ),
        (
            [*DIGITS, "--joint_epochs=3", "--leaf_epochs=2"],
            2,
            ["--joint_epochs=3", "--leaf_epochs=2"],
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
        (["--backbone=small_resnet"], ["--backbone", "small_cnn"]),
        (["--image_size=16"], ["--image_size", "8", "16"]),
        (["--width_multiplier=1"], ["--width_multiplier", "0.5"]),
        (["--validation_fraction=0.2"], ["--validation_fraction", "0.05"]),
        (["--dataset=folder:{photos}"], ["--dataset", "digits", "folder"]),
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
