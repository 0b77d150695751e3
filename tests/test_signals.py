"""The first Ctrl-C or SIGTERM ends in order, the second at once."""

import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

BOTH = [signal.SIGINT, signal.SIGTERM]
# Of one call that lets other threads run, and that no handler interrupts.
IN_C = "hashlib.pbkdf2_hmac('sha256', b'', b'', 2_000_000_000)"
IN_TENSORFLOW = """(
    print('starting', flush=True),
    importlib.import_module('tensorflow'),
    print('working', flush=True),
    sys.modules['tensorflow'].function(
        lambda: sys.modules['tensorflow'].while_loop(
            lambda i: i >= 0, lambda i: (i + 1) % 7, [0]
        )
    )(),
)"""
BINARY = """
import hashlib, importlib, sys, time
from hierkeras import _main

def main():
    print("working", flush=True)
    {work}
    print("done", flush=True)

_main.run(main)
"""


def start(work, lines=1):
    """A process that does some work in its main thread, once it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", BINARY.format(work=work)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(lines):
        process.stdout.readline()
    time.sleep(0.3)  # until it is in that call
    return process


def end(process):
    """Status, stdout and stderr of a process that has to end soon."""
    try:
        stdout, stderr = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, stdout, stderr


@pytest.mark.parametrize("number", BOTH)
def test_the_first_signal_ends_in_order(number):
    process = start(
        "try: time.sleep(60)\n    finally: print('cleaned up', flush=True)"
    )
    process.send_signal(number)

    status, stdout, stderr = end(process)

    assert (status, stdout) == (128 + number, "cleaned up\n")
    assert stderr.startswith("error: interrupted; run the same command again")
    assert stderr.count("\n") == 1


def second(process, *numbers):
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.7)
    return end(process)


@pytest.mark.parametrize("numbers", [BOTH, BOTH[::-1], BOTH[:1] * 2])
def test_the_second_ends_at_once_whatever_runs(numbers):
    process = start(IN_C)

    status, stdout, stderr = second(process, *numbers)

    assert (status, stdout) == (128 + numbers[1], "")
    assert stderr.startswith("error: ended at once, by a second signal; ")
    assert stderr.count("\n") == 1


@pytest.mark.slow
def test_the_second_ends_an_endless_graph():
    process = start(IN_TENSORFLOW, lines=3)
    status, _, stderr = second(process, signal.SIGINT, signal.SIGINT)
    assert status == 130
    assert "error: ended at once" in stderr


def test_the_second_ends_a_process_whose_errors_nobody_reads():
    # Its main thread waits for room in the pipe.
    process = start("sys.stderr.write('x' * 10_000_000)")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.7)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143
    process.communicate()


def test_two_of_the_same_moment_are_one():
    # As `timeout` sends them, to its child and then to the group.
    process = start("try: time.sleep(60)\n    finally: time.sleep(1)")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)

    status, _, stderr = end(process)

    assert status == 143
    assert stderr.startswith("error: interrupted; ")


def test_when_the_work_is_done_a_signal_ends_the_process():
    # As a thread of a library keeps it.
    process = start(
        "import threading; threading.Thread(target=time.sleep, args=[60])"
        ".start()",
        lines=2,
    )
    process.send_signal(signal.SIGINT)
    status, _, stderr = end(process)
    assert (status, stderr) == (-signal.SIGINT, "")
