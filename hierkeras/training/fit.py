"""Fits a model to images by a recipe, with Keras's own training loop."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import sys
from collections.abc import Iterator
from typing import Any

import keras
import msgspec
import numpy as np
import tensorflow as tf
from etils import epath

from hierkeras.data.features import Features
from hierkeras.data.images import Images
from hierkeras.training import checkpoint, schedules
from hierkeras.training.context import Runtime
from hierkeras.training.losses import Objective
from hierkeras.training.monitoring import Begun, Monitor
from hierkeras.training.spec import Recipe
from hierkeras.training.tensorboard import RunWriter


@dataclasses.dataclass(frozen=True)
class Fitted:
    """How a training went.

    Args:
        history: What was measured in each epoch; the last entry's
            `images_swept` is what the epochs cost.
        rate_factor: What the recipe's learning rates were multiplied by.
        images_reestimated: Images that went through the model after that, for
            its batch statistics.
    """

    history: list[dict[str, Any]]
    rate_factor: float = 1.0
    images_reestimated: int = 0

    @property
    def images_swept(self) -> int:
        """What the training cost."""
        swept = self.history[-1]["images_swept"] if self.history else 0
        return int(swept) + self.images_reestimated


def fit(
    model: keras.Model,
    recipe: Recipe,
    images: Images | Features,
    training: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    *,
    seed: int,
    label: str,
    runtime: Runtime,
    writer: RunWriter | None = None,
    checkpoint_file: epath.Path | None = None,
    rate_factor: float = 1.0,
    start: schedules.GentleStart | None = None,
    objective: Objective | None = None,
    images_swept: int | None = None,
) -> Fitted:
    """Trains a model in place.

    Args:
        model: Gives logits of shape (n, c); built under the strategy that it
            trains under.
        recipe: How to train.
        images: The images, or their features.
        training: Indices, int64 of shape (n,), and labels in [0, c), int32
            of shape (n,), of the images to train on.
        validation: The same of those that the schedule may look at.
        seed: Of order and augmentation.
        label: What the training is for, in messages.
        runtime: How to run.
        writer: Where TensorBoard's scalars go.
        checkpoint_file: Where each epoch, and an interruption, is noted, and
            where the training goes on from if it is there; None: nowhere.
        rate_factor: What the recipe's learning rates are multiplied by, in
            (0, 1]. A checkpoint's, if that is less, is kept to.
        start: How gently the layers below the softmax layer begin.
        objective: What it minimises; None: the cross-entropy of labels.
        images_swept: What the training costs, however long; None: what its
            epochs sweep.

    Raises:
        Diverged: If the loss is no longer a number.
        KeyboardInterrupt: If it is interrupted; the checkpoint is written.
    """
    saved = checkpoint.read(checkpoint_file) if checkpoint_file else None
    if saved is not None:
        rate_factor = min(rate_factor, saved.state.rate_factor)
    batch = recipe.batch_size
    steps = steps_per_epoch(recipe, len(training[0]))
    objective = objective or Objective(model, recipe.label_smoothing)
    model = objective.model
    compile_model(
        model, _slowed(recipe, rate_factor), steps, runtime, objective, start
    )
    monitor = Monitor(
        label,
        steps * batch,
        recipe.max_epochs,
        writer,
        lines=runtime.progress == "lines",
        rate_factor=rate_factor,
        images_swept=images_swept,
    )
    schedule = _adaptive_schedule(recipe)
    if saved is not None and not saved.fits(model):
        saved = None
    if saved is not None:
        _go_on(saved, model, monitor, schedule, batch)
    stopped = saved is not None and saved.state.stopped
    skipped = saved.state.steps if saved else 0
    callbacks = [monitor, *filter(None, [schedule])]
    keeper = None
    if checkpoint_file is not None:
        keeper = checkpoint.Checkpoint(
            checkpoint_file,
            monitor,
            schedule,
            batch,
            steps,
            saved,
        )
        callbacks.append(keeper)
    look = min(recipe.validation_samples, len(validation[0]))
    replicas = model.distribute_strategy.num_replicas_in_sync
    # Each takes an equal part; what a batch lacks is looked at twice.
    look_batch = min(batch, math.ceil(look / replicas) * replicas)

    def run(first: int, last: int, skipped: int) -> None:
        model.fit(
            images.training_batches(
                *training,
                batch_size=batch,
                seed=seed,
                augment=recipe.augmentation == "shift_flip",
                first_batch=first * steps + skipped,
            ),
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps - skipped,
            validation_data=_looks(
                images, validation, look_batch, seed + 1, first=first
            ),
            validation_steps=math.ceil(look / look_batch),
            callbacks=callbacks,
            shuffle=False,  # the data set is shuffled already
            verbose=1 if runtime.progress == "bar" else 0,
        )

    # Keras writes its bar to stdout, which is for results.
    with contextlib.redirect_stdout(sys.stderr), _noting(keeper, label, steps):
        done = len(monitor.history)
        if skipped and not stopped:
            run(done, done + 1, skipped)
            done, stopped = done + 1, model.stop_training
        if done < recipe.max_epochs and not stopped:
            run(done, recipe.max_epochs, 0)
    return Fitted(monitor.history, rate_factor)


def _go_on(
    saved: checkpoint.Saved,
    model: keras.Model,
    monitor: Monitor,
    schedule: schedules.AdaptiveSchedule | None,
    batch_size: int,
) -> None:
    """Brings a training to where its checkpoint was written."""
    state = saved.state
    saved.restore(model, schedule)
    if schedule is not None and monitor.rate_factor < state.rate_factor:
        rate = model.optimizer.learning_rate
        rate.assign(rate * (monitor.rate_factor / state.rate_factor))
    monitor.history.extend(state.history)
    if state.steps:
        monitor.begun = Begun(state.steps * batch_size, state.learning_rate)
    after = f"epoch {len(state.history)}" if state.history else ""
    if state.steps:
        after += f"{' and ' if after else ''}{state.steps} batches"
    print(f"[{monitor.label}] goes on after {after}", file=sys.stderr)


def _slowed(recipe: Recipe, factor: float) -> Recipe:
    rate = recipe.initial_learning_rate * factor
    return msgspec.structs.replace(recipe, initial_learning_rate=rate)


@contextlib.contextmanager
def _noting(
    keeper: checkpoint.Checkpoint | None, label: str, steps: int
) -> Iterator[None]:
    """Notes how far the training is if it is interrupted."""
    if keeper is None:
        yield
        return
    try:
        yield
    except KeyboardInterrupt:
        done = keeper.interrupted()
        if done:
            print(
                f"[{label}] stopped after {done} of {steps} batches of an "
                "epoch, which are kept",
                file=sys.stderr,
            )
        raise
    finally:
        keeper.close()


def _looks(
    images: Images | Features,
    samples: tuple[np.ndarray, np.ndarray],
    batch_size: int,
    seed: int,
    first: int,
) -> tf.data.Dataset:
    """Validation batches, shuffled anew each time they are begun.

    Keras begins them again for each validation; so its looks are different
    random samples, as the paper's are.
    """
    passes = itertools.count(first)

    def begin(number: int) -> tf.data.Dataset:
        return images.training_batches(
            *samples,
            batch_size=batch_size,
            seed=seed,
            augment=False,
            first_epoch=number,
        )

    return tf.data.Dataset.from_generator(
        lambda: begin(next(passes)), output_signature=begin(0).element_spec
    )


def _adaptive_schedule(recipe: Recipe) -> schedules.AdaptiveSchedule | None:
    if recipe.schedule != "adaptive":
        return None
    return schedules.AdaptiveSchedule(
        recipe.min_error_drop,
        recipe.patience,
        recipe.learning_rate_cuts,
        recipe.learning_rate_cut_factor,
    )


def steps_per_epoch(recipe: Recipe, num_images: int) -> int:
    """Steps in one epoch of `fit`, at least 1.

    Args:
        recipe: The recipe.
        num_images: Number of training images.
    """
    samples = (
        recipe.samples_per_check
        if recipe.schedule == "adaptive"
        else num_images
    )
    return max(1, round(samples / recipe.batch_size))


def compile_model(
    model: keras.Model,
    recipe: Recipe,
    steps: int,
    runtime: Runtime,
    objective: Objective | None = None,
    start: schedules.GentleStart | None = None,
) -> None:
    """Gives a model its loss, optimizer and metric.

    Args:
        model: Gives logits.
        recipe: The recipe.
        steps: Steps in one epoch.
        runtime: How to run.
        objective: What it minimises; None: the cross-entropy of labels.
        start: How gently the layers below the softmax layer begin.
    """
    jit_compile: bool | str | None = runtime.jit_compile
    if jit_compile is None:
        jit_compile = "auto" if tf.config.list_logical_devices("GPU") else False
    objective = objective or Objective(model, recipe.label_smoothing)
    # The optimizer's variables live where the model's do.
    with model.distribute_strategy.scope():
        model.compile(
            optimizer=schedules.optimizer(recipe, steps, start),
            loss=objective.loss(),
            metrics=[objective.accuracy()],
            jit_compile=jit_compile,
        )
