"""`python -m hierkeras.evaluate` as its user meets it."""

import json
import shutil
from pathlib import Path

import pytest

from hierkeras import evaluate

KEYS = {
    "generation",
    "num_classes",
    "num_leaves",
    "depth",
    "split",
    "num_examples",
    "routing",
    "top1_error",
    "top5_error",
    "calibration_error",
    "top1_error_by_routing",
    "flat_top1_error",
    "old_classes_top1_error",
    "new_classes_top1_error",
    "superclasses",
    "steps",
    "num_parameters",
    "forward_flops_per_image",
    "root_flops_per_image",
}
SUPERCLASS_KEYS = {
    "name",
    "num_classes",
    "leaf_error",
    "branch_error",
    "whole_error",
    "flat_error",
    "leaf_error_branch_correct",
    "leaf_error_branch_miss",
}
STEP_KEYS = {
    "generation",
    "images_swept",
    "jobs",
    "jobs_reused",
    "seconds",
    "decision",
}


@pytest.fixture(scope="module")
def evaluated(digits_tree, run_binary):
    outcome = run_binary(
        "evaluate", f"--workdir={digits_tree.workdir}", "--format=json"
    )
    assert outcome.status == 0, outcome.stderr
    return json.loads(outcome.stdout)


def test_the_object_has_every_key(evaluated):
    assert evaluated.keys() >= KEYS
    for superclass in evaluated["superclasses"]:
        assert superclass.keys() >= SUPERCLASS_KEYS
    for step in evaluated["steps"]:
        assert step.keys() >= STEP_KEYS


def test_the_object_describes_the_tree(evaluated):
    assert evaluated["generation"] == 2
    assert evaluated["num_classes"] == 10
    assert evaluated["num_leaves"] == len(evaluated["superclasses"]) == 2
    assert evaluated["depth"] == 2
    assert evaluated["split"] == "test"
    assert evaluated["routing"] == "fused"
    assert sum(row["num_classes"] for row in evaluated["superclasses"]) == 10
    assert evaluated["num_parameters"] > 1_000
    assert evaluated["forward_flops_per_image"] > 10_000


def test_the_errors_fit_together(evaluated):
    by_routing = evaluated["top1_error_by_routing"]
    assert by_routing.keys() == {"hard", "soft", "fused"}
    assert evaluated["top1_error"] == by_routing["fused"]
    # Better than guessing among ten, after two epochs.
    assert evaluated["top5_error"] <= evaluated["top1_error"] < 0.6
    assert 0 <= evaluated["calibration_error"] <= 1
    assert 0 <= evaluated["flat_top1_error"] < 0.6
    halves = sorted(
        (
            evaluated["old_classes_top1_error"],
            evaluated["new_classes_top1_error"],
        )
    )
    assert halves[0] <= evaluated["top1_error"] <= halves[1]
    for row in evaluated["superclasses"]:  # equation 1 of the paper
        assert row["whole_error"] == pytest.approx(
            1
            - (1 - row["leaf_error_branch_correct"]) * (1 - row["branch_error"])
        )


def test_the_steps_are_those_that_were_made(evaluated):
    first, second = evaluated["steps"]
    assert (first["decision"], first["jobs"]) == ("root: first", 1)
    assert second["decision"] == "root: clone"
    assert second["jobs"] == 3  # the flat increment and two leaves
    assert second["images_swept"] > first["images_swept"] > 0
    assert first["jobs_reused"] == second["jobs_reused"] == 0


def test_table_3_counts_what_each_increment_swept(evaluated):
    swept = {"flat": set(), "clone": set()}
    for row in evaluated["contenders"]:
        if row["training"] == "incremental":
            swept[row["increment"]].add(row["images_swept"])
    whole = evaluated["steps"][-1]["images_swept"]
    assert swept["clone"] == {whole}  # the branch is the flat increment
    (flat,) = swept["flat"]
    assert 0 < flat < whole


def test_the_text_has_the_paper_s_tables(
    digits_tree, evaluated, run_main, contents
):
    before = contents(digits_tree.workdir)
    outcome = run_main(evaluate, f"--workdir={digits_tree.workdir}")
    assert outcome.status == 0, outcome.stderr
    for title in ("Table 3: ", "Table 4: ", "Table 5: "):
        assert title in outcome.stdout
    assert f"top-1 error {evaluated['top1_error']:.2%}" in outcome.stdout
    for row in evaluated["superclasses"]:
        assert outcome.stdout.count(f"  {row['name']} ") == 2
    assert contents(digits_tree.workdir) == before


def test_an_earlier_tree_and_another_rule_can_be_asked_for(
    digits_tree, run_main
):
    outcome = run_main(
        evaluate,
        f"--workdir={digits_tree.workdir}",
        "--generation=1",
        "--routing=soft",
        "--split=validation",
        "--format=json",
    )
    evaluated = json.loads(outcome.stdout)
    assert evaluated["num_classes"] == 6
    assert evaluated["split"] == "validation"
    assert evaluated["routing"] == "soft"
    assert evaluated["flat_top1_error"] is None
    assert evaluated["old_classes_top1_error"] is None


def test_a_tree_that_is_not_there_is_refused(digits_tree, run_main):
    outcome = run_main(
        evaluate, f"--workdir={digits_tree.workdir}", "--generation=3"
    )
    outcome.check_refused(
        1, "--generation=3", f"{digits_tree.workdir} has 1, 2"
    )


def test_after_a_roll_back_later_trees_can_still_be_asked_for(
    digits_tree, run_main, tmp_path
):
    workdir = tmp_path / "workdir"
    skipped = shutil.ignore_patterns("serving", "tensorboard")
    shutil.copytree(digits_tree.workdir, workdir, ignore=skipped)
    (workdir / "LATEST").write_text("000001\n")

    def found(*arguments):
        return run_main(
            evaluate, f"--workdir={workdir}", "--format=json", *arguments
        )

    for arguments, number, classes in (([], 1, 6), (["--generation=2"], 2, 10)):
        outcome = found(*arguments)
        assert outcome.status == 0, outcome.stderr
        evaluated = json.loads(outcome.stdout)
        assert evaluated["generation"] == number
        assert evaluated["num_classes"] == classes
    found("--generation=3").check_refused(1, "--generation=3", "has 1, 2; give")


def test_an_empty_work_directory_is_refused(run_main, tmp_path):
    outcome = run_main(evaluate, f"--workdir={tmp_path}")
    outcome.check_refused(
        1,
        str(tmp_path),
        f"python -m hierkeras.increment --workdir={tmp_path}",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_images_that_have_vanished_are_named(
    photo_tree, run_main, contents, tmp_path
):
    images = Path(photo_tree.flags[0].partition(":")[2])
    before = contents(photo_tree.workdir)
    moved = shutil.move(images, tmp_path / "moved")
    try:
        flags = (f"--workdir={photo_tree.workdir}", "--format=json")
        run_main(evaluate, *flags).check_refused(1, str(images), "--dataset")
        found = run_main(evaluate, *flags, f"--dataset=folder:{moved}")
    finally:
        shutil.move(moved, images)
    assert json.loads(found.stdout)["num_classes"] == 2
    assert contents(photo_tree.workdir) == before
