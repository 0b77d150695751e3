"""The recipe as its user asks for it: --recipe, --set and --show."""

import json
import re

import pytest

from hierkeras import evaluate, increment
from hierkeras.recipe import fields, presets
from tests import small_trunks

DIGITS = ("--dataset=digits", "--class_batches=6,4")


@pytest.fixture
def show(run_main, tmp_path):
    """What `--show --format=json` says of a new work directory."""

    def show(*arguments):
        workdir = tmp_path / "new"
        outcome = run_main(
            increment,
            *DIGITS,
            *("--show", "--format=json", f"--workdir={workdir}"),
            *arguments,
        )
        assert (outcome.status, outcome.stderr) == (0, "")
        assert not workdir.exists()
        return json.loads(outcome.stdout)

    return show


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            ["--set=colour=red"],
            ["no field 'colour'", *fields.fields()],
        ),
        (["--set=leaf_capacity=2"], ["no field 'leaf_capacity'", "valid are"]),
        (["--set=momentum"], ["--set takes FIELD=VALUE", "'momentum'"]),
        (["--set="], ["--set takes FIELD=VALUE", "''"]),
        (
            ["--set=momentum=1"],
            ["momentum takes a number from 0 to 0.999. Received: '1'"],
        ),
        (["--set=momentum=nan"], ["number from 0 to 0.999. Received: 'nan'"]),
        (
            ["--set=patience=1.5"],
            ["patience takes a whole number from 1 to 1000000"],
        ),
        (
            ["--set=optimizer=adam"],
            ["optimizer takes muon or sgd. Received: 'adam'"],
        ),
        (
            ["--set=calibrate=maybe"],
            ["calibrate takes true or false. Received: 'maybe'"],
        ),
        (
            ["--set=momentum=0.5", "--set=momentum=0.9"],
            ["--set momentum=0.5 contradicts --set momentum=0.9; give one"],
        ),
        (
            ["--seed=1", "--set=seed=2"],
            ["--set seed=2 contradicts --seed=1; give one of them"],
        ),
        (
            ["--growth=flat", "--set=increments=clone"],
            ["--set increments=clone contradicts --growth=flat"],
        ),
    ],
)
def test_nonsense_that_is_set_is_refused(run_main, tmp_path, arguments, named):
    workdir = tmp_path / "new"
    outcome = run_main(increment, *DIGITS, f"--workdir={workdir}", *arguments)
    outcome.check_refused(2, *named)
    assert not workdir.exists()


def test_what_is_set_can_come_from_a_flag_file(show, tmp_path):
    file = tmp_path / "mine.flags"
    file.write_text("--recipe=paper\n--set=momentum=0.8\n--set=dropout=0.25\n")

    # Two that agree are no contradiction, and a flag's own name will do.
    shown = show(
        f"--flagfile={file}",
        *("--growth=flat", "--set=increments=flat", "--set=routing=soft"),
        "--image_size=79",
    )

    assert shown["preset"] == "paper"
    assert shown["recipe"]["training"]["momentum"] == 0.8
    assert shown["recipe"]["network"]["dropout"] == 0.25
    assert shown["recipe"]["growth"]["increments"] == "flat"
    assert shown["recipe"]["routing"]["rule"] == "soft"
    given = {n for n, where in shown["sources"].items() if where == "given"}
    assert given == {"momentum", "dropout", "increments", "rule", "image_size"}


def test_a_number_can_be_unset(show):
    assert show("--set=dropout=unset")["recipe"]["network"]["dropout"] is None


def test_what_is_shown_of_a_new_work_directory(show):
    shown = show("--max_epochs=3")

    assert shown["preset"] == "digits"
    assert shown["recipe"]["training"]["max_epochs"] == 3
    assert shown["sources"].keys() == fields.fields().keys()
    assert shown["sources"]["max_epochs"] == "given"
    assert shown["sources"]["schedule"] == "preset digits"
    assert shown["sources"]["augment"] == "by the data"
    assert shown["chosen"].startswith("chosen for 1,559 training images")
    assert (shown["generation"], shown["classes"]) == (None, [])
    assert shown["pending"] == [list("012345"), list("6789")]
    assert (shown["relearns"], shown["exports"]) == ([], True)


def test_a_tree_and_what_is_pending_are_shown_in_words(
    digits_tree, run_main, contents
):
    before = contents(digits_tree.workdir)

    outcome = run_main(
        increment,
        f"--workdir={digits_tree.workdir}",
        "--show",
        "--noexport",
        "--seed=5",
    )

    assert (outcome.status, outcome.stderr) == (0, "")
    said = outcome.stdout
    assert said.startswith("recipe digits: Scikit-learn's handwritten digits")
    assert re.search(r"^  max_epochs +2 +\(remembered\) ", said, re.M)
    assert re.search(r"^  seed +5 +\(given\) ", said, re.M)
    assert "\ntree: 10 classes, 2 leaves, depth 2\n" in said
    assert said.endswith("\nnothing is pending\n")
    assert contents(digits_tree.workdir) == before


def test_pending_classes_of_a_new_work_directory_in_words(run_main, tmp_path):
    workdir = tmp_path / "new"
    outcome = run_main(increment, *DIGITS, "--show", f"--workdir={workdir}")
    assert outcome.stdout.endswith(
        "\nno tree\n"
        "pending: 6 new classes: 0, 1, 2, 3, 4, 5\n"
        "pending: 4 new classes: 6, 7, 8, 9\n"
        "pending: the export\n"
    )
    assert not workdir.exists()


@pytest.mark.parametrize("arguments", [["--show"], ["--recipe=help"]])
def test_showing_loads_no_tensorflow(run_binary, tmp_path, arguments):
    outcome = run_binary(
        "increment",
        *DIGITS,
        *arguments,
        f"--workdir={tmp_path / 'new'}",
        python=("-X", "importtime"),
    )
    assert outcome.status == 0, outcome.stderr
    assert "hierkeras.recipe.compose" in outcome.imported
    assert not outcome.imported & {"tensorflow", "keras"}
    assert list(tmp_path.iterdir()) == []


def test_the_fields_are_listed_where_there_is_nothing_yet(run_main, tmp_path):
    workdir = tmp_path / "new"
    for arguments in ([], [f"--workdir={workdir}"]):
        outcome = run_main(increment, "--recipe=help", *arguments)
        assert (outcome.status, outcome.stderr) == (0, "")
        assert outcome.stdout.startswith("recipe photos: ")
        for name in fields.fields():
            assert re.search(rf"^  {name} +\S", outcome.stdout, re.M), name
        assert not workdir.exists()


@pytest.mark.parametrize("name", presets.NAMES)
def test_a_preset_and_its_flags_make_a_recipe(show, name, tmp_path):
    trunk = []
    if name == "pretrained":
        file = small_trunks.write(tmp_path / "network.keras")
        trunk = [f"--backbone={file}"]
    shown = show(f"--recipe={name}", "--image_size=96", "--seed=7", *trunk)
    assert shown["preset"] == name
    # For alexnet, too, which takes no smaller images.
    assert shown["recipe"]["network"]["image_size"] == 96
    assert shown["recipe"]["training"]["seed"] == 7
    open_to_the_data = {"batch_size", "max_epochs"}
    assert not any(
        shown["recipe"]["training"][field] == 0 for field in open_to_the_data
    )


def test_another_answer_can_be_set_and_no_more(digits_tree, run_main):
    workdir = f"--workdir={digits_tree.workdir}"
    run_main(evaluate, workdir, "--set=momentum=0.5").check_refused(
        2, "no field 'momentum'", "valid are rule, beam_width, contention"
    )
    run_main(
        evaluate, workdir, "--routing=hard", "--set=rule=soft"
    ).check_refused(2, "--set rule=soft contradicts --routing=hard")
    outcome = run_main(evaluate, workdir, "--set=rule=soft", "--format=json")
    assert json.loads(outcome.stdout)["routing"] == "soft"
