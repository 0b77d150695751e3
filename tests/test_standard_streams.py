"""Binaries whose standard streams are closed, or that nobody reads."""

import shutil
import signal
import socket
import subprocess
import sys

import pytest

from hierkeras.tree.store import Store
from tests.conftest import ROOT, write_images
from tests.serving.served_tree import until

STDIN, STDOUT, STDERR = "<&-", ">&-", "2>&-"
CLOSED = [(STDIN,), (STDOUT,), (STDERR,), (STDIN, STDOUT, STDERR)]
NAMES = ["stdin", "stdout", "stderr", "all"]
BINARIES = (
    *("increment", "evaluate", "report", "export", "predict", "serve"),
    "doctor",
)
PIPED = 128 + signal.SIGPIPE
ECHO = """
import os, sys
from hierkeras import _main

def main():
    assert sys.stdin.read() == ""
    with open(os.devnull) as file:
        assert file.fileno() > 2
    assert all(os.get_inheritable(number) for number in range(3))
    print("out", flush=True)
    print("err", file=sys.stderr)
    os.write(1, b"out of C++\\n")
    sys.exit(7)

_main.run(main)
"""

# All begin and end alike; one of them is enough for every day.
some_binaries = pytest.mark.parametrize(
    "name",
    [
        name
        if name == "increment"
        else pytest.param(name, marks=pytest.mark.slow)
        for name in BINARIES
    ],
)
# All of them at once is the worst.
closed_streams = pytest.mark.parametrize(
    "closed",
    [pytest.param(one, marks=pytest.mark.slow) for one in CLOSED[:-1]]
    + CLOSED[-1:],
    ids=NAMES,
)


def shell(command, *arguments):
    """Runs a shell command in which "$@" is Python with some arguments."""
    return subprocess.run(
        ["bash", "-c", command, "bash", sys.executable, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def run(closed, name, *flags):
    """Runs a binary without some of its streams."""
    module = ("-m", f"hierkeras.{name}")
    return shell(f'"$@" {" ".join(closed)}', *module, *flags)


@pytest.mark.parametrize("closed", CLOSED, ids=NAMES)
def test_what_is_closed_is_the_null_device(closed):
    done = shell(f'"$@" {" ".join(closed)}', "-c", ECHO)

    assert done.returncode == 7, done.stderr
    out, err = "out\nout of C++\n", "err\n"
    assert done.stdout == ("" if STDOUT in closed else out)
    assert done.stderr == ("" if STDERR in closed else err)


@closed_streams
@some_binaries
def test_help_and_mistakes(closed, name):
    done = run(closed, name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (STDOUT not in closed)

    done = run(closed, name, "--nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == (STDERR not in closed)


@some_binaries
def test_help_that_nobody_reads(name):
    command = '"$@" | true; echo ${PIPESTATUS[0]}'
    done = shell(command, "-m", f"hierkeras.{name}", "--help")
    assert (int(done.stdout), done.stderr) == (PIPED, "")


def test_help_on_a_full_disk():
    done = shell('"$@" > /dev/full', "-m", "hierkeras.increment", "--help")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_progress_that_nobody_reads(digits_tree):
    # What it says on standard error comes before anything is printed.
    command = '"$@" 2>&1 | true; echo ${PIPESTATUS[0]}'
    done = shell(command, "-m", "hierkeras.increment", *digits_tree.flags)
    assert (int(done.stdout), done.stderr) == (PIPED, "")


@closed_streams
def test_a_work_directory_is_told_of(closed, digits_tree, contents):
    before = contents(digits_tree.workdir)
    for name in ("doctor", "increment"):
        flags = digits_tree.flags if name == "increment" else ()
        done = run(closed, name, f"--workdir={digits_tree.workdir}", *flags)
        assert done.returncode == 0, done.stderr
        assert bool(done.stdout) == (STDOUT not in closed)
    assert contents(digits_tree.workdir) == before


@pytest.mark.slow
@closed_streams
def test_work_is_done(closed, digits_tree, tmp_path):
    workdir = tmp_path / "workdir"
    shutil.copytree(digits_tree.workdir, workdir)
    (workdir / "LATEST").write_text("000001\n")
    shutil.rmtree(workdir / "serving")
    write_images(tmp_path, [1], 0)
    work = (
        ("increment", *digits_tree.flags, f"--workdir={workdir}"),
        ("evaluate", f"--workdir={workdir}"),
        ("export", f"--workdir={workdir}"),
        (
            "predict",
            f"--saved_model={workdir / 'serving' / '2'}",
            str(tmp_path / "1.png"),
        ),
        ("doctor", f"--workdir={workdir}"),
    )
    for arguments in work:
        done = run(closed, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        assert bool(done.stdout) == (STDOUT not in closed), arguments
    # The lock holds nothing that was meant for somebody to read.
    assert (workdir / "LOCK").read_bytes() == b""
    assert Store(workdir).latest() == Store(digits_tree.workdir).latest()


@pytest.mark.slow
@closed_streams
def test_a_server_answers(closed, digits_tree):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            *("bash", "-c", f'exec "$@" {" ".join(closed)}', "bash"),
            *(sys.executable, "-m", "hierkeras.serve", f"--port={port}"),
            f"--model_base_path={digits_tree.workdir / 'serving'}",
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: process.poll() is None and is_listening(port))
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def is_listening(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
