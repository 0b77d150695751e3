"""Ctrl-C in the first seconds of a binary, while it still imports."""

import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

_IMPORTED = "import time:"


def check_interrupted(binary, module, seconds, tmp_path):
    """Interrupts it some time after it has imported a module."""
    process = subprocess.Popen(
        # -X importtime tells of each module, once it is there.
        [
            *(sys.executable, "-X", "importtime"),
            *("-m", f"hierkeras.{binary}", *flags(binary, tmp_path)),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        for line in process.stderr:
            if line.rstrip().endswith(f" {module}"):
                break
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        told, _ = process.stderr.read(), process.stdout.read()
    lines = [
        line for line in told.splitlines() if not line.startswith(_IMPORTED)
    ]
    assert process.returncode == 130, lines
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: interrupted")


def flags(binary, tmp_path):
    if binary == "serve":
        return [f"--model_base_path={tmp_path}", "--port=0"]
    if binary == "predict":
        from PIL import Image

        Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
        image = str(tmp_path / "image.png")
        return ["--server=localhost:9", "--timeout_seconds=60", image]
    return ["--flagfile=flags/digits.flags", f"--workdir={tmp_path / 'work'}"]


@pytest.mark.slow
def test_an_interruption_of_imports_is_one_line(tmp_path):
    for binary in "predict", "serve":
        check_interrupted(binary, "hierkeras", 0, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 0.1, 0.3, 0.6, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("binary", ["increment", "predict"])
def test_an_interruption_at_any_moment_is_one_line(binary, seconds, tmp_path):
    check_interrupted(binary, "hierkeras", seconds, tmp_path)
