"""Ctrl-C and SIGTERM, sent to an increment that is training."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

from hierkeras.tree.store import Store
from tests import survival
from tests.conftest import ROOT

FLAGS = (
    "--flagfile=flags/digits.flags",
    "--max_epochs=3",
    "--width_multiplier=0.5",
    "--deterministic",
    "--noexport",
)
# Of processor time, which a busy machine does not stretch.
SECONDS_TO_END = 5.0


def interrupt(workdir, number, after, *flags):
    """Sends a signal once a line of stderr begins so; returns stderr."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "hierkeras.increment"),
            *(*FLAGS, f"--workdir={workdir}", *flags),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    told = []
    with process:
        for line in process.stderr:
            told.append(line)
            if line.startswith(after):
                break
        workers = psutil.Process(process.pid).children(recursive=True)
        before = sum(psutil.Process(process.pid).cpu_times()[:2])
        process.send_signal(number)
        used = before
        while process.poll() is None:
            used = max(used, sum(psutil.Process(process.pid).cpu_times()[:2]))
            time.sleep(0.02)
        told += process.stderr.readlines()
        assert process.stdout.read() == ""
    assert process.returncode == 128 + number, told
    assert used - before < SECONDS_TO_END
    _, left = psutil.wait_procs(workers, timeout=SECONDS_TO_END)
    assert not left
    return told


BEGINNINGS = ("[", "generation", "data digits", "chosen for ", "TensorBoard")


def check_told(told):
    *progress, last = told
    assert last.startswith("error: interrupted; run the same command again")
    assert all(line.startswith(BEGINNINGS) for line in progress), told


@pytest.mark.slow
def test_sigterm_ends_a_training_and_keeps_what_it_did(tmp_path):
    told = interrupt(tmp_path, signal.SIGTERM, "[root first] epoch 1/3")

    check_told(told)
    store = Store(tmp_path)
    assert store.latest() is None
    assert len(list(store.checkpoints.iterdir())) == 1
    assert not (tmp_path / "LOCK.holder").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "after"),
    [
        ([], "[root flat] epoch 1/3"),
        (
            ["--executor=process", "--num_workers=2"],
            "[root.1 leaf] epoch 1/3",
        ),
    ],
    ids=["inline", "process"],
)
def test_the_same_command_ends_as_if_nothing_had_happened(
    tmp_path, run_binary, flags, after
):
    workdir, whole = tmp_path / "cut", tmp_path / "whole"
    told = interrupt(workdir, signal.SIGINT, after, *flags)
    check_told(told)

    again = run_binary("increment", *FLAGS, f"--workdir={workdir}", *flags)

    assert again.status == 0, again.stderr
    assert "goes on after" in again.stderr
    expected = run_binary("increment", *FLAGS, f"--workdir={whole}", *flags)
    assert expected.status == 0, expected.stderr
    assert survival.final(workdir) == survival.final(whole)
    one, other = (
        survival.evaluation(
            run_binary("evaluate", f"--workdir={path}", "--format=json").stdout
        )
        for path in (workdir, whole)
    )
    assert one == other
