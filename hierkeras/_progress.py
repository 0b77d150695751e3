"""Bars on the terminal: how far something is, how fast, and how long yet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

# Seconds of which the rate is a mean: what comes once an epoch, as validations
# do, is to be among them.
_SPEED_SECONDS = 120.0


@contextlib.contextmanager
def bar(
    label: str, total: int, done: int = 0, unit: str = "images"
) -> Iterator[Bar]:
    """A bar on stderr, which leaves nothing behind when it ends.

    Args:
        label: What is done.
        total: How much of it there is.
        done: How much of it an earlier process did.
        unit: What is counted.
    """
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%"),
        _Rate(unit),
        TimeRemainingColumn(),
        TextColumn("left{task.fields[note]}", markup=False),
        console=console,
        transient=True,
        speed_estimate_period=_SPEED_SECONDS,
        redirect_stdout=False,  # which is for results
    )
    with progress:
        # A process that is killed takes nobody's cursor away.
        console.show_cursor(True)
        yield Bar(progress, f"[{label}]", total, done)


class Bar:
    """A bar that is shown.

    What is drawn is drawn by a thread, a few times a second.

    Args:
        progress: What draws it.
        label: What is done.
        total: How much of it there is.
        done: How much of it was done before.
    """

    def __init__(
        self, progress: Progress, label: str, total: int, done: int
    ) -> None:
        self._progress = progress
        self._task = progress.add_task(
            label, total=total, completed=done, note=""
        )

    def advance(self, amount: int) -> None:
        """Counts what was done: a call of microseconds."""
        self._progress.advance(self._task, amount)

    def note(self, words: str) -> None:
        """Shows a few words behind the time that is left."""
        self._progress.update(self._task, note=f"; {words}")


class _Rate(ProgressColumn):
    """How many are done in a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {self._unit}/s")
