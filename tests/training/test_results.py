"""A damaged result is named in one line."""

import pytest

from hierkeras._errors import UserError
from hierkeras.training import results
from hierkeras.training.run_job import run_job
from hierkeras.training.spec import Initial
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


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("damage", [remove, cut, scribble])
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


def test_a_result_under_the_wrong_id_is_damaged(copy):
    store, job = copy
    other = "0" * 16
    store.job_folder(job).rename(store.job_folder(other))

    with pytest.raises(UserError, match=f"job {other} .* of job {job}"):
        results.read(store, other)


def test_a_job_from_a_missing_parent_says_so(tmp_path, open_context, make_spec):
    context = open_context(tmp_path)
    spec = make_spec(context, initial=Initial("f" * 16))

    with pytest.raises(UserError, match="job ffffffffffffffff"):
        run_job(spec, "root flat", context)
