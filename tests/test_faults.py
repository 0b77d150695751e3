"""Faults of disks and data, for real: one clear line, and nothing is lost."""

import asyncio
import dataclasses
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hierkeras import _faults
from hierkeras._errors import UserError
from hierkeras.data.registry import open_source
from hierkeras.data.source import DataConfig
from hierkeras.training import executors
from tests import survival

ROOT = Path(__file__).resolve().parent.parent
DRIVER = Path(__file__).with_name("failing_disk.py")
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
FULL, READ_ONLY = "No space left on device", "Read-only file system"
PHASES = {
    "lock": ("open", "/LOCK "),
    "checkpoint": ("open", "/checkpoints/.tmp"),
    "job": ("os.mkdir", "/models/.tmp"),
    "check sums": ("open", "SHA256SUMS w"),
    "generation": ("open", "/generations/.tmp"),
    "LATEST": ("open", "/.tmp-LATEST"),
    "export": ("os.mkdir", "/serving/.tmp"),
}

# On a small disk that is full: publishes, and tells what is there.
PUBLISH = """
import pathlib, subprocess, sys
import msgspec
from hierkeras.tree.generation import Generation, Step
from hierkeras.tree.nodes import Leaf, Tree
from hierkeras.tree.store import Store

root = pathlib.Path(sys.argv[1])
mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(root)]
subprocess.run(mount, check=True)
store = Store(root / "workdir")
step = Step(("a",), (), (), None, {}, None, None, 0.5, 1.0)
first = Generation(1, {}, Tree(Leaf("root", ("a",), "0" * 16)), step, None)
second = msgspec.structs.replace(first, number=2, parent=1)

def told(action):
    try:
        action()
    except OSError as error:
        return [error.errno, error.filename]

def lock():
    with store.lock():
        pass

def job():
    with store.new_job("1" * 16) as folder:
        (folder / "model").write_bytes(bytes(8192))

with store.lock():
    store.publish(first)
before = sorted(map(str, root.rglob("*")))
errors = []
for room in (0, 4096):  # for nothing, or for the generation but not LATEST
    with open(root / "filler", "wb", buffering=0) as file:
        file.write(bytes(1 << 20))
        file.truncate(file.tell() - room)
    errors += [told(lambda: store.publish(second)), told(job)]
    if not room:
        errors.append(told(lock))
    assert store.latest() == first and store.next_number() == 2
    (root / "filler").unlink()
(root / "workdir" / "models").rmdir()
assert sorted(map(str, root.rglob("*"))) == before
lock()
job()
store.publish(second)
assert store.latest() == second
print(errors)
"""


@dataclasses.dataclass
class Disk:
    """A disk that fails when it is told to; see `failing_disk.py`."""

    process: subprocess.Popen
    folder: Path

    def ask(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def mount(self, copy=None):
        self.ask(do="mount", copy=copy and str(copy))

    def mend(self):
        self.ask(do="mend")

    def increment(self, *flags, fault=None):
        flags = (
            "--flagfile=flags/digits.flags",
            "--class_batches=3,2",
            "--max_epochs=2",
            "--width_multiplier=0.5",
            "--growth=flat",
            "--max_old_class_regression=1",
            "--deterministic",
            f"--workdir={self.workdir}",
            *flags,
        )
        return self.ask(do="run", binary="increment", flags=flags, fault=fault)

    def evaluate(self):
        flags = (f"--workdir={self.workdir}", "--format=json")
        return self.ask(do="run", binary="evaluate", flags=flags, fault=None)

    @property
    def workdir(self):
        return self.folder / "workdir"

    def seen(self, path=""):
        """The work directory, which this process sees only so."""
        return Path(f"/proc/{self.process.pid}/root{self.workdir}") / path

    def results(self):
        """What must not depend on what the run went through."""
        return survival.final(self.seen())


def check_small_disk(folder):
    """Skips where no small disk can be mounted."""
    if not shutil.which("unshare"):
        pytest.skip("there is no `unshare` to mount a small disk with")
    mount = f"mount -t tmpfs -o size=1m tmpfs {folder}"
    tried = subprocess.run(
        [*NAMESPACE, "sh", "-c", mount], capture_output=True, text=True
    )
    if tried.returncode:
        pytest.skip(f"no small disk can be mounted: {tried.stderr.strip()}")


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    check_small_disk(folder)
    process = subprocess.Popen(
        [*NAMESPACE, sys.executable, str(DRIVER), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield Disk(process, folder)
    process.stdin.close()
    process.wait(30)


@pytest.fixture(scope="module")
def first_step(disk, tmp_path_factory):
    """The disk's content after a step."""
    disk.mount()
    outcome = disk.increment("--class_batches=3", "--noexport")
    assert outcome["status"] == 0, outcome["stderr"]
    copy = tmp_path_factory.mktemp("first") / "disk"
    shutil.copytree(disk.seen().parent, copy)
    return copy


@pytest.fixture(scope="module")
def undisturbed(disk, first_step):
    disk.mount(first_step)
    outcome = disk.increment()
    assert outcome["status"] == 0, outcome["stderr"]
    return disk.results()


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_disk_that_fails(disk, first_step, undisturbed, phase, kind):
    event, pattern = PHASES[phase]
    disk.mount(first_step)

    outcome = disk.increment(
        fault={"event": event, "pattern": pattern, "kind": kind}
    )

    assert outcome["failed"], "the fault's moment did not come"
    assert outcome["status"] == 1
    check_one_line(outcome, FULL if kind == "full" else READ_ONLY)
    disk.mend()
    evaluated = disk.evaluate()
    assert evaluated["status"] == 0, evaluated["stderr"]
    last = 2 if phase == "export" else 1
    assert json.loads(evaluated["stdout"])["generation"] == last
    again = disk.increment()
    assert again["status"] == 0, again["stderr"]
    assert disk.results() == undisturbed
    assert survival.debris(disk.seen()) == []
    assert not disk.seen("checkpoints").exists()


@pytest.mark.slow
@pytest.mark.parametrize("room", [4096, 65536, 200_000])
def test_a_disk_with_room_for_a_part_of_the_export(disk, first_step, room):
    event, pattern = PHASES["export"]
    disk.mount(first_step)

    outcome = disk.increment(
        fault={"event": event, "pattern": pattern, "kind": "full", "room": room}
    )

    assert outcome["status"] == 1
    check_one_line(outcome, FULL)
    assert disk.seen("LATEST").read_text() == "000002\n"
    disk.mend()
    again = disk.increment()
    assert again["status"] == 0, again["stderr"]
    assert os.listdir(disk.seen("serving")) == ["2"]


def check_one_line(outcome, reason):
    (line,) = survival.complaints(outcome["stderr"])
    assert line.startswith("error: ")
    assert reason in line
    assert "/workdir" in line
    assert re.search("run the same command again|another --wor", line)


def test_publishing_on_a_full_disk(tmp_path):
    check_small_disk(tmp_path)

    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-c", PUBLISH, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout.replace("'", '"'))
    assert len(errors) == 5
    for number, path in errors:
        assert number == errno.ENOSPC
        assert path.startswith(str(tmp_path / "workdir"))


def test_a_full_disk_behind_standard_output(photo_tree):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hierkeras.increment", *photo_tree.flags],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert done.returncode == 1
    *data, error = done.stderr.splitlines()
    assert error.startswith("error: ") and FULL in error
    assert all(line.startswith("data ") for line in data)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_faults_of_the_disk_are_told(number):
    path = "/w/models/.tmp-abc-123/model.keras"

    told = _faults.explain(OSError(number, os.strerror(number), path))

    assert told.startswith(f"/w/models: {os.strerror(number)}; ")


def test_words_of_a_library_are_told():
    error = OSError("Can't write (errno = 28, error message = '" + FULL + "')")

    assert FULL in _faults.explain(error)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file", "/elsewhere/x"),
        OSError("something else"),
        ValueError(FULL),
        KeyError("x"),
    ],
)
def test_faults_of_the_program_are_not(error):
    assert _faults.explain(error, ["/w"]) is None


def test_what_is_missing_from_the_work_directory_is_told():
    error = FileNotFoundError(errno.ENOENT, "No such file", "/w/LATEST")

    assert _faults.explain(error, ["/w"]).startswith("/w/LATEST: No such file")


@pytest.mark.slow
def test_errors_of_tensorflow(tmp_path):
    import tensorflow as tf

    def told(op):
        with pytest.raises(tf.errors.OpError) as raised:
            op()
        return _faults.explain(raised.value)

    gone = str(tmp_path / "a b.png")
    assert told(lambda: tf.io.read_file(gone)).startswith(
        f"{gone}: No such file or directory; bring it back"
    )
    full = told(lambda: tf.io.write_file("/dev/full", "x" * 100_000))
    assert full.startswith(f"/dev/full: {FULL}; free space")
    assert "out of memory" in told(lambda: tf.zeros([1 << 46]))
    assert "can no longer be decoded (Invalid PNG" in told(
        lambda: list(
            tf.data.Dataset.from_tensors(b"\x89PNG\r\n\x1a\nbroken").map(
                tf.io.decode_image
            )
        )
    )
    # A fault of ours, also where an image is at the heart of it.
    assert told(lambda: tf.ensure_shape(tf.zeros([2]), [3])) is None
    assert told(lambda: tf.reshape(tf.zeros([2]), [3])) is None


@pytest.fixture
def photos(tmp_path):
    from PIL import Image

    root = tmp_path / "photos"
    for place in ("train/ant", "train/bee", "val/ant", "val/bee"):
        (root / place).mkdir(parents=True)
        for number in range(6):
            image = Image.new(
                "RGB", (8, 8), (number, len(place), ord(place[-3]))
            )
            image.save(root / place / f"{number}.png")
    return root


NODE = "{{node cond/Assert}}"
IN_FUNCTION = "{{function_node cond_true_794}}"


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("It is a sentence.", "It is a sentence."),
        # As sessions, the C API, eager calls and iterators tell it.
        (
            f"{IN_FUNCTION} {IN_FUNCTION} assertion failed: [row 0 is bad]\n"
            f"\t [[{IN_FUNCTION}{NODE}]]\n\t [[StatefulPartitionedCall_1]]",
            "row 0 is bad",
        ),
        (f"must not be empty\n\t [[{NODE}]]", "must not be empty"),
        (
            "Graph execution error:\n\nDetected at node cond/Assert defined at "
            "(most recent call last):\n<stack traces unavailable>\nassertion "
            f"failed: [a] [b]\n\t [[{NODE}]] [Op:__inference_4376]",
            "a b",
        ),
        (
            f"{IN_FUNCTION} Error in user-defined function passed to "
            "MapDataset:25 transformation with iterator: Iterator::Root: "
            f"Unknown format.\n\t [[{NODE}]] [Op:IteratorGetNext] name: ",
            "Unknown format.",
        ),
        ("/a; No such file [Op:ReadFile]", "/a; No such file"),
        (f"shapes differ [[{NODE}]]", "shapes differ"),
        ("expected [[1, 2], [3, 4]] here", "expected [[1, 2], [3, 4]] here"),
        (
            "2 root error(s) found.\n  (0) INVALID_ARGUMENT: row 1 is bad\n"
            f"\t [[{NODE}]]\n\t [[a/b/_3]]\n  (1) CANCELLED: row 1 is bad\n"
            f"\t [[{NODE}]]\n0 successful operations.\n"
            "0 derived errors ignored.",
            "row 1 is bad",
        ),
    ],
)
def test_a_message_of_tensorflow_is_told_without_its_graph(message, sentence):
    assert _faults.sentence(message) == sentence


DANGLING, LOOP = "train/ant/dangling.jpg", "train/ant/loop.jpg"


def test_what_is_no_image_file(photos):
    folder = photos / "train" / "ant"
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")  # reading it would never end
    (folder / "to-pipe.jpg").symlink_to("pipe.jpg")
    (folder / "dangling.jpg").symlink_to("nowhere")
    (folder / "loop.jpg").symlink_to("loop.jpg")

    source = open_source(DataConfig(f"folder:{photos}"))

    assert len(source.catalogue.keys) == 24
    assert {(one.why, one.example) for one in source.left_out} == {
        ("that cannot be read (No such file or directory)", DANGLING),
        ("that cannot be read (Too many levels of symbolic links)", LOOP),
        ("no files but pipes or devices", "train/ant/pipe.jpg"),
    }


def open_training(photos, workdir, cache):
    from hierkeras.models.registry import ModelConfig
    from hierkeras.recipe.training import Training
    from hierkeras.training.context import Context, ContextConfig
    from hierkeras.training.spec import JobSpec

    context = Context(
        ContextConfig(
            str(workdir), DataConfig(f"folder:{photos}"), 8, cache=cache
        )
    )
    classes = ("ant", "bee")
    spec = JobSpec(
        classes=classes,
        network=ModelConfig("small_cnn", 8, 0.5),
        training=Training(
            batch_size=4, max_epochs=1, schedule="cosine", augment="none"
        ),
        data=context.catalogue.fingerprint(classes),
    )
    context.images.prepare(np.arange(len(context.catalogue.keys)))
    return spec, context


def train(spec, context):
    from hierkeras.training.run_job import run_job

    return run_job(spec, "root first", context)


@pytest.mark.slow
def test_images_that_vanish_while_they_are_trained_on(photos, tmp_path):
    spec, context = open_training(photos, tmp_path / "w", "none")
    photos.rename(tmp_path / "away")

    with pytest.raises(UserError, match=r"folder '.*photos'.* is gone"):
        train(spec, context)

    (tmp_path / "away").rename(photos)
    index = context.catalogue.indices("train", ["bee"])[0]
    name = str(context.catalogue.keys[index])
    (photos / name).unlink()
    with pytest.raises(
        UserError, match=rf"job \w+ \(root first\): .*{name}: No such file"
    ):
        train(spec, context)
    (photos / name).write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(UserError, match=rf"{name} can no longer be decoded"):
        train(spec, context)
    assert not context.store.has_job(spec.job)


@pytest.mark.slow
def test_faults_in_a_worker(photos, tmp_path):
    spec, context = open_training(photos, tmp_path / "w", "none")
    executor = executors.ProcessExecutor([{}])
    fault_of_ours = dataclasses.replace(context.config, image_size="8")

    def run():
        asyncio.run(executor.run(spec, "root first", context))

    try:
        photos.rename(tmp_path / "away")
        with pytest.raises(UserError, match=r"no folder '.*photos'"):
            run()
        (tmp_path / "away").rename(photos)
        context.config = fault_of_ours
        with pytest.raises(RuntimeError, match=r"(?s)root first.*Traceback"):
            run()
    finally:
        executor.close()


@pytest.mark.slow
def test_images_in_memory_are_not_missed(photos, tmp_path):
    spec, context = open_training(photos, tmp_path / "w", "memory")
    photos.rename(tmp_path / "away")

    assert train(spec, context).epochs == 1


def test_a_training_goes_on_without_tensorboard(photos, tmp_path, capfd):
    spec, context = open_training(photos, tmp_path / "w", "memory")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "tensorboard").write_text("in the way")

    assert train(spec, context).epochs == 1

    said = capfd.readouterr().err
    assert said.count("TensorBoard's files in") == 1
    assert "the training goes on without them" in said
