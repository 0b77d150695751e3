"""Shows on a terminal how far a training is, and its error."""

from __future__ import annotations

from typing import Any

import keras

from hierkeras._progress import Bar


class Shown(keras.callbacks.Callback):
    """Moves a bar, over all epochs of a training.

    Args:
        bar: The bar.
        each: Images of a batch.
    """

    def __init__(self, bar: Bar, each: int) -> None:
        super().__init__()
        self._bar, self._each = bar, each

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the batch."""
        self._bar.advance(self._each)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Shows what the epoch came to."""
        error = 1 - (logs or {})["val_accuracy"]
        self._bar.note(f"epoch {epoch + 1}, validation error {error:.1%}")
