"""`python -m hierkeras.doctor` as its user meets it; its advice is followed."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from hierkeras import doctor, evaluate, export, increment
from hierkeras.tree import generation
from hierkeras.tree.store import Store

ROOT = Path(__file__).resolve().parent.parent
CHECKED = ("models", "generations", "serving/2")


@pytest.fixture
def workdir(digits_tree, tmp_path) -> Path:
    copy = tmp_path / "workdir"
    shutil.copytree(digits_tree.workdir, copy)
    return copy


@pytest.fixture
def jobs(workdir) -> dict[str, str]:
    """What for each job was trained, and its id."""
    return {
        use.label: use.job
        for number in (1, 2)
        for use in Store(workdir).read(number).step.jobs
    }


def flip(path: Path, place: float = 0.5, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[round(place * (len(content) - 1))] ^= 1 << bit
    path.write_bytes(bytes(content))


def examined(run_main, workdir: Path, status: int) -> dict:
    outcome = run_main(doctor, f"--workdir={workdir}", "--format=json")
    assert (outcome.status, outcome.stderr) == (status, "")
    return json.loads(outcome.stdout)


def commands(result: dict) -> list[str]:
    return [line for found in result["findings"] for line in found["commands"]]


def follow(result: dict) -> None:
    for command in commands(result):
        mine = command.replace("python ", f"{sys.executable} ", 1)
        subprocess.run(
            mine, shell=True, cwd=ROOT, check=True, capture_output=True
        )


def test_a_healthy_work_directory(digits_tree, run_main, contents):
    before = contents(digits_tree.workdir)
    outcome = run_main(doctor, f"--workdir={digits_tree.workdir}")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert re.fullmatch(
        f"{digits_tree.workdir}: 2 generations, 4 jobs, 1 version, "
        r"\d+\.\d MB\nnothing is damaged\n",
        outcome.stdout,
    )
    assert contents(digits_tree.workdir) == before


def test_it_loads_no_tensorflow(digits_tree, run_binary):
    outcome = run_binary(
        "doctor",
        f"--workdir={digits_tree.workdir}",
        python=("-X", "importtime"),
    )
    assert outcome.status == 0
    assert "hierkeras.training.checks" in outcome.imported
    assert not outcome.imported & {"tensorflow", "keras", "sklearn"}


@pytest.mark.parametrize("make", [False, True])
def test_where_there_is_none_it_says_so(run_main, tmp_path, make):
    workdir = tmp_path / "none"
    if make:
        workdir.mkdir()
        (workdir / "notes.txt").write_text("mine")
    outcome = run_main(doctor, f"--workdir={workdir}")
    outcome.check_refused(
        1, str(workdir), f"hierkeras.increment --workdir={workdir}"
    )


def test_a_flipped_bit_in_any_file_is_found_and_named(workdir, contents):
    before = contents(workdir)
    files = [
        path
        for folder in CHECKED
        for path in sorted((workdir / folder).rglob("*"))
        if path.is_file()
    ]
    assert len(files) == 4 * 4 + 2 + 8
    store = Store(workdir)
    for path in files:
        content = path.read_bytes()
        for place in (0, 0.37, 1):
            flip(path, place)
            result = doctor.examine(store)
            assert result.damages, (path, place)
            # A job or a version as a whole; else the file.
            parts = path.relative_to(workdir).parts
            whole = workdir.joinpath(*parts[:2])
            places = {finding.place for finding in result.findings}
            assert str(whole) in places, (path, place)
            path.write_bytes(content)
    assert doctor.examine(store).damages == 0
    assert contents(workdir) == before


def test_any_flipped_bit_of_the_pointer_is_found(workdir):
    path = workdir / "LATEST"
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            path.write_bytes(bytes(flipped))
            result = doctor.examine(Store(workdir))
            assert result.damages == 1, flipped
            assert result.findings[0].place == str(path)


def test_the_text_is_what_to_do_in_order(workdir, jobs, run_main, contents):
    job = jobs["root.1 leaf"]
    flip(workdir / "models" / job / "model.keras")
    before = contents(workdir)

    outcome = run_main(doctor, f"--workdir={workdir}")

    assert (outcome.status, outcome.stderr) == (1, "")
    summary, *rest, verdict = outcome.stdout.splitlines()
    assert "2 generations, 4 jobs, 1 version, " in summary
    assert rest == [
        f"damage: {workdir}/LATEST: it points at generation 2, which lacks "
        f"job {job}",
        "  point it at generation 1, the newest that is whole, and run the "
        "increment again, with the flags of before: it makes anew what came "
        "after and trains only jobs that are not there",
        f"    echo 000001 > {workdir}/LATEST",
        f"damage: {workdir}/models/{job}: job {job}, which generation 2 "
        "needs, is damaged: model.keras is not what was written",
        "  restore it; or remove its folder, so that a step that needs it "
        "makes it again",
        f"    rm -r {workdir}/models/{job}",
    ]
    assert verdict == (
        "2 damages found: do what is written beside each, from the top"
    )
    assert contents(workdir) == before


def damage_job(workdir: Path, job: str) -> None:
    flip(workdir / "models" / job / "job.json")


def test_damage_is_refused_in_a_line_that_leads_here(workdir, jobs, run_main):
    advice = f"python -m hierkeras.doctor --workdir={workdir}"
    flip(workdir / "models" / jobs["root.1 leaf"] / "model.keras")
    outcome = run_main(evaluate, f"--workdir={workdir}")
    outcome.check_refused(1, f"job {jobs['root.1 leaf']}", advice)

    path = workdir / "generations" / "000002.json"
    flip(path, 0.9)
    for binary in (evaluate, export):
        outcome = run_main(binary, f"--workdir={workdir}")
        outcome.check_refused(1, str(path), advice)


def test_after_a_damaged_pointer_it_works_again(workdir, run_main):
    flip(workdir / "LATEST", 0, bit=6)
    outcome = run_main(evaluate, f"--workdir={workdir}")
    outcome.check_refused(1, "LATEST is damaged", "hierkeras.doctor")

    follow(examined(run_main, workdir, status=1))

    assert examined(run_main, workdir, status=0)["findings"] == []
    assert Store(workdir).latest().number == 2


def test_what_the_latest_does_not_need_is_only_removed(workdir, jobs, run_main):
    damage_job(workdir, jobs["root first"])
    result = examined(run_main, workdir, status=1)
    assert commands(result) == [f"rm -r {workdir}/models/{jobs['root first']}"]

    follow(result)

    result = examined(run_main, workdir, status=0)
    (finding,) = result["findings"]
    assert (
        f"job {jobs['root first']}, which generation 1 needs, is missing"
        in (finding["what"])
    )
    outcome = run_main(evaluate, f"--workdir={workdir}", "--format=json")
    assert json.loads(outcome.stdout)["generation"] == 2


def damage_flat(workdir, jobs):
    damage_job(workdir, jobs["root flat"])


def damage_two(workdir, jobs):
    """A leaf, and the job that it has to be trained again from."""
    damage_job(workdir, jobs["root.2 leaf"])
    flip(workdir / "models" / jobs["root first"] / "SHA256SUMS")


def lose_a_job(workdir, jobs):
    shutil.rmtree(workdir / "models" / jobs["root.1 leaf"])


def damage_generation_1(workdir, jobs):
    flip(workdir / "generations" / "000001.json")


def damage_generation_2(workdir, jobs):
    flip(workdir / "generations" / "000002.json")


def damage_version(workdir, jobs):
    flip(workdir / "serving" / "2" / "saved_model.pb")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "trained", "number"),
    [
        (damage_flat, ["root flat"], 3),
        (damage_two, ["root first", "root.2 leaf"], 4),
        (lose_a_job, ["root.1 leaf"], 3),
        (damage_generation_1, [], 4),
        (damage_generation_2, [], 3),
        (damage_version, [], 2),
    ],
)
def test_the_advice_is_true(
    workdir, jobs, run_binary, run_main, digits_tree, damage, trained,
    number,
):  # fmt: skip
    damage(workdir, jobs)

    follow(examined(run_main, workdir, status=1))
    assert examined(run_main, workdir, status=0)["damages"] == 0
    grown = run_binary("increment", *digits_tree.flags, f"--workdir={workdir}")

    assert grown.status == 0, grown.stderr
    again = re.findall(r"^\[(.+)\] epoch 2/2", grown.stderr, re.M)
    assert sorted(again) == sorted(trained)
    assert examined(run_main, workdir, status=0)["damages"] == 0
    assert {path.name for path in (workdir / "models").iterdir()} == {
        *jobs.values()
    }
    outcome = run_main(evaluate, f"--workdir={workdir}", "--format=json")
    evaluated = json.loads(outcome.stdout)
    # What comes out exactly as it was needs no new number.
    assert evaluated["generation"] in {2, number}
    assert evaluated["num_classes"] == 10
    assert (workdir / "serving" / str(evaluated["generation"])).exists()
    nothing = run_main(increment, *digits_tree.flags, f"--workdir={workdir}")
    assert "nothing new" in nothing.stdout


def test_a_data_set_that_is_gone_is_no_damage(workdir, run_main, tmp_path):
    shutil.rmtree(workdir / "serving")
    path = workdir / "generations" / "000002.json"
    before = generation.from_json(path.read_bytes())
    data = {"dataset": f"folder:{tmp_path / 'gone'}"}
    settings = {
        **before.settings,
        "kind": "folder",
        "data": {**before.settings["data"], **data},
    }
    moved = msgspec.structs.replace(before, settings=settings)
    path.write_bytes(generation.to_json(moved))

    result = examined(run_main, workdir, status=0)

    (found,) = [f for f in result["findings"] if "folder:" in f["place"]]
    assert found["level"] == "information"
    assert "There is no folder" in found["what"]
    assert "--dataset" in found["advice"]
