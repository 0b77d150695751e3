"""Fits a model to images by a recipe, with Keras's own training loop."""

from __future__ import annotations

import contextlib
import math
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hierkeras.data.images import Images
from hierkeras.training import schedules
from hierkeras.training.context import Runtime
from hierkeras.training.monitoring import Monitor
from hierkeras.training.spec import Recipe


def fit(
    model: keras.Model,
    recipe: Recipe,
    images: Images,
    training: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    *,
    seed: int,
    label: str,
    runtime: Runtime,
    writer: tf.summary.SummaryWriter | None = None,
) -> list[dict[str, Any]]:
    """Trains a model in place.

    Args:
        model: Gives logits of shape (n, c); built under the strategy that it
            trains under.
        recipe: How to train.
        images: The images.
        training: Indices, int64 of shape (n,), and labels in [0, c), int32
            of shape (n,), of the images to train on.
        validation: The same of those that the schedule may look at.
        seed: Of order and augmentation.
        label: What the training is for, in messages.
        runtime: How to run.
        writer: Where TensorBoard's scalars go.

    Returns:
        What was measured in each epoch; the last entry's `images_swept` is
        what the training cost.
    """
    batch = recipe.batch_size
    steps = steps_per_epoch(recipe, len(training[0]))
    compile_model(model, recipe, steps, runtime)
    monitor = Monitor(
        label,
        steps * batch,
        recipe.max_epochs,
        writer,
        lines=runtime.progress == "lines",
    )
    callbacks: list[keras.callbacks.Callback] = [monitor]
    if recipe.schedule == "adaptive":
        callbacks.append(
            schedules.AdaptiveSchedule(
                recipe.min_error_drop,
                recipe.patience,
                recipe.learning_rate_cuts,
                recipe.learning_rate_cut_factor,
            )
        )
    # An endless shuffled stream of validation images: each look takes the
    # next ones, so looks differ as the paper's random samples do.
    looks = min(recipe.validation_samples, len(validation[0]))
    # Keras writes its bar to stdout, which is for results.
    with contextlib.redirect_stdout(sys.stderr):
        model.fit(
            images.training_batches(
                *training,
                batch_size=batch,
                seed=seed,
                augment=recipe.augmentation == "shift_flip",
            ),
            epochs=recipe.max_epochs,
            steps_per_epoch=steps,
            validation_data=images.training_batches(
                *validation,
                batch_size=min(batch, looks),
                seed=seed + 1,
                augment=False,
            ),
            validation_steps=math.ceil(looks / min(batch, looks)),
            callbacks=callbacks,
            shuffle=False,  # the data set is shuffled already
            verbose=1 if runtime.progress == "bar" else 0,
        )
    return monitor.history


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
    model: keras.Model, recipe: Recipe, steps: int, runtime: Runtime
) -> None:
    """Gives a model its loss, optimizer and metric.

    Args:
        model: Gives logits.
        recipe: The recipe.
        steps: Steps in one epoch.
        runtime: How to run.
    """
    jit_compile: bool | str | None = runtime.jit_compile
    if jit_compile is None:
        jit_compile = "auto" if tf.config.list_logical_devices("GPU") else False
    model.compile(
        optimizer=schedules.optimizer(recipe, steps),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=jit_compile,
    )
