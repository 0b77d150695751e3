"""How binaries meet their user: help, flags, exit status, errors."""

import os
import re
import signal
import subprocess
import sys
import types

import pytest

from hierkeras import increment
from hierkeras._errors import UsageError, UserError
from tests.conftest import ROOT

OWN_FLAGS = {
    "evaluate": {"generation", "split"},
    "increment": {"recipe", "show", "class_batches", "growth", "backbone"},
}
SHARED_FLAGS = {
    *("workdir", "dataset", "routing", "contention", "set", "format")
}


@pytest.mark.parametrize("name", OWN_FLAGS)
def test_help_shows_the_flags_of_its_binary_without_tensorflow(
    run_binary, name
):
    outcome = run_binary(name, "--help", python=("-X", "importtime"))
    assert outcome.status == 0
    assert f"python -m hierkeras.{name}" in outcome.stdout
    shown = flags_in(outcome.stdout)
    assert shown >= OWN_FLAGS[name] | SHARED_FLAGS
    assert not shown & {"verbosity", "logtostderr", "pdb"}  # absl's own
    if name == "evaluate":
        assert shown == OWN_FLAGS[name] | SHARED_FLAGS
    # A screen; --set reaches the rest.
    assert len(shown) <= 40
    assert "hierkeras.tree.store" in outcome.imported
    assert not outcome.imported & {"tensorflow", "keras"}


ALL_FLAGS = {
    "doctor": {"workdir", "format"},
    "serve": {
        "model_base_path",
        "model_name",
        "host",
        "port",
        "file_system_poll_wait_seconds",
        "grpc_max_threads",
        "max_megapixels",
        "max_message_mb",
        "max_queued_requests",
        "max_request_seconds",
        "max_rows",
        "rest_api_port",
        "trust",
    },
    "predict": {
        "server",
        "model",
        "saved_model",
        "timeout_seconds",
        "images_per_request",
        "top",
        "min_score",
        "trust",
        "format",
    },
}


@pytest.mark.parametrize("name", ALL_FLAGS)
def test_what_neither_grows_nor_evaluates_takes_few_flags(run_binary, name):
    outcome = run_binary(name, "--help", python=("-X", "importtime"))
    assert outcome.status == 0
    assert f"python -m hierkeras.{name}" in outcome.stdout
    assert flags_in(outcome.stdout) == ALL_FLAGS[name]
    assert "hierkeras._main" in outcome.imported
    assert not outcome.imported & {"tensorflow", "keras", "grpc"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--dataset=digits"], "--workdir"),
        (["--workdir=w", "--dataset=digits", "surplus"], "'surplus'"),
        (["--workdir=w", "--grwth=flat"], "grwth"),
        (["--workdir=w", "--growth=sideways"], "clone, compete or flat"),
        (["--workdir=w", "--image_size=large"], "--image_size"),
        (["--workdir=w", "--batch_size=-1"], "number from 0 to 1048576"),
        (
            ["--workdir=w", "--recipe=fotos"],
            "<photos|pretrained|stream|exemplars|",
        ),
        (["--flagfile=flags/missing.flags"], "flags/missing.flags"),
    ],
)
def test_flags_that_make_no_sense_are_a_usage_error(run_main, arguments, named):
    run_main(increment, *arguments).check_refused(2, named)


def flags_in(text: str) -> set[str]:
    """The flags that a help text lists: its lines that begin with one."""
    return set(re.findall(r"^\s*--(?:\[no\])?(\w+)", text, re.M))


def test_a_flag_error_tells_where_the_valid_flags_are(run_main):
    outcome = run_main(increment, "--workdir=w", "--grwth=flat")
    assert "--help" in outcome.stderr


@pytest.mark.parametrize(
    ("error", "status"),
    [(UserError("two\nlines"), 1), (UsageError("two\nlines"), 2)],
)
def test_a_mistake_is_one_line_and_an_exit_status(run_main, error, status):
    outcome = run_main(binary(error), "--workdir=w")
    outcome.check_refused(status, "error: two lines")


def test_a_binary_that_returns_has_succeeded(run_main):
    assert run_main(binary(None), "--workdir=w").status == 0


def test_a_tool_without_a_work_directory_can_fail():
    # `run_main` stays in this process, where --workdir is always defined.
    fails = (
        "import errno; from hierkeras import _main\n"
        "def main(): raise OSError(errno.ENOSPC, 'No space', 'table.md')\n"
        "_main.run(main)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", fails],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert outcome.returncode == 1
    assert "Traceback" not in outcome.stderr
    assert outcome.stderr.startswith("error: ")
    assert "table.md" in outcome.stderr


@pytest.mark.parametrize("given", [[], ["a", "b c"], ["-", "a"]])
def test_a_binary_can_take_arguments(run_main, given):
    received = []
    module = types.ModuleType("binary")
    module.__file__ = "binary.py"
    module.main = lambda arguments: received.append(arguments)
    assert run_main(module, "--workdir=w", *given).status == 0
    assert received == [given]


def test_a_binary_that_takes_none_refuses_them(run_main):
    outcome = run_main(binary(None), "--workdir=w", "surplus")
    outcome.check_refused(2, "'surplus'")


def test_a_reader_that_has_seen_enough_gets_no_traceback(tmp_path):
    code = (
        "from hierkeras import _main\n"
        "_main.run(lambda: [print('line ' * 1000) for _ in range(1000)])"
    )
    shell = f'"{sys.executable}" -c "{code}" | head -n 1 > /dev/null'

    done = subprocess.run(
        shell, shell=True, cwd=ROOT, capture_output=True, text=True
    )

    assert done.stderr == ""


def test_a_terminal_without_a_letter_shows_its_code():
    code = "from hierkeras import _main; _main.run(lambda: print('b\u00e9'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "b\\xe9\n"), done.stderr


def test_an_interruption_is_not_lost_in_a_callback():
    # As in a training: the garbage collector ran, and Ctrl-C came just then.
    code = """if True:
        import os, signal, time, weakref
        from hierkeras import _main

        class Garbage: pass

        def main():
            garbage = Garbage()
            def forget(_):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.01)
                print("never reached")
            reference = weakref.ref(garbage, forget)
            del garbage
            print("goes on", flush=True)
            time.sleep(50)

        _main.run(main)"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout == "goes on\n"
    assert done.stderr.startswith("error: interrupted; ")
    assert done.stderr.count("\n") == 1


def test_a_fault_of_ours_is_not_hidden(run_main):
    with pytest.raises(ZeroDivisionError):
        run_main(binary(ZeroDivisionError()), "--workdir=w")


def binary(error: Exception | None) -> types.ModuleType:
    """A binary that ends with an error."""

    def main() -> None:
        if error is not None:
            raise error

    module = types.ModuleType("binary")
    module.__file__ = "binary.py"
    module.main = main
    return module
