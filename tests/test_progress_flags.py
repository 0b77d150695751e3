"""How much an increment tells while it runs."""

import re

import pytest
from absl.testing import flagsaver

from hierkeras import _progress_flags, increment


class Stream:
    def __init__(self, is_terminal):
        self.isatty = lambda: is_terminal


@pytest.mark.parametrize(
    ("is_terminal", "given", "told"),
    [
        (True, {}, "bar"),
        (False, {}, "lines"),
        (True, {"verbose": True}, "lines"),
        (True, {"quiet": True}, "none"),
        (False, {"quiet": True}, "none"),
    ],
)
def test_bars_are_for_terminals(monkeypatch, is_terminal, given, told):
    monkeypatch.setattr("sys.stderr", Stream(is_terminal))
    # Parsed or not: the flags are there once the module is.
    increment.flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(**given):
        assert _progress_flags.progress() == told


def test_less_and_more_at_once_make_no_sense(run_main, tmp_path):
    outcome = run_main(
        increment,
        "--dataset=digits",
        f"--workdir={tmp_path / 'w'}",
        "--quiet",
        "--verbose",
    )
    outcome.check_refused(2, "--quiet", "--verbose")


def test_a_quiet_run_tells_the_data_and_the_result(run_main, tmp_path):
    flags = (
        "--dataset=digits",
        f"--workdir={tmp_path / 'w'}",
        "--width_multiplier=0.5",
        "--max_epochs=1",
        "--noexport",
    )
    outcome = run_main(increment, *flags, "--quiet")
    assert outcome.status == 0, outcome.stderr
    assert "1 step done" in outcome.stdout
    lines = [re.split("[: ]", line)[0] for line in outcome.stderr.splitlines()]
    assert set(lines) == {"data", "chosen"}
