"""Solved heads on disk: read as written, and damage told with the job."""

import numpy as np
import pytest

from hierkeras._errors import UserError
from hierkeras.training import models, results, solutions
from hierkeras.training.run_job import run_job
from hierkeras.tree import sums
from hierkeras.tree.store import Store
from tests import builders
from tests.training import solved


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    return solved.ground(tmp_path_factory.mktemp("solutions"), depths=0)


@pytest.fixture(scope="module")
def job(ground):
    return run_job(ground.spec("021"), "root first", ground.context).job


@pytest.fixture
def store(ground, job, tmp_path):
    """A store with a copy of the job."""
    copy = Store(tmp_path)
    folder = copy.job_folder(job)
    folder.mkdir(parents=True)
    for path in ground.context.store.job_folder(job).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return copy


def test_it_is_read_as_it_was_written(ground, job, tmp_path):
    before = solutions.read(ground.context.store, job)
    folder = Store(tmp_path).job_folder(job)
    folder.mkdir(parents=True)
    solutions.write(folder, before)
    sums.write(folder, folder / "SHA256SUMS")

    again = solutions.read(Store(tmp_path), job)

    assert again.statistics.classes == tuple("021")
    assert again.fingerprints == before.fingerprints
    assert list(again.fingerprints) == list("021")
    for name in ("counts", "means", "scatter"):
        one, other = (getattr(s.statistics, name) for s in (again, before))
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    np.testing.assert_array_equal(again.head.kernel, before.head.kernel)
    np.testing.assert_array_equal(again.head.bias, before.head.bias)


@pytest.mark.parametrize("name", solutions.FILES)
@pytest.mark.parametrize("damage", ["remove", "cut", "flip"])
def test_damage_is_one_line_with_the_job(store, job, name, damage):
    path = store.job_folder(job) / name
    content = path.read_bytes()
    path.unlink()
    middle = len(content) // 2
    if damage == "cut":
        path.write_bytes(content[:middle])
    elif damage == "flip":
        flipped = bytes([content[middle] ^ 1])
        path.write_bytes(content[:middle] + flipped + content[middle + 1 :])
    with pytest.raises(UserError) as told:
        solutions.read(store, job)
    said = str(told.value)
    assert said.startswith(f"job {job} in {store.models} is missing or dam")
    assert "hierkeras.doctor" in said and "\n" not in said


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("head.npz", {"kernel": np.zeros(3), "bias": np.zeros(3)}),
        ("head.npz", {"kernel": np.zeros((2, 3)), "bias": np.zeros(2)}),
        ("head.npz", {"kernel": np.zeros((2, 3))}),
        ("head.npz", {"kernel": np.array([["a"]]), "bias": np.array(["a"])}),
        (
            "sums.npz",
            {
                "counts": np.ones(2, int),
                "means": np.zeros((2, 4)),
                "scatter": np.zeros((4, 4)),
            },
        ),
        (
            "sums.npz",
            {
                "counts": np.ones(3, int),
                "means": np.zeros((3, 4)),
                "scatter": np.zeros((4, 5)),
            },
        ),
        (
            "sums.npz",
            {
                "counts": np.ones(3, int),
                "means": np.zeros((2, 4)),
                "scatter": np.zeros((4, 4)),
            },
        ),
        (
            "sums.npz",
            {
                "counts": np.array(3),
                "means": np.zeros(4),
                "scatter": np.zeros((4, 4)),
            },
        ),
        (
            "sums.npz",
            {
                "counts": np.ones(3, int),
                "means": np.zeros((3, 4, 2)),
                "scatter": np.zeros((4, 4)),
            },
        ),
    ],
)
def test_what_is_no_solution_of_the_classes_is_damage(store, job, name, arrays):
    folder = store.job_folder(job)
    np.savez(folder / name, **arrays)
    (folder / "SHA256SUMS").unlink()
    sums.write(folder, folder / "SHA256SUMS")
    with pytest.raises(UserError, match=f"job {job} in .* damaged"):
        solutions.read(store, job)


def test_a_head_for_another_trunk_is_damage(ground, job, store, tmp_path):
    folder = store.job_folder(job)
    np.savez(
        folder / "head.npz",
        kernel=np.zeros((5, 3), np.float32),
        bias=np.zeros(3, np.float32),
    )
    (folder / "SHA256SUMS").unlink()
    sums.write(folder, folder / "SHA256SUMS")
    trunk = ground.network.trunk
    store.features(trunk).mkdir(parents=True)
    for path in ground.context.store.trunk(trunk).iterdir():
        store.trunk(trunk).mkdir(exist_ok=True)
        (store.trunk(trunk) / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=f"job {job} in .* damaged") as told:
        models.load(builders.open_context(tmp_path), job)
    assert "\n" not in str(told.value)


def test_a_trained_job_has_none(trained):
    context, result = trained
    with pytest.raises(UserError, match=r"head\.npz"):
        solutions.read_head(context.store, result.job)
    assert results.read(context.store, result.job)
