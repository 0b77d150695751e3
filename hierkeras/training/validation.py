"""Looks at validation images between the epochs of a training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf


class Validation(keras.callbacks.Callback):
    """Measures loss and accuracy after each epoch; comes first of callbacks.

    As `Model.fit` does with `validation_data`, but with one iterator for the
    whole training: Keras builds the pipeline anew for each validation, which
    takes sixty times as long as the validation of a small network.

    Args:
        batches: Batches without end, of which each validation takes the next.
        steps: How many it takes, at least 1.
        listeners: Are told before it begins.
    """

    def __init__(
        self,
        batches: tf.data.Dataset,
        steps: int,
        listeners: Sequence[keras.callbacks.Callback],
    ) -> None:
        super().__init__()
        self._batches = batches
        self._steps = steps
        self._listeners = listeners
        self._iterator: Iterable | None = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Adds `val_loss` and `val_accuracy` to the logs of the epoch."""
        for listener in self._listeners:
            listener.on_test_begin()
        model = self.model
        if self._iterator is None:
            # Each replica takes an equal part of a batch, as in training.
            strategy = model.distribute_strategy
            self._iterator = iter(
                strategy.experimental_distribute_dataset(self._batches)
            )
        model.make_test_function()
        model.reset_metrics()
        for _ in range(self._steps):
            model.test_function(self._iterator)
        if logs is not None:
            for name, value in model.get_metrics_result().items():
                logs[f"val_{name}"] = float(value)
