"""Binaries under the limits that a shell or a scheduler sets."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests import survival
from tests.conftest import ROOT

AGAIN = "run the same command again: what is finished is kept"
SMALL = (
    "from etils import epath; from hierkeras import _main\n"
    "from hierkeras.tree import atomic\n"
    "def main(): atomic.write_file(epath.Path('{path}'), bytes(100_000))\n"
    "_main.run(main)"
)


def limited(limit, *arguments):
    """Runs Python under `ulimit`, with some arguments."""
    done = subprocess.run(
        [
            *("bash", "-c", f'ulimit {limit} && exec "$@"', "bash"),
            *(sys.executable, *arguments),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stderr


def test_a_file_that_is_too_large(tmp_path):
    path = tmp_path / "file"

    status, said = limited("-f 8", "-c", SMALL.format(path=path))

    assert (status, said) == (
        1,
        f"error: {path}: File too large; allow larger files (ulimit -f) and "
        f"{AGAIN}\n",
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kilobytes", "place"),
    [
        (0, "LOCK.holder"),
        (8, r"checkpoints/\w+.checkpoint"),
        (64, r"models/\w+"),
        (200, "serving"),
    ],
)
def test_an_increment_whose_files_are_too_large(
    digits_tree, tmp_path, kilobytes, place
):
    workdir = tmp_path / "workdir"
    command = (
        *("-m", "hierkeras.increment", *digits_tree.flags),
        *(f"--workdir={workdir}", "--class_batches=6"),
    )

    status, said = limited(f"-f {kilobytes}", *command)

    assert status == 1
    *progress, error = said.splitlines()
    assert re.search(rf"^error: .*/workdir/{place}: File too large; ", error)
    assert AGAIN in error
    assert not any("Traceback" in line for line in progress)
    assert limited("-f unlimited", *command)[0] == 0
    assert survival.debris(workdir) == []


@pytest.mark.parametrize("name", ["evaluate", "export", "increment"])
def test_an_address_space_in_which_tensorflow_would_abort(
    digits_tree, tmp_path, name
):
    workdir = tmp_path / "workdir"
    shutil.copytree(digits_tree.workdir, workdir)
    (workdir / "LATEST").write_text("000001\n")
    flags = digits_tree.flags if name == "increment" else ()

    status, said = limited(
        "-v 2000000",
        *("-m", f"hierkeras.{name}", *flags, f"--workdir={workdir}"),
    )

    assert status == 1
    error = said.splitlines()[-1]
    assert error.startswith("error: this process may use 2.0 GB of address ")


@pytest.mark.slow
def test_an_address_space_that_is_enough(digits_tree):
    workdir = f"--workdir={digits_tree.workdir}"
    # A little more than what is asked for, as other machines need more.
    status, said = limited("-v 3500000", "-m", "hierkeras.evaluate", workdir)
    assert status == 0, said
