"""What every test shares: the environment, and slow tests opting in."""

import contextlib
import dataclasses
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from unittest import mock

# Before anything imports TensorFlow, here or in a process that a test starts.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# As `startup.start_tensorflow` sets it: processes are compared bit for bit.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# The tests use all cores already: one process each. Divided kernels would only
# wait for each other, a fifth of the time.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
# Several test processes share a GPU, where there is one.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import filelock
import hypothesis
import pytest
from absl.testing import flagsaver

hypothesis.settings.register_profile(
    "repeatable", deadline=None, derandomize=True, max_examples=50
)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow",
        action="store_true",
        help="run the tests marked slow as well",
    )


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spares fast tests that TensorFlow rewrites each graph in this process.

    A graph that runs once or twice costs less as it is: a fifth of their time.
    Processes that tests start, and slow tests, do as users' processes do.
    """
    tf = sys.modules.get("tensorflow")
    if tf is not None and not session.config.getoption("--slow"):
        tf.config.optimizer.set_experimental_options(
            {"disable_meta_optimizer": True}
        )


ROOT = Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run of a binary ended, and what it said."""

    status: int
    stdout: str
    stderr: str

    @property
    def imported(self) -> set[str]:
        """What a run with `-X importtime` imported."""
        return set(re.findall(r"\| +([\w.]+)$", self.stderr, re.M))

    def check_refused(self, status: int, *named: str) -> None:
        """A user's mistake: one line, which names what is wrong."""
        assert self.status == status, self.stderr
        assert self.stdout == ""
        assert self.stderr.count("\n") == 1, self.stderr
        assert self.stderr.startswith("error: ")
        for name in named:
            assert name in self.stderr


@pytest.fixture(scope="session")
def run_binary() -> Callable[..., Outcome]:
    """Runs `python -m hierkeras.NAME` from the root of the repository."""

    def run(name: str, *arguments: str, python: tuple[str, ...] = ()):
        done = subprocess.run(
            [sys.executable, *python, "-m", f"hierkeras.{name}", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@contextlib.contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Takes back that a binary's end leaves signals to the system."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def run_main() -> Callable[..., Outcome]:
    """As `run_binary`, of a module in this process, which saves seconds."""
    from hierkeras import _main

    def run(module: ModuleType, *arguments: str) -> Outcome:
        argv = [module.__file__, *arguments]
        with (
            _signal_handlers_kept(),
            flagsaver.flagsaver(),
            contextlib.chdir(ROOT),
            mock.patch.object(sys, "argv", argv),
            contextlib.redirect_stdout(io.StringIO()) as stdout,
            contextlib.redirect_stderr(io.StringIO()) as stderr,
            pytest.raises(SystemExit) as end,
        ):
            _main.run(module.main)
        return Outcome(
            end.value.code or 0, stdout.getvalue(), stderr.getvalue()
        )

    return run


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes | None] | None]:
    """All that is in a folder, path by path; None if there is no folder."""

    def read(folder: Path) -> dict[str, bytes | None] | None:
        if not folder.exists():
            return None
        return {
            str(path.relative_to(folder)): path.read_bytes()
            if path.is_file()
            else None
            for path in sorted(folder.rglob("*"))
        }

    return read


def write_images(folder: Path, numbers: Iterable[int], seed: int) -> None:
    """Writes images of 8x8 random pixels, each named by its number."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        random = np.random.default_rng([seed, number])
        pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@dataclasses.dataclass(frozen=True)
class GrownTree:
    """A work directory, the flags that grew it, and how that went."""

    workdir: Path
    flags: tuple[str, ...]
    outcome: Outcome


@pytest.fixture(scope="session")
def digits_tree(run_binary, tmp_path_factory) -> GrownTree:
    """Six digits and then four, by a clone increment; exported.

    Tests only read it.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of all test processes: one of them grows it
    workdir, outcome = shared / "digits", shared / "digits.json"
    flags = (
        "--flagfile=flags/digits.flags",
        "--max_epochs=2",
        "--width_multiplier=0.5",
        "--max_old_class_regression=1",
        "--deterministic",
        f"--workdir={workdir}",
    )
    with filelock.FileLock(shared / "digits.lock"):
        if not outcome.exists():
            grown = run_binary("increment", *flags)
            outcome.write_text(json.dumps(dataclasses.asdict(grown)))
    return GrownTree(workdir, flags, Outcome(**json.loads(outcome.read_text())))


@pytest.fixture(scope="session")
def photo_tree(run_main, tmp_path_factory) -> GrownTree:
    """Two classes of a folder of images, one of which cannot be read."""
    from hierkeras import increment

    root = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate(("bee", "ant")):
        write_images(root / "images" / name, range(8), seed)
    (root / "images" / "bee" / "broken.png").write_bytes(
        b"\x89PNG\r\n\x1a\nbroken"
    )
    flags = (
        f"--dataset=folder:{root / 'images'}",
        "--image_size=8",
        "--width_multiplier=0.5",
        "--max_epochs=1",
        "--batch_size=4",
        "--augment=none",
        "--noexport",
        f"--workdir={root / 'workdir'}",
    )
    outcome = run_main(increment, *flags, "--format=json")
    return GrownTree(root / "workdir", flags, outcome)
