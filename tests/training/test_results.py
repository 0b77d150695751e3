"""A damaged result is named in one line."""

import shutil
import subprocess

import pytest

from hierkeras._errors import UserError
from hierkeras.training import results
from hierkeras.training.run_job import run_job
from hierkeras.training.spec import Preview
from hierkeras.tree.store import Store

READERS = {
    "job.json": results.read,
    "history.json": results.read_history,
    "model.keras": results.load_model,
}


@pytest.fixture
def copy(trained, tmp_path):
    """A store with a copy of a finished job, and the job's id."""
    context, result = trained
    store = Store(tmp_path)
    folder = store.job_folder(result.job)
    folder.mkdir(parents=True)
    for path in context.store.job_folder(result.job).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return store, result.job


def remove(content):
    return None


def cut(content):
    return content[: len(content) // 2]


def scribble(content):
    middle = len(content) // 2
    return bytes(middle) + content[middle:]


def flip_a_bit(content):
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 1])
    return content[:middle] + flipped + content[middle + 1 :]


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("damage", [remove, cut, scribble, flip_a_bit])
def test_damage_is_reported_with_the_job(copy, name, damage):
    store, job = copy
    path = store.job_folder(job) / name
    content = damage(path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(
        UserError, match=f"job {job} in .*missing or damaged"
    ) as e:
        READERS[name](store, job)

    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", READERS)
def test_without_its_check_sums_nothing_is_trusted(copy, name):
    store, job = copy
    (store.job_folder(job) / results.SUMS_FILE).unlink()
    with pytest.raises(UserError, match=f"job {job} in .*SHA256SUMS"):
        READERS[name](store, job)


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum here")
def test_the_check_sums_are_those_of_the_standard_tool(copy):
    store, job = copy
    folder = store.job_folder(job)
    subprocess.run(
        ["sha256sum", "--check", "--strict", results.SUMS_FILE],
        cwd=folder,
        check=True,
    )
    named = (folder / results.SUMS_FILE).read_text().split()[1::2]
    others = {path.name for path in folder.iterdir()} - {results.SUMS_FILE}
    assert set(named) == others


def test_a_result_under_the_wrong_id_is_damaged(copy):
    store, job = copy
    other = "0" * 16
    store.job_folder(job).rename(store.job_folder(other))

    with pytest.raises(UserError, match=f"job {other} .* of job {job}"):
        results.read(store, other)


def test_a_job_from_a_missing_parent_says_so(tmp_path, open_context, make_spec):
    context = open_context(tmp_path)
    spec = make_spec(context, start=Preview("f" * 16))

    with pytest.raises(UserError, match="job ffffffffffffffff"):
        run_job(spec, "root flat", context)
