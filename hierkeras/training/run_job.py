"""Runs a job: spec in, immutable result out."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence

import keras
import msgspec
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy import special

from hierkeras._errors import UserError
from hierkeras.data.features import Features
from hierkeras.features import curves
from hierkeras.features.curves import Point
from hierkeras.models import surgery
from hierkeras.training import (
    beginnings,
    faults,
    fit,
    job_run,
    losses,
    results,
    solutions,
    solving,
    strategy,
    tensorboard,
)
from hierkeras.training.beginnings import Begun
from hierkeras.training.context import Context
from hierkeras.training.monitoring import Diverged
from hierkeras.training.probes import arrivals, record
from hierkeras.training.probes.callback import Probes, Watched
from hierkeras.training.spec import JobSpec, Solved

# The paper's cut of the learning rate (section 5, Training Details).
_RETRY_FACTOR = 0.1


@faults.naming_the_job
def run_job(spec: JobSpec, label: str, context: Context) -> results.JobResult:
    """Trains the model that a spec asks for, or finds it trained.

    Args:
        spec: What to train.
        label: What for, in words, in messages and TensorBoard.
        context: What to run it in.

    Returns:
        The result, which is then in the work directory too.

    Raises:
        UserError: If the training diverges twice, the job that it starts
            from is damaged, or disk, memory or images fail.
        KeyboardInterrupt: If it is interrupted; a checkpoint is written.
    """
    store = context.store
    if store.has_job(spec.job):
        return results.read(store, spec.job)
    if spec.is_imported:
        raise UserError(
            f"job {spec.job} ({label}) is an imported model, which is gone: "
            "restore it, or import the model into another --workdir"
        )
    if context.catalogue.fingerprint(spec.classes) != spec.data:
        raise UserError(
            f"{label}: the data set {context.source.name} changed while the "
            "step ran; run the same command again"
        )
    if context.config.runtime.deterministic:
        tf.config.experimental.enable_op_determinism()
    job_run.begin(store, spec, label)
    if isinstance(spec.start, Solved):
        result = _solve(spec, spec.start, label, context)
    else:
        result = _train_and_write(spec, label, context)
    store.checkpoint(spec.job).unlink(missing_ok=True)
    job_run.end(store, result)
    return result


def _solve(
    spec: JobSpec, start: Solved, label: str, context: Context
) -> results.JobResult:
    """Solves the head that a spec asks for, and writes it."""
    begun = time.monotonic()
    solved = solving.solve(spec, start, context)
    head = solved.solution.head
    if context.config.runtime.progress != "none" and solved.choice.num_images:
        for line in _told(spec, solved):
            print(f"[{label}] {line}", file=sys.stderr, flush=True)
    indices, labels = context.samples("validation", spec.classes)
    known = None
    if indices.size:  # a node of classes of one photo each has none
        features = context.embedding(spec.network).of(indices)
        known = measured(head.logits(features), labels)
    result = results.JobResult(
        spec=spec,
        label=label,
        measured=known,
        images_swept=solved.images_swept,
        epochs=0,
        seconds=time.monotonic() - begun,
        versions=results.versions(),
    )
    curve = [dataclasses.asdict(point) for point in solved.curve]
    history = [dataclasses.asdict(solved.choice) | {"curve": curve}]
    with context.store.new_job(spec.job) as folder:
        solutions.write(folder, solved.solution)
        results.write(folder, result, history)
    return result


def _told(spec: JobSpec, solved: solving.Solving) -> list[str]:
    """What a head was solved from, and what error to expect, in lines."""
    chosen = solved.choice
    assert chosen.error is not None  # images were held out
    # Each view is an image to the sums.
    views = 1 + spec.training.crops
    images = int(solved.solution.statistics.counts.sum()) // views
    return [
        f"solved from {images:,} images: shrinkage {chosen.shrinkage:g}; of "
        f"images that look unlike those it is solved from, {chosen.error:.1%} "
        f"are not named right (groups of {chosen.num_images:,} images held "
        "out)",
        *_curve_lines(solved.curve, images / len(spec.classes)),
    ]


def _curve_lines(points: Sequence[Point], images: float) -> list[str]:
    """What more photos would bring, if a curve tells that."""
    if not curves.tells(points):
        return []
    errors = ", ".join(f"{point.error:.1%}" for point in points)
    photos = ", ".join(f"{point.images:.0f}" for point in points)
    now, twice = (curves.expected(points, n * images) for n in (1, 2))
    return [
        f"by photos of a class, {photos}: {errors} of such images are not "
        f"named right; {now:.1%} is what that leads to with the "
        f"{images:.0f} that there are, {twice:.1%} with twice as many"
    ]


@dataclasses.dataclass(frozen=True)
class _Trained:
    """Models that were trained.

    Args:
        begun: The models.
        fitted: How that went.
        seen: What probes saw of it; None: nobody looked.
    """

    begun: Begun
    fitted: fit.Fitted
    seen: record.Record | None = None


def _train_and_write(
    spec: JobSpec, label: str, context: Context
) -> results.JobResult:
    start = time.monotonic()
    trained = _twice(spec, label, context)
    begun, fitted = trained.begun, trained.fitted
    indices, labels = context.samples("validation", spec.classes)
    logits = begun.model.predict(
        context.images.evaluation_batches(indices, spec.training.batch_size),
        verbose=0,
    )
    result = results.JobResult(
        spec=spec,
        label=label,
        measured=measured(logits, labels),
        images_swept=fitted.images_swept,
        epochs=len(fitted.history),
        seconds=time.monotonic() - start,
        versions=results.versions(),
        rate_factor=fitted.rate_factor,
    )
    with context.store.new_job(spec.job) as folder:
        results.write_model(folder, begun.model, begun.leaf_weights())
        if trained.seen is not None:
            record.write(folder, trained.seen)
        results.write(folder, result, fitted.history)
    return result


def measured(
    logits: npt.NDArray[np.floating], labels: npt.NDArray[np.int32]
) -> results.Measured:
    """Measures what a model says of all validation images of its classes.

    Args:
        logits: float array of shape (n, number of classes).
        labels: int32 array of shape (n,).
    """
    log_probabilities = special.log_softmax(logits.astype(np.float64), axis=1)
    own = log_probabilities[np.arange(len(labels)), labels]
    # Ties count against the model: a constant output is not half right.
    rank = (log_probabilities >= own[:, None]).sum(axis=1)
    return results.Measured(
        loss=float(-own.mean()),
        top1_error=float((rank > 1).mean()),
        top5_error=float((rank > 5).mean()),
    )


def _twice(spec: JobSpec, label: str, context: Context) -> _Trained:
    """Trains; once more, slower, if the training diverges."""
    try:
        return _attempt(spec, label, context)
    except Diverged as error:
        print(
            f"[{label}] {error}; once more from the last good epoch at "
            f"{_RETRY_FACTOR:g} of the rate",
            file=sys.stderr,
        )
    try:
        return _attempt(spec, label, context, _RETRY_FACTOR)
    except Diverged as error:
        raise UserError(
            f"job {spec.job} ({label}) diverged twice: {error}; lower "
            "--set=initial_learning_rate=…, what other jobs gave is kept"
        ) from None


def _attempt(
    spec: JobSpec, label: str, context: Context, rate_factor: float = 1.0
) -> _Trained:
    keras.utils.set_random_seed(spec.random_seed)
    with _dtype_policy(spec.training.precision):
        chosen = strategy.choose_strategy(context.config.runtime.devices)
        strategy.check_batch_size(
            spec.training.batch_size, chosen.num_replicas_in_sync
        )
        begun = beginnings.begin(spec, context, chosen)
        if begun.trains == "none" or not spec.training.max_epochs:
            return _Trained(begun, fit.Fitted([]))
        return _train(begun, spec, label, context, rate_factor)


def _train(
    begun: Begun,
    spec: JobSpec,
    label: str,
    context: Context,
    rate_factor: float,
) -> _Trained:
    surgery.set_trainable(begun.model, begun.trains, begun.leaf_layers)
    trained, training, images_swept = begun.model, spec.training, None
    examples = fit.Examples(
        context.images,
        context.samples("train", spec.classes),
        context.samples("validation", spec.classes),
    )
    if begun.trains == "head":
        # What is below stays, and gives an image the same features in every
        # epoch: each goes through the network once.
        trained = surgery.head_alone(begun.model)
        training = msgspec.structs.replace(training, augment="none")
        examples = _on_features(begun.model, examples, spec, context)
        images_swept = len(examples.training[0])
    objective = losses.Objective(
        trained,
        _class_counts(spec, examples.training[1]),
        begun.teaching,
        begun.together,
    )
    run = job_run.folder(context.store, spec, label)
    with contextlib.closing(tensorboard.RunWriter(run)) as writer:
        probes = _probes(objective, examples, spec, context, writer)
        fitted = fit.fit(
            objective,
            training,
            examples,
            fit.Run(
                label=label,
                seed=spec.random_seed,
                runtime=context.config.runtime,
                writer=writer,
                checkpoint_file=context.store.checkpoint(spec.job),
                job=spec.job,
                rate_factor=rate_factor,
                images_swept=images_swept,
                watchers=(probes,) if probes else (),
            ),
        )
    if trained is not begun.model:
        begun.model.get_layer(surgery.HEAD).set_weights(trained.get_weights())
    return _Trained(begun, fitted, probes.record() if probes else None)


def _probes(
    objective: losses.Objective,
    examples: fit.Examples,
    spec: JobSpec,
    context: Context,
    writer: tensorboard.RunWriter,
) -> Probes | None:
    """What looks inside the network, if anything does."""
    interval = context.config.runtime.probes
    if not interval or not len(examples.validation[0]):
        return None
    watched = Watched(
        examples.images,
        examples.training,
        examples.validation,
        spec.classes,
        arrivals.columns(spec, context.store),
        context.catalogue.keys,
    )
    return Probes(
        objective,
        watched,
        interval,
        spec.training.batch_size,
        spec.random_seed,
        writer,
    )


def _on_features(
    model: keras.Model, examples: fit.Examples, spec: JobSpec, context: Context
) -> fit.Examples:
    """The same examples, as what the softmax layer sees of them."""
    indices = np.union1d(examples.training[0], examples.validation[0])
    vectors = surgery.feature_extractor(model).predict(
        context.images.evaluation_batches(indices, spec.training.batch_size),
        verbose=0,
    )
    features = Features(indices, vectors.astype(np.float32))
    return fit.Examples(features, examples.training, examples.validation)


def _class_counts(spec: JobSpec, labels: np.ndarray) -> Sequence[int] | None:
    """Training images of each class, where the loss makes up for them."""
    if not spec.training.balanced_softmax:
        return None
    counts: list[int] = np.bincount(
        labels, minlength=len(spec.classes)
    ).tolist()
    return counts


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
