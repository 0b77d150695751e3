"""What a training tells while it runs: lines, TensorBoard, history."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from typing import Any

import keras
import tensorflow as tf

from hierkeras.training.tensorboard import RunWriter

# Of the loss of a guess, at which the mean of an epoch has no way back.
_DIVERGED = 100.0


class Diverged(Exception):
    """The loss of a training is no longer a number, or beyond all bounds.

    Args:
        loss: The loss, in nats.
        epoch: The epoch, from 1, at whose end it was noticed.
        learning_rate: The rate that the epoch began with.
        rate_factor: On the recipe's learning rates.
    """

    def __init__(
        self,
        loss: float,
        epoch: int,
        learning_rate: float,
        rate_factor: float = 1.0,
    ) -> None:
        super().__init__(
            f"the loss is {loss:.4g} after epoch {epoch} at learning rate "
            f"{learning_rate:.3g}"
        )
        self.rate_factor = rate_factor


@dataclasses.dataclass(frozen=True)
class Begun:
    """What an earlier process left of an epoch that it did not finish.

    Args:
        images: Training images that it swept.
        learning_rate: The rate that the epoch began with.
    """

    images: int
    learning_rate: float


class Monitor(keras.callbacks.Callback):
    """Notes each epoch: in memory, in TensorBoard, and as a line on stderr.

    Args:
        label: What the job is for, at the head of its lines.
        images_per_epoch: Training images in one epoch.
        epochs: Most epochs.
        writer: Where TensorBoard's scalars go; None: nowhere.
        lines: Whether to print a line an epoch.
        rate_factor: On the recipe's learning rates.
        images_swept: What the training costs, however long; None: what its
            epochs sweep.
    """

    def __init__(
        self,
        label: str,
        images_per_epoch: int,
        epochs: int,
        writer: RunWriter | None = None,
        lines: bool = True,
        rate_factor: float = 1.0,
        images_swept: int | None = None,
    ) -> None:
        super().__init__()
        self.label = label
        self.images_per_epoch = images_per_epoch
        self.epochs = epochs
        self.writer = writer
        self.lines = lines
        self.rate_factor = rate_factor
        self.images_swept = images_swept
        self.history: list[dict[str, Any]] = []
        # What an earlier process left of the first epoch.
        self.begun: Begun | None = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Starts the clock, and notes the rate that the epoch starts with."""
        self._start = time.monotonic()
        self.rate = (
            self.begun.learning_rate
            if self.begun
            else float(self.model.optimizer.learning_rate)
        )
        self._end: float | None = None

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Stops the clock: what follows is the epoch's validation."""
        self._end = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Notes the epoch.

        Raises:
            Diverged: If the loss is no longer a number, or beyond all bounds.
        """
        logs = logs or {}
        guess = math.log(max(2, self.model.output_shape[-1]))
        # The last update of an epoch shows in the validation loss only.
        for loss, most in (
            (logs["loss"], _DIVERGED * guess),
            (logs["val_loss"], math.inf),
        ):
            if not loss < most:
                raise Diverged(loss, epoch + 1, self.rate, self.rate_factor)
        images = self.images_per_epoch - (
            self.begun.images if self.begun else 0
        )
        self.begun = None
        seconds = (self._end or time.monotonic()) - self._start
        measured = {
            "loss": float(logs["loss"]),
            "error": 1.0 - float(logs["accuracy"]),
            "validation_loss": float(logs["val_loss"]),
            "validation_error": 1.0 - float(logs["val_accuracy"]),
            "learning_rate": self.rate,
            "images_per_second": images / seconds,
        }

        swept = self.images_swept
        if swept is None:
            swept = (epoch + 1) * self.images_per_epoch
        self.history.append(
            {"epoch": epoch + 1, "images_swept": swept, **measured}
        )
        if self.writer is not None:
            with self.writer.as_default(step=epoch + 1):
                for name, value in measured.items():
                    tf.summary.scalar(name, value)
        if self.lines:
            print(self._line(epoch, measured), file=sys.stderr, flush=True)

    def _line(self, epoch: int, measured: dict[str, float]) -> str:
        return (
            f"[{self.label}] epoch {epoch + 1}/{self.epochs}: "
            f"loss {measured['loss']:.3f}, "
            f"error {measured['error']:.1%}, "
            f"validation error {measured['validation_error']:.1%}, "
            f"rate {measured['learning_rate']:.2g}, "
            f"{measured['images_per_second']:,.0f} images/s"
        )
