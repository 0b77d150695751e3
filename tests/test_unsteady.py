"""Systems that misbehave: faults of disks, any order, clocks that jump, NFS."""

import contextlib
import itertools
import shutil
import struct
import subprocess
import sys
import threading
import time

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from hierkeras.tree.store import Store
from tests import survival, unsteady
from tests.conftest import ROOT, write_images
from tests.serving import served_tree
from tests.serving.served_tree import (
    encoded,
    publish,
    serving,
    until,
    versions_in,
    write,
)

base_path = served_tree.base_path

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
    # Of the work directory alone: the package has a folder models, too.
    there = fault.replace(" /", f" {workdir}/")
    outcome = system.run("increment", *FLAGS, flag, fault=there)
    check_one_line(outcome)

    assert Store(workdir).latest() is not None
    again = system.run("increment", *FLAGS, flag)
    assert again.returncode == 0, again.stderr
    assert survival.final(workdir) == undisturbed
    assert survival.debris(workdir) == []


@pytest.mark.slow
def test_the_order_of_folders_changes_nothing(system, tmp_path):
    for seed, name in enumerate(("bee", "ant", "cat")):
        write_images(tmp_path / "images" / name, range(12), seed)
    found = []
    for order in (0, 1, 2):
        workdir = tmp_path / f"workdir-{order}"
        outcome = system.run(
            "increment",
            f"--dataset=folder:{tmp_path / 'images'}",
            "--class_batches=2,1",
            *("--image_size=8", "--width_multiplier=0.5", "--max_epochs=1"),
            *("--batch_size=4", "--augment=none", "--noexport"),
            *("--deterministic", f"--workdir={workdir}"),
            order=order,
        )
        assert outcome.returncode == 0, outcome.stderr
        found.append(survival.final(workdir))
    assert found[0] == found[1] == found[2]


@contextlib.contextmanager
def jumping(file, seconds=0.3):
    """A clock that goes back and forward by days, again and again."""
    file.write_bytes(struct.pack("q", 0))
    ended = threading.Event()

    def jump():
        with file.open("r+b", buffering=0) as clock:
            for days in itertools.cycle((3, -3, 0, -400, 400)):
                clock.seek(0)
                clock.write(struct.pack("q", days * DAY))
                if ended.wait(seconds):
                    return

    thread = threading.Thread(target=jump)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.xfail(reason="it hangs after training; docs/reliability.md")
def test_a_clock_that_jumps_changes_no_increment(
    system, workdir, undisturbed, tmp_path
):
    clock = tmp_path / "clock"
    with jumping(clock):
        outcome = system.run(
            "increment", *FLAGS, f"--workdir={workdir}", clock=clock
        )
    assert outcome.returncode == 0, outcome.stderr
    assert survival.final(workdir) == undisturbed
    assert 0 < Store(workdir).latest().step.seconds < 600


@pytest.mark.slow
def test_a_clock_that_jumps_disturbs_no_server(system, base_path, tmp_path):
    clock = tmp_path / "clock"
    publish(base_path, 1)
    with jumping(clock, 0.05):
        env = system.environment(clock=clock)
        with serving(base_path, env=env) as server:
            address = server.address
            for number in range(100):
                assert versions_of(address) <= {1, 2}
                if number == 20:
                    publish(base_path, 2)
            until(lambda: versions_of(address) == {2})
            assert server.end() == 0


def late_copy(source, target):
    time.sleep(0.5)
    shutil.copy(source, target)


@pytest.mark.slow
@pytest.mark.parametrize("bring", ["rename", "copy"])
def test_files_that_are_seen_late_are_served_late(
    system, base_path, tmp_path, bring
):
    publish(base_path, 1)
    time.sleep(3)  # what is there is seen
    env = system.environment(hide=f"3 {base_path}/")
    with serving(base_path, env=env) as server:
        address = server.address
        assert versions_of(address) == {1}
        if bring == "rename":
            publish(base_path, 2)
        else:
            written = write(tmp_path / "2", 2)
            shutil.copytree(written, base_path / "2", copy_function=late_copy)
        end = time.monotonic() + 60
        while (versions := versions_of(address)) == {1}:
            assert time.monotonic() < end, "the new version is not served"
            time.sleep(0.1)
        assert versions == {2}


def versions_of(address):
    """The versions that answer."""
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "animals"
        images = tf.make_tensor_proto(encoded(1))
        request.inputs["image_bytes"].CopyFrom(images)
        answer = stub.Predict(request, timeout=30, wait_for_ready=True)
    return versions_in(tf.make_ndarray(answer.outputs["classes"]))


PRUNE = """
import sys
from etils import epath
from hierkeras.serving.checks import publication
from hierkeras.tree import atomic
folder = epath.Path(sys.argv[1])
print(publication.prune(folder, 1), publication.versions(folder))
atomic.remove_debris(folder)
"""


def test_what_others_hold_open_is_removed_later(system, tmp_path):
    """On NFS their files stay, under other names."""
    for version in "12":
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").write_bytes(b"1")

    def prune(**how):
        command = [sys.executable, "-c", PRUNE, str(tmp_path)]
        env = system.environment(**how)
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, {path.name for path in tmp_path.iterdir()}

    removed, left = prune(held="/.tmp-removed-1/")
    assert removed == "[1] [2]\n"
    assert left == {".tmp-removed-1", "2"}
    _, left = prune()
    assert left == {"2"}
