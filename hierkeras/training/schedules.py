"""Learning-rate schedules: the paper's adaptive rule, and a cosine."""

from __future__ import annotations

import keras

from hierkeras.recipe.training import Training
from hierkeras.training.muon import Muon

# Of a float32 accuracy. Without it, whether a drop of exactly the least one,
# such as one image in a thousand, is progress would be left to rounding.
_ROUNDING = 1e-6


class AdaptiveSchedule(keras.callbacks.Callback):
    """Cuts the learning rate when the validation error stops dropping.

    The paper's rule (section 5, Training Details): the validation error is
    measured after every 30K samples; when it has not dropped by more than
    0.1 % for three measurements in a row, the rate is cut tenfold; after two
    cuts the next standstill ends the training. `Model.fit` calls this after
    each of its epochs, so `fit` is given epochs of that many samples.

    Args:
        min_error_drop: Drop below the best error so far, in [0, 1], that
            must be exceeded to count as progress.
        patience: Measurements without progress in a row that cut the rate.
        cuts: How often the rate is cut.
        cut_factor: By what it is divided.
        monitor: Name of the validation accuracy, in [0, 1], in the logs.
    """

    def __init__(
        self,
        min_error_drop: float = 0.001,
        patience: int = 3,
        cuts: int = 2,
        cut_factor: float = 10.0,
        monitor: str = "val_accuracy",
    ) -> None:
        super().__init__()
        self.min_error_drop = min_error_drop
        self.patience = patience
        self.cuts = cuts
        self.cut_factor = cut_factor
        self.monitor = monitor
        self.best_error = float("inf")
        self.standstill = 0
        self.cuts_made = 0

    @property
    def state(self) -> tuple[float | None, int, int]:
        """What its next decision depends on; None for an infinite error."""
        best = self.best_error
        finite = None if best == float("inf") else best
        return finite, self.standstill, self.cuts_made

    @state.setter
    def state(self, state: tuple[float | None, int, int]) -> None:
        best, self.standstill, self.cuts_made = state
        self.best_error = float("inf") if best is None else best

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Looks at the validation error of the epoch.

        Raises:
            ValueError: If the logs hold no validation accuracy.
        """
        if not logs or self.monitor not in logs:
            raise ValueError(
                f"AdaptiveSchedule expected {self.monitor!r} in the logs. "
                f"Received: {sorted(logs or {})}"
            )
        error = 1.0 - float(logs[self.monitor])
        if self.best_error - error > self.min_error_drop + _ROUNDING:
            self.best_error = error
            self.standstill = 0
            return
        self.standstill += 1
        if self.standstill < self.patience:
            return
        self.standstill = 0
        if self.cuts_made == self.cuts:
            self.model.stop_training = True
            return
        self.cuts_made += 1
        rate = self.model.optimizer.learning_rate
        rate.assign(rate / self.cut_factor)


def learning_rate(
    recipe: Training, steps_per_epoch: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The optimizer's learning rate: a constant, or a function of the step.

    Args:
        recipe: The recipe.
        steps_per_epoch: Steps in one of its epochs.

    Returns:
        With `adaptive` the initial rate, which `AdaptiveSchedule` cuts; with
        `cosine` a linear warm-up and half a cosine down to 0 (Loshchilov &
        Hutter 2017, https://arxiv.org/abs/1608.03983).
    """
    if recipe.schedule == "adaptive":
        return recipe.initial_learning_rate
    warmup = round(recipe.warmup_epochs * steps_per_epoch)
    total = max(1, recipe.max_epochs * steps_per_epoch)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(
            recipe.initial_learning_rate, total
        )
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, total - warmup),
        warmup_target=recipe.initial_learning_rate,
        warmup_steps=warmup,
    )


def optimizer(recipe: Training, steps_per_epoch: int) -> keras.Optimizer:
    """The recipe's optimizer with its learning rate.

    Args:
        recipe: The recipe.
        steps_per_epoch: Steps in one of its epochs.
    """
    rate = learning_rate(recipe, steps_per_epoch)
    decay = recipe.weight_decay or None
    made = (
        Muon(rate, recipe.momentum, decay)
        if recipe.optimizer == "muon"
        else keras.optimizers.SGD(
            rate,
            recipe.momentum,
            nesterov=recipe.momentum > 0,
            weight_decay=decay,
        )
    )
    if decay:
        made.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return made
