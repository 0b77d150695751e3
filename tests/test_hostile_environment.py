"""Binaries where there is no home, no place to write, or nobody they know."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, write_images

ENVIRONMENTS = {
    "no variables": 'exec env -i PATH="$PATH" PYTHONPATH="$PYTHONPATH" "$@"',
    "no locale": 'export LC_ALL=C LANG=C PYTHONUTF8=0; exec "$@"',
    "no home": 'unset HOME; exec "$@"',
    "unwritable home": 'HOME=/proc exec "$@"',
    "no folder for temporary files": 'TMPDIR=/nowhere exec "$@"',
    "no working directory": (
        'folder=$(mktemp -d); cd "$folder"; rmdir "$folder"; exec "$@"'
    ),
    "unwritable working directory": 'cd /proc; exec "$@"',
    "no terminal": 'exec setsid -w "$@" <&-',
}
# Somebody without a name, who may read everything and write nothing.
STRANGER = (
    "exec setpriv --reuid=54321 --regid=54321 --clear-groups "
    "--inh-caps=+dac_read_search --ambient-caps=+dac_read_search "
    'env -u HOME -u USER -u LOGNAME "$@"'
)
ALL_AT_ONCE = (
    'folder=$(mktemp -d); cd "$folder"; rmdir "$folder"; '
    'exec env -i LC_ALL=C TMPDIR=/nowhere PYTHONPATH="$PYTHONPATH" '
    'setsid -w "$@" <&-'
)


def run(environment, name, *flags):
    """Runs a binary from a shell in which "$@" is that binary."""
    done = subprocess.run(
        [
            *("bash", "-c", environment, "bash"),
            *(sys.executable, "-m", f"hierkeras.{name}", *flags),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def check_refused(done, status=1):
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")


def test_a_mistake_is_one_line_wherever_it_is_made():
    done = run(ALL_AT_ONCE, "predict", "--saved_model=x", "image.png")

    check_refused(done)
    assert done.stderr.count("\n") == 1
    assert "image.png" in done.stderr


@pytest.fixture
def folder():
    """One that other users may look into, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def work(digits_tree, folder):
    """Commands with work to do on a copy of the tree, by binary."""
    workdir = folder / "workdir"
    shutil.copytree(digits_tree.workdir, workdir)
    (workdir / "LATEST").write_text("000001\n")
    version = workdir / "serving" / "2"
    version.rename(folder / "exported")
    write_images(folder, [1], 0)
    flags = [
        flag.replace("=flags/", f"={ROOT}/flags/")
        for flag in digits_tree.flags
        if not flag.startswith("--workdir")
    ]
    place = f"--workdir={workdir}"
    return {
        "doctor": [place],
        "evaluate": [place],
        "predict": [
            f"--saved_model={folder / 'exported'}",
            str(folder / "1.png"),
        ],
        "increment": [*flags, place],
        "export": [place],
    }


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_work_is_done(environment, work):
    for name, flags in work.items():
        done = run(ENVIRONMENTS[environment], name, *flags)
        assert done.returncode == 0, (name, done.stderr)
        assert done.stdout, name


@pytest.mark.slow
@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not shutil.which("setpriv"),
    reason="only root can be another user",
)
def test_another_user_reads_and_is_told_what_he_cannot_write(work):
    for name in ("doctor", "evaluate", "predict"):
        done = run(STRANGER, name, *work[name])
        assert done.returncode == 0, (name, done.stderr)
        assert done.stdout, name
    for name in ("increment", "export"):
        check_refused(run(STRANGER, name, *work[name]))
