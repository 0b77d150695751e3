"""Runs that are killed, what they lost, and what there is in the end."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import psutil

from hierkeras.tree.store import Store

ROOT = Path(__file__).resolve().parent.parent
_EPOCH = re.compile(r"^\[(.+)\] epoch (\d+)/(\d+): .+ images/s$")
_ON = re.compile(r"^\[(.+)\] goes on after (?:epoch (\d+)|\d+ batches)")
_STEP = re.compile(r"^generation \d+ is there$")
_EMBEDDED = re.compile(r"^\[features\] [\d,]+ of [\d,]+ (images|crops), ")
_SOLVED = re.compile(
    r"^\[[\w. ]+\] (solved from|by photos of a class,) .* named right"
)
_CHOSEN = re.compile(
    r"^(chosen for|data digits:|--class_batches leaves|augment=none) "
)
# It tidies up after a parent of workers that was killed.
_PYTHON = re.compile(r".*resource_tracker|  warnings\.warn\('resource_tracker")


class Run:
    """An increment in a process of its own.

    Args:
        flags: Its flags.
        stderr: A file for what it says.
        event: Before what it kills itself, as `killing.py` knows it.
    """

    def __init__(
        self, flags: Sequence[str], stderr: Path, event: str | None = None
    ) -> None:
        how = ["-m", "hierkeras.increment"]
        if event is not None:
            how = [str(ROOT / "tests" / "killing.py"), event, "increment"]
        self._stderr = stderr
        with stderr.open("w") as file:
            self._process = psutil.Popen(
                [sys.executable, *how, *flags],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        self._worked = 0.0

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self._stderr.read_text()

    def wait(self, seconds: float = 600) -> int | None:
        """Its exit status; None if it still runs after so long."""
        try:
            return self._process.wait(seconds)
        except psutil.TimeoutExpired:
            return None

    def work(self, seconds: float) -> int | None:
        """As `wait`, until it has had so much of the processors' time.

        On a busy machine, too, it is then where it would be on a quiet one.
        """
        while self.processor_seconds < seconds:
            if (status := self.wait(0.2)) is not None:
                return status
        return None

    @property
    def processor_seconds(self) -> float:
        """Time of the processors that it and its workers have had."""
        total = 0.0
        try:
            workers = self._process.children()
        except psutil.Error:  # it has just ended
            workers = []
        for process in (self._process, *workers):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
                total += times.children_user + times.children_system
        self._worked = max(self._worked, total)
        return self._worked

    def workers(self) -> list[psutil.Process]:
        """The processes that it started to train in."""
        found = []
        for child in self._process.children():
            try:
                if any("spawn_main" in part for part in child.cmdline()):
                    found.append(child)
            except psutil.Error:  # it has just ended
                pass
        return found

    def kill(self) -> list[psutil.Process]:
        """Kills it alone; returns those of its own that will not end."""
        try:
            children = self._process.children(recursive=True)
        except psutil.Error:
            children = []
        self._process.kill()
        self.wait()
        _, alive = psutil.wait_procs(children, timeout=20)
        for process in alive:
            process.kill()
        return alive


@dataclasses.dataclass
class Victim:
    """A work directory whose increments are killed.

    Args:
        workdir: The work directory.
        flags: Of its increments, beside `--workdir`.
        runs: Its increments so far.
    """

    workdir: Path
    flags: Sequence[str]
    runs: list[Run] = dataclasses.field(default_factory=list)
    _jobs: dict[str, int] = dataclasses.field(default_factory=dict)

    def start(self, event: str | None = None) -> Run:
        """Starts an increment, the same command each time."""
        number = len(self.runs)
        self.runs.append(
            Run(
                (*self.flags, f"--workdir={self.workdir}"),
                self.workdir.parent / f"{self.workdir.name}-{number}.stderr",
                event,
            )
        )
        return self.runs[-1]

    def check_kept(self) -> None:
        """What was finished is as it was; a generation is there as a whole."""
        for job, inode in self._jobs.items():
            assert (self._models / job).stat().st_ino == inode, job
        self._jobs = {
            path.name: path.stat().st_ino for path in self._models.glob("[!.]*")
        }
        for folder in self._models.glob("[!.]*"):
            for line in (folder / "SHA256SUMS").read_text().splitlines():
                expected, name = line.split("  ")
                raw = (folder / name).read_bytes()
                assert hashlib.sha256(raw).hexdigest() == expected, name
        latest = Store(self.workdir).latest()
        if latest is not None:
            for generation in Store(self.workdir).history(latest):
                assert {n.job for n in generation.tree.nodes()} <= set(
                    self._jobs
                )

    @property
    def processor_seconds(self) -> float:
        """Time of the processors that all its increments have had."""
        return sum(run.processor_seconds for run in self.runs)

    def epochs_again(self) -> int:
        """Epochs told of twice: those that a kill took from a training.

        It may be the last one told of only, and only between its line and
        its checkpoint.
        """
        last: dict[str, int] = {}
        again = 0
        for run in self.runs:
            before = dict(last)
            for line in run.said.splitlines():
                if found := _EPOCH.match(line):
                    label, epoch = found[1], int(found[2])
                    assert epoch >= before.get(label, 0), line
                    again += label in last and epoch <= last[label]
                    last[label] = epoch
                elif found := _ON.match(line):
                    label, epoch = found[1], int(found[2] or 0)
                    # Its line may have been cut off, its checkpoint not.
                    assert epoch >= last.get(label, 0) - 1, line
        return again

    @property
    def _models(self) -> Path:
        return self.workdir / "models"


def doing(said: str) -> str:
    """What an increment was doing, as far as it has said."""
    lines = said.splitlines()
    if not lines or _CHOSEN.match(lines[-1]):
        return "start-up, or a first epoch after it"
    if found := _EPOCH.match(lines[-1]):
        if found[2] == found[3]:
            return "after a training's last epoch"
        return "within a training"
    return "within a training" if _ON.match(lines[-1]) else "after a step"


def complaints(said: str) -> list[str]:
    """The lines that tell of no progress, less what Python itself says."""
    known = (
        *(_CHOSEN, _EPOCH, _ON, _STEP),
        *(_EMBEDDED, _SOLVED, _PYTHON),
    )
    return [
        line
        for line in said.splitlines()
        if line and not any(pattern.match(line) for pattern in known)
    ]


def debris(workdir: Path) -> list[str]:
    """What killed runs left and no later one has removed."""
    left = [
        *workdir.rglob(".tmp-*"),
        *workdir.glob("checkpoints/*"),
        *workdir.glob("LOCK.holder"),
    ]
    return [str(path.relative_to(workdir)) for path in left]


def final(workdir: Path) -> dict[str, Any]:
    """All that two increments must agree on: bits, but no times."""
    generations = {
        path.name: _without(
            json.loads(path.read_text()), {"sha256", "seconds", "reused"}
        )
        for path in (workdir / "generations").iterdir()
    }
    for generation in generations.values():
        # Workers finish in any order.
        generation["step"]["jobs"].sort(key=lambda use: use["job"])
    return {
        "LATEST": (workdir / "LATEST").read_text(),
        "versions": sorted(
            path.name for path in workdir.glob("serving/[0-9]*")
        ),
        "generations": generations,
        "jobs": {
            folder.name: {
                "job": _without(_json(folder / "job.json"), {"seconds"}),
                "history": _without(
                    _json(folder / "history.json"), {"images_per_second"}
                ),
                "weights": weights(folder / "model.keras")
                if (folder / "model.keras").exists()
                else solution(folder),
            }
            for folder in (workdir / "models").iterdir()
        },
    }


def weights(model: Path) -> dict[str, bytes]:
    """The bytes of each tensor in a file that Keras wrote."""
    found = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes()

    with zipfile.ZipFile(model) as archive:
        raw = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(raw) as file:
        file.visititems(visit)
    assert found
    return found


def solution(folder: Path) -> dict[str, bytes]:
    """The bytes of a head that was solved, and of its sums."""
    names = ("head.npz", "sums.npz", "classes.json")
    return {name: (folder / name).read_bytes() for name in names}


def evaluation(text: str) -> dict[str, Any]:
    """What `evaluate --format=json` says, but for times and reuse."""
    return _without(json.loads(text), {"seconds", "jobs_reused"})


def table(title: str, killed: Sequence[str]) -> str:
    """What was killed when, as docs/reliability.md has it.

    Args:
        title: Of the first column.
        killed: For each kill, what was going on.
    """
    counted = collections.Counter(killed)
    lines = [f"| {title} | kills |", "|---|---|"]
    lines += [f"| {name} | {times} |" for name, times in counted.items()]
    return "\n".join([*lines, f"| all | {counted.total()} |"])


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def _without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {
            k: _without(v, names) for k, v in value.items() if k not in names
        }
    if isinstance(value, list):
        return [_without(item, names) for item in value]
    return value
