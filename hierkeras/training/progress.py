"""A bar on the terminal for a training: rate, time left, current error."""

from __future__ import annotations

from typing import Any

import keras
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

# Seconds of which the rate is a mean: validations and checkpoints, which come
# once an epoch, are to be among them.
_SPEED_SECONDS = 120.0


class Bar(keras.callbacks.Callback):
    """Shows how far a training is, over all of its epochs.

    A batch costs a call of microseconds; what is drawn is drawn by a thread,
    a few times a second, from numbers that are there already.

    Args:
        label: What the job is for.
        epochs: Most epochs; a schedule may end it before.
        steps: Batches of an epoch.
        batch_size: Images of a batch.
        done: Batches that an earlier process has done.
    """

    def __init__(
        self, label: str, epochs: int, steps: int, batch_size: int, done: int
    ) -> None:
        super().__init__()
        self._steps, self._batch_size = steps, batch_size
        self._progress = columns("images")
        self._task = self._progress.add_task(
            f"[{label}]",
            total=epochs * steps * batch_size,
            completed=done * batch_size,
            note="",
        )

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the batch."""
        self._progress.advance(self._task, self._batch_size)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Shows what the epoch came to."""
        note = f"epoch {epoch + 1}"
        if logs and "val_accuracy" in logs:
            note += f", validation error {1 - logs['val_accuracy']:.1%}"
        self._progress.update(self._task, note=note)


def columns(unit: str, note: bool = True) -> Progress:
    """A bar on stderr, which leaves nothing behind when it ends.

    Args:
        unit: What is counted, such as `images`.
        note: Whether each task has a field `note`, a few words.
    """
    extra = [TextColumn("{task.fields[note]}", markup=False)] if note else []
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%"),
        _Rate(unit),
        TimeRemainingColumn(),
        TextColumn("left"),
        *extra,
        console=Console(stderr=True),
        transient=True,
        speed_estimate_period=_SPEED_SECONDS,
        redirect_stdout=False,  # which is for results
    )


class _Rate(ProgressColumn):
    """How many are done in a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {self._unit}/s")
