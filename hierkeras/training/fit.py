"""Fits a model to images by a recipe, with Keras's own training loop."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import msgspec
import numpy as np
import tensorflow as tf
from etils import epath

from hierkeras import _progress
from hierkeras.data.features import Features
from hierkeras.data.images import Images
from hierkeras.recipe.training import Training
from hierkeras.training import checkpoint, schedules
from hierkeras.training.context import Runtime
from hierkeras.training.losses import Objective
from hierkeras.training.monitoring import Begun, Monitor
from hierkeras.training.progress import Shown
from hierkeras.training.tensorboard import RunWriter
from hierkeras.training.validation import Validation

Samples = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a training learns from.

    Args:
        images: The images, or their features.
        training: Indices, int64 of shape (n,), and labels in [0, c), int32
            of shape (n,), of the images to train on.
        validation: The same of those that the schedule may look at.
    """

    images: Images | Features
    training: Samples
    validation: Samples


@dataclasses.dataclass(frozen=True)
class Run:
    """How a training runs.

    Args:
        label: What it is for, in messages.
        seed: Of order and augmentation.
        runtime: How to run.
        writer: Where TensorBoard's scalars go; None: nowhere.
        checkpoint_file: Where each epoch, and an interruption, is noted, and
            where the training goes on from if it is there; None: nowhere.
        job: Whose the checkpoint is.
        rate_factor: What the recipe's learning rates are multiplied by, in
            (0, 1]. A checkpoint's, if that is less, is kept to.
        images_swept: What the training costs, however long; None: what its
            epochs sweep.
        watchers: Callbacks that change nothing.
    """

    label: str
    seed: int
    runtime: Runtime
    writer: RunWriter | None = None
    checkpoint_file: epath.Path | None = None
    job: str = ""
    rate_factor: float = 1.0
    images_swept: int | None = None
    watchers: Sequence[keras.callbacks.Callback] = ()


@dataclasses.dataclass(frozen=True)
class Fitted:
    """How a training went.

    Args:
        history: What was measured in each epoch; the last entry's
            `images_swept` is what the training cost.
        rate_factor: What the recipe's learning rates were multiplied by.
    """

    history: list[dict[str, Any]]
    rate_factor: float = 1.0

    @property
    def images_swept(self) -> int:
        """What the training cost."""
        return int(self.history[-1]["images_swept"]) if self.history else 0


def fit(
    objective: Objective, recipe: Training, examples: Examples, run: Run
) -> Fitted:
    """Trains a model in place.

    Args:
        objective: What to minimise; its model gives logits of shape (n, c),
            and was built under the strategy that it trains under.
        recipe: How to train.
        examples: What to learn from.
        run: How to run.

    Raises:
        Diverged: If the loss is no longer a number.
        KeyboardInterrupt: If it is interrupted; the checkpoint is written.
    """
    file = run.checkpoint_file
    saved = checkpoint.read(file, run.job) if file else None
    if saved is not None:
        factor = min(run.rate_factor, saved.state.rate_factor)
        run = dataclasses.replace(run, rate_factor=factor)
    steps = steps_per_epoch(recipe, len(examples.training[0]))
    slowed = _slowed(recipe, run.rate_factor)
    compile_model(objective, slowed, steps, run.runtime)
    model = objective.model
    monitor = Monitor(
        run.label,
        steps * recipe.batch_size,
        recipe.max_epochs,
        run.writer,
        lines=run.runtime.progress == "lines",
        rate_factor=run.rate_factor,
        images_swept=run.images_swept,
    )
    schedule = _adaptive_schedule(recipe)
    if saved is not None and not saved.fits(model, steps):
        saved = None
    if saved is not None:
        _go_on(saved, model, monitor, schedule, recipe.batch_size)
    keeper = file and checkpoint.Checkpoint(
        file, run.job, monitor, schedule, recipe.batch_size, steps, saved
    )
    listeners = [monitor, *filter(None, [schedule, keeper])]
    looks = _looks(examples, recipe, run, model, len(monitor.history))
    callbacks = [Validation(*looks, listeners), *listeners, *run.watchers]
    done, skipped = len(monitor.history), saved.state.steps if saved else 0
    stopped = saved is not None and saved.state.stopped
    with (
        _noting(keeper, run, steps),
        _shown(run, recipe, steps, done * steps + skipped) as shown,
    ):
        callbacks += shown
        # Keras wants every epoch of a call to have as many steps.
        while done < recipe.max_epochs and not stopped:
            last = done + 1 if skipped else recipe.max_epochs
            model.fit(
                examples.images.training_batches(
                    *examples.training,
                    batch_size=recipe.batch_size,
                    seed=run.seed,
                    augment=recipe.augment,
                    first_batch=done * steps + skipped,
                ),
                initial_epoch=done,
                epochs=last,
                steps_per_epoch=steps - skipped,
                callbacks=callbacks,
                shuffle=False,  # the data set is shuffled already
                verbose=0,
            )
            done, skipped, stopped = last, 0, model.stop_training
    return Fitted(monitor.history, run.rate_factor)


@contextlib.contextmanager
def _shown(
    run: Run, recipe: Training, steps: int, done: int
) -> Iterator[list[keras.callbacks.Callback]]:
    """What shows on a terminal how far a training is, of so many batches."""
    if run.runtime.progress != "bar":
        yield []
        return
    each = recipe.batch_size
    total = recipe.max_epochs * steps * each
    with _progress.bar(run.label, total, done * each) as bar:
        yield [Shown(bar, each)]


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


def _slowed(recipe: Training, factor: float) -> Training:
    rate = recipe.initial_learning_rate * factor
    return msgspec.structs.replace(recipe, initial_learning_rate=rate)


@contextlib.contextmanager
def _noting(
    keeper: checkpoint.Checkpoint | None, run: Run, steps: int
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
                f"[{run.label}] stopped after {done} of {steps} batches of an "
                "epoch, which are kept",
                file=sys.stderr,
            )
        raise
    finally:
        keeper.close()


def _looks(
    examples: Examples,
    recipe: Training,
    run: Run,
    model: keras.Model,
    first: int,
) -> tuple[tf.data.Dataset, int]:
    """Validation batches from validation `first` on, and how many one takes.

    Each takes another random sample, as the paper's does, the order of which
    follows from seed and number.
    """
    look = min(recipe.validation_samples, len(examples.validation[0]))
    steps = math.ceil(look / recipe.batch_size)
    # Each replica takes an equal part; what a batch lacks is looked at twice.
    replicas = model.distribute_strategy.num_replicas_in_sync
    batch = math.ceil(look / steps / replicas) * replicas
    batches = examples.images.training_batches(
        *examples.validation,
        batch_size=batch,
        seed=run.seed + 1,
        augment="none",
        first_batch=first * steps,
        per_epoch=steps * batch,
    )
    return batches, steps


def _adaptive_schedule(recipe: Training) -> schedules.AdaptiveSchedule | None:
    if recipe.schedule != "adaptive":
        return None
    return schedules.AdaptiveSchedule(
        recipe.min_error_drop,
        recipe.patience,
        recipe.learning_rate_cuts,
        recipe.learning_rate_cut_factor,
    )


def steps_per_epoch(recipe: Training, num_images: int) -> int:
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
    objective: Objective, recipe: Training, steps: int, runtime: Runtime
) -> None:
    """Gives a model its loss, optimizer and metric.

    Args:
        objective: What its model minimises.
        recipe: The recipe.
        steps: Steps in one epoch.
        runtime: How to run.
    """
    jit_compile: bool | str | None = runtime.jit_compile
    if jit_compile is None:
        jit_compile = "auto" if tf.config.list_logical_devices("GPU") else False
    model = objective.model
    # The optimizer's variables live where the model's do.
    with model.distribute_strategy.scope():
        model.compile(
            optimizer=schedules.optimizer(recipe, steps),
            loss=objective.loss(),
            metrics=[objective.accuracy()],
            jit_compile=jit_compile,
        )
        # Variables that the first step made would have it traced twice.
        model.optimizer.build(model.trainable_variables)
