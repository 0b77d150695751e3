"""What is said of jobs and of checkpoints, without loading a model."""

import os
import shutil
import subprocess
import sys

import msgspec
import pytest

from hierkeras.training import checks, results, run_job
from hierkeras.training.spec import Preview
from hierkeras.tree.generation import Decision, Generation, JobUse, Step
from hierkeras.tree.nodes import Leaf, Tree
from hierkeras.tree.store import Store


@pytest.fixture
def store(trained, tmp_path):
    """A store with a finished job, and a generation that needs it."""
    context, result = trained
    store = Store(tmp_path)
    folder = store.job_folder(result.job)
    shutil.copytree(context.store.job_folder(result.job), folder)
    return store


@pytest.fixture
def job(trained):
    return trained[1].job


def generation(number, job, classes):
    leaf = Leaf("root", classes, job)
    decision = Decision("root", classes, "first", "no tree", leaf, 0.5)
    step = Step(
        new_classes=classes,
        decisions=(decision,),
        jobs=(JobUse(job, "root first", 10, False),),
        scratch=None,
        unreadable_images={},
        old_error_before=None,
        old_error_after=None,
        error_after=0.5,
        seconds=1.0,
    )
    return Generation(number, {}, Tree(leaf), step)


def check(store, *generations, latest=1):
    numbered = {found.number: found for found in generations}
    jobs = checks.read_jobs(store)
    findings = checks.check_jobs(store, jobs, numbered, latest)
    return findings, jobs.lacking(numbered)


def test_of_a_whole_job_that_is_needed_nothing_is_said(store, trained):
    _, result = trained
    needing = generation(1, result.job, result.spec.classes)
    assert check(store, needing) == ([], {})


def test_a_job_that_nothing_needs_is_no_damage(store, job):
    findings, _ = check(store)
    (finding,) = findings
    assert finding.level == "information"
    assert job in finding.what
    assert finding.commands == ()


def damage_each_file(store, job):
    for path in sorted(store.job_folder(job).iterdir()):
        content = path.read_bytes()
        yield path, content
        path.write_bytes(content)


@pytest.mark.parametrize("place", [0, 0.3, 0.5, 0.9, 1])
def test_a_flipped_bit_in_any_file_is_found(store, trained, place):
    _, result = trained
    needing = generation(1, result.job, result.spec.classes)
    names = []
    for path, content in damage_each_file(store, result.job):
        flipped = bytearray(content)
        flipped[round(place * (len(content) - 1))] ^= 1
        path.write_bytes(bytes(flipped))
        (finding,), lacking = check(store, needing)
        assert finding.level == "damage"
        assert f"job {result.job}, which generation 1 needs" in finding.what
        assert finding.commands == (f"rm -r {store.job_folder(result.job)}",)
        assert lacking == {1: f"lacks job {result.job}"}
        names.append(path.name)
    assert names == ["SHA256SUMS", "history.json", "job.json", "model.keras"]
    assert check(store, needing) == ([], {})


def test_a_file_that_is_missing_is_named(store, job):
    (store.job_folder(job) / "history.json").unlink()
    (finding,), _ = check(store)
    assert finding.level == "damage"
    assert "history.json is missing" in finding.what


def test_a_result_under_the_wrong_id_is_damaged(store, job):
    store.job_folder(job).rename(store.job_folder("0" * 16))
    (finding,), _ = check(store)
    assert f"it is the folder of job {job}" in finding.what


def test_a_missing_job_is_damage_where_the_latest_needs_it(store, trained):
    _, result = trained
    first = generation(1, "f" * 16, result.spec.classes)
    second = generation(2, result.job, result.spec.classes)

    (finding,), lacking = check(store, first, second, latest=1)
    assert finding.level == "damage"
    assert f"job {'f' * 16}, which generation 1 needs, is missing" in (
        finding.what
    )
    assert lacking == {1: f"lacks job {'f' * 16}"}

    (finding,), _ = check(store, first, second, latest=2)
    assert finding.level == "information"


def test_a_node_with_other_classes_than_its_job_is_damage(store, trained):
    _, result = trained
    swapped = generation(1, result.job, result.spec.classes[::-1])
    (finding,), lacking = check(store, swapped)
    assert finding.level == "damage"
    assert "node root has other classes, or in another order" in finding.what
    assert lacking == {1: "names other classes than its jobs"}


def test_what_a_job_started_from_is_needed_only_to_train_it_again(
    store, trained
):
    _, result = trained
    spec = msgspec.structs.replace(result.spec, start=Preview("e" * 16))
    child = msgspec.structs.replace(result, spec=spec)
    shutil.copytree(store.job_folder(result.job), store.job_folder(child.job))
    shutil.rmtree(store.job_folder(result.job))
    folder = store.job_folder(child.job)
    (folder / "job.json").write_bytes(msgspec.json.encode(child))
    (folder / results.SUMS_FILE).unlink()
    sums = subprocess.run(
        ["sha256sum", *sorted(os.listdir(folder))],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    (folder / results.SUMS_FILE).write_bytes(sums.stdout)
    needing = generation(1, child.job, result.spec.classes)

    (finding,), lacking = check(store, needing)

    assert finding.level == "information"
    assert f"job {'e' * 16}, from which job {child.job} started" in finding.what
    assert lacking == {}


def test_what_is_no_job_is_left_alone(store, trained):
    _, result = trained
    needing = generation(1, result.job, result.spec.classes)
    (store.models / "notes").mkdir()
    (store.models / "notes.txt").write_text("mine")
    (store.job_folder(result.job) / "notes.txt").write_text("mine")
    findings, lacking = check(store, needing)
    assert {finding.level for finding in findings} == {"information"}
    assert [f.place.rpartition("/")[2] for f in findings] == [
        "notes",
        result.job,
    ]
    assert lacking == {}


@pytest.fixture(scope="module")
def checkpoint(open_context, make_spec, tmp_path_factory):
    """The checkpoint of a training that ended, and was cut off then."""
    context = open_context(tmp_path_factory.mktemp("cut"))
    spec = make_spec(context, recipe={"max_epochs": 2})

    def fail(*arguments):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(run_job, "measured", fail)
        with pytest.raises(KeyboardInterrupt):
            run_job.run_job(spec, "root first", context)
    return context.store, context.store.checkpoint(spec.job)


def test_a_checkpoint_says_how_far_its_job_is(checkpoint):
    store, path = checkpoint
    (finding,) = checks.check_checkpoints(store)
    assert (finding.level, finding.place) == ("information", str(path))
    assert f"job {path.stem} has done 2 epochs, and 0 steps" in finding.what


def test_a_damaged_checkpoint_is_found(checkpoint):
    store, path = checkpoint
    content = path.read_bytes()
    half = bytes(len(content) // 2)
    for damaged in (b"", content[:3], content[: len(half)], half, b"x" * 99):
        path.write_bytes(damaged)
        (finding,) = checks.check_checkpoints(store)
        assert finding.level == "damage"
        assert finding.commands == (f"rm {path}",)
    for place in range(0, len(content), len(content) // 50):
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(bytes(flipped))
        (finding,) = checks.check_checkpoints(store)
        assert finding.level == "damage", place
    path.write_bytes(content)


def test_they_need_neither_tensorflow_nor_keras(store):
    script = (
        "import sys; from hierkeras.training import checks\n"
        "from hierkeras.tree.store import Store\n"
        "store = Store(sys.argv[1]); jobs = checks.read_jobs(store)\n"
        "assert len(jobs.whole) == 1\n"
        "checks.check_jobs(store, jobs, {}, None)\n"
        "checks.check_checkpoints(store)\n"
        "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script, str(store.root)]
    assert subprocess.run(command, check=False).returncode == 0
