"""Systems that misbehave: faults of disks, any order, clocks that jump, NFS."""

import shutil

import pytest

from tests import survival, unsteady

FLAGS = (
    "--flagfile=flags/digits.flags",
    "--class_batches=3,2",
    "--max_epochs=2",
    "--width_multiplier=0.5",
    "--growth=flat",
    "--max_old_class_regression=1",
    "--deterministic",
)
DAY = 86_400


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    return unsteady.System(tmp_path_factory.mktemp("system"))


@pytest.fixture(scope="module")
def first_step(system, tmp_path_factory):
    """A work directory after a step."""
    workdir = tmp_path_factory.mktemp("first") / "workdir"
    flags = (*FLAGS, "--class_batches=3", "--noexport", f"--workdir={workdir}")
    outcome = system.run("increment", *flags)
    assert outcome.returncode == 0, outcome.stderr
    return workdir


@pytest.fixture
def workdir(first_step, tmp_path):
    return shutil.copytree(first_step, tmp_path / "workdir")


@pytest.fixture(scope="module")
def undisturbed(system, first_step, tmp_path_factory):
    """What the second step gives."""
    workdir = tmp_path_factory.mktemp("whole") / "workdir"
    shutil.copytree(first_step, workdir)
    outcome = system.run("increment", *FLAGS, f"--workdir={workdir}")
    assert outcome.returncode == 0, outcome.stderr
    return survival.final(workdir)


def check_one_line(outcome, *named):
    told = [
        line
        for line in outcome.stderr.splitlines()
        if line.startswith("error: ")
    ]
    assert outcome.returncode == 1, outcome.stderr
    assert len(told) == 1, outcome.stderr
    assert "Traceback" not in outcome.stderr
    for name in named:
        assert name in told[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        "open EIO /LOCK",
        "read EIO /generations/",
        "read EIO /models/",
        "write EIO /checkpoints/",
        "mkdir EIO /models/",
        "write EIO /models/",
        "fsync EIO /models/",
        "rename EIO /models/",
        "write EIO /generations/",
        "rename EIO /generations/",
        "fsync EIO LATEST",
        "rename EBUSY /LATEST",
        "rename ESTALE /checkpoints/",
        "write EIO /serving/",
        "rename EIO /serving/",
    ],
)
def test_a_disk_that_fails(system, workdir, undisturbed, fault):
    flag = f"--workdir={workdir}"
    outcome = system.run("increment", *FLAGS, flag, fault=fault)
    check_one_line(outcome)

    evaluated = system.run("evaluate", flag)
    assert evaluated.returncode == 0, evaluated.stderr
    again = system.run("increment", *FLAGS, flag)
    assert again.returncode == 0, again.stderr
    assert survival.final(workdir) == undisturbed
    assert survival.debris(workdir) == []
