"""Runs a job: spec in, immutable result out."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping

import keras
import msgspec
import numpy as np
import tensorflow as tf
from scipy import special

from hierkeras._errors import UserError
from hierkeras.data.features import Features
from hierkeras.data.images import Images
from hierkeras.models import grafting, registry, surgery, widening
from hierkeras.training import (
    faults,
    fit,
    losses,
    results,
    strategy,
    tensorboard,
)
from hierkeras.training.context import Context
from hierkeras.training.monitoring import Diverged
from hierkeras.training.spec import Initial, JobSpec, Leaves
from hierkeras.tree.names import JobId

# Enough for a stable mean feature, few enough to cost little.
_IMPRINT_IMAGES_PER_CLASS = 50
# The paper's cut of the learning rate (section 5, Training Details).
_RETRY_FACTOR = 0.1


@dataclasses.dataclass(frozen=True)
class _Trained:
    """What a training gave.

    Args:
        model: The model.
        leaves: Of each leaf that it was trained together with, the weights
            above the cut.
        fitted: How it went.
    """

    model: keras.Model
    leaves: list[list[np.ndarray]]
    fitted: fit.Fitted


@faults.naming_the_job
def run_job(spec: JobSpec, label: str, context: Context) -> results.JobResult:
    """Trains the model that a spec asks for, or finds it trained.

    Args:
        spec: What to train.
        label: What for, in messages and TensorBoard.
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
    if context.catalogue.fingerprint(spec.classes) != spec.data:
        raise UserError(
            f"{label}: the data set {context.source.name} changed while the "
            "step ran; run the same command again"
        )
    if context.config.runtime.deterministic:
        tf.config.experimental.enable_op_determinism()
    start = time.monotonic()
    try:
        trained = _attempt(spec, label, context)
    except Diverged as error:
        print(
            f"[{label}] {error}; once more from the last good epoch at "
            f"{_RETRY_FACTOR:g} of the rate",
            file=sys.stderr,
        )
        try:
            trained = _attempt(spec, label, context, _RETRY_FACTOR)
        except Diverged as error:
            raise UserError(
                f"job {spec.job} ({label}) diverged twice: {error}; lower "
                "--initial_learning_rate, what other jobs gave is kept"
            ) from None
    fitted, history = trained.fitted, trained.fitted.history
    measured = measure(trained.model, spec, context)
    result = results.JobResult(
        spec=spec,
        label=label,
        measured=measured,
        images_swept=fitted.images_swept,
        epochs=len(history),
        seconds=time.monotonic() - start,
        versions={"tensorflow": tf.__version__, "keras": keras.__version__},
        rate_factor=fitted.rate_factor,
    )
    with store.new_job(spec.job) as folder:
        results.write(folder, result, history, trained.model, trained.leaves)
    store.checkpoint(spec.job).unlink(missing_ok=True)
    return result


def measure(
    model: keras.Model, spec: JobSpec, context: Context
) -> results.Measured:
    """Measures a model on all validation images of its classes.

    Args:
        model: Gives logits of shape (n, len(spec.classes)).
        spec: Its spec.
        context: The images.
    """
    indices = context.catalogue.indices("validation", spec.classes)
    labels = context.catalogue.labels_among(indices, spec.classes)
    logits = model.predict(
        context.images.evaluation_batches(indices, spec.recipe.batch_size),
        verbose=0,
    )
    log_probabilities = special.log_softmax(logits.astype(np.float64), axis=1)
    own = log_probabilities[np.arange(len(labels)), labels]
    # Ties count against the model: a constant output is not half right.
    rank = (log_probabilities >= own[:, None]).sum(axis=1)
    return results.Measured(
        loss=float(-own.mean()),
        top1_error=float((rank > 1).mean()),
        top5_error=float((rank > 5).mean()),
    )


def _attempt(
    spec: JobSpec, label: str, context: Context, rate_factor: float = 1.0
) -> _Trained:
    keras.utils.set_random_seed(spec.random_seed)
    with _dtype_policy(spec.recipe.precision):
        chosen = strategy.choose_strategy(context.config.runtime.devices)
        strategy.check_batch_size(
            spec.recipe.batch_size, chosen.num_replicas_in_sync
        )
        with chosen.scope():
            model = registry.build_model(spec.model, len(spec.classes))
            leaves = [
                registry.build_model(leaf.model, len(leaf.classes))
                for leaf in _leaves(spec)
            ]
        _initialise(model, spec, context)
        for leaf, its_spec in zip(leaves, _leaves(spec), strict=True):
            _initialise(leaf, its_spec, context)
        fitted = _train(model, leaves, spec, label, context, rate_factor)
        top_layers = spec.leaves.top_layers if spec.leaves else 0
        own = [surgery.top_weights(leaf, top_layers) for leaf in leaves]
        return _Trained(model, own, fitted)


def _leaves(spec: JobSpec) -> list[JobSpec]:
    """How the leaves begin that a branch is trained together with."""
    return [
        msgspec.structs.replace(spec, classes=classes, leaves=None)
        for classes in (spec.leaves.classes if spec.leaves else ())
    ]


def _initialise(model: keras.Model, spec: JobSpec, context: Context) -> None:
    initial = spec.initial
    if initial is None:
        return
    parent_spec = results.read(context.store, initial.job).spec
    parent = results.load_model(context.store, initial.job)
    if initial.leaf is not None:
        surgery.transfer_weights(
            parent, model, parent_spec.classes, spec.classes
        )
        _put_on_trunk(model, initial.job, initial.leaf, parent_spec, context)
        return
    if parent_spec.model.width_multiplier != spec.model.width_multiplier:
        parent = _resized(parent, spec, initial)
    fresh = [np.asarray(weight) for weight in model.weights]
    new = surgery.transfer_weights(
        parent, model, parent_spec.classes, spec.classes
    )
    if initial.shrink != 1.0 or initial.perturb:
        surgery.set_trainable(model, spec.trainable, spec.top_layers)
        surgery.shrink_and_perturb(
            model, fresh, initial.shrink, initial.perturb
        )
    # A scale needs two old columns; with fewer, random is all there is.
    num_old = len(spec.classes) - len(new)
    if initial.new_columns == "imprinted" and new and num_old >= 2:
        _imprint(model, spec, new, context)


def _put_on_trunk(
    model: keras.Model,
    branch: JobId,
    leaf: int,
    branch_spec: JobSpec,
    context: Context,
) -> None:
    """Gives a copy of a branch what a leaf, trained with it, has of its own."""
    own = results.read_leaf(context.store, branch, leaf)
    top_layers = branch_spec.leaves.top_layers if branch_spec.leaves else 0
    try:
        surgery.set_top_weights(model, top_layers, own)
    except ValueError as error:
        raise UserError(
            f"job {branch} in {context.store.models} does not fit its leaf "
            f"{leaf} ({error}); {context.store.advice}"
        ) from None


def _resized(
    parent: keras.Model, spec: JobSpec, initial: Initial
) -> keras.Model:
    """The parent, as wide as the job's network is."""
    registry.check_resizable(spec.model)
    resized = registry.build_model(spec.model, parent.output_shape[-1])
    widening.resize_weights(
        parent, resized, initial.widening_noise, spec.random_seed
    )
    return resized


def _imprint(
    model: keras.Model,
    spec: JobSpec,
    new_classes: tuple[str, ...],
    context: Context,
) -> None:
    indices = context.catalogue.indices("train", spec.classes)
    labels = context.catalogue.labels_among(indices, spec.classes)
    few = np.sort(
        np.concatenate(
            [
                np.flatnonzero(labels == k)[:_IMPRINT_IMAGES_PER_CLASS]
                for k in range(len(spec.classes))
            ]
        )
    )
    features = surgery.feature_extractor(model).predict(
        context.images.evaluation_batches(indices[few], spec.recipe.batch_size),
        verbose=0,
    )
    columns = [spec.classes.index(name) for name in new_classes]
    surgery.imprint(model, columns, features, labels[few])


def _train(
    model: keras.Model,
    leaves: list[keras.Model],
    spec: JobSpec,
    label: str,
    context: Context,
    rate_factor: float,
) -> fit.Fitted:
    if spec.trainable == "none" or not spec.recipe.max_epochs:
        return fit.Fitted([])
    surgery.set_trainable(model, spec.trainable, spec.top_layers)
    samples = {
        split: _samples(split, spec, context)
        for split in ("train", "validation")
    }
    trained, recipe, images_swept = model, spec.recipe, None
    examples: Images | Features = context.images
    if spec.trainable == "head":
        # What is below stays, and gives an image the same features in every
        # epoch: each goes through the network once.
        trained = surgery.head_alone(model)
        recipe = msgspec.structs.replace(recipe, augmentation="none")
        examples = _features(model, samples, spec, context)
        images_swept = len(samples["train"][0])
    run = context.store.tensorboard / f"{label.replace(' ', '-')}-{spec.job}"
    with contextlib.closing(tensorboard.RunWriter(run)) as writer:
        fitted = fit.fit(
            losses.Objective(
                trained,
                _class_counts(spec, samples["train"][1]),
                _teaching(spec, context),
                _together(model, leaves, spec.leaves, spec.classes),
            ),
            recipe,
            fit.Examples(examples, samples["train"], samples["validation"]),
            fit.Run(
                label,
                spec.random_seed,
                context.config.runtime,
                writer,
                context.store.checkpoint(spec.job),
                rate_factor,
                images_swept,
            ),
        )
    if trained is not model:
        model.get_layer(surgery.HEAD).set_weights(trained.get_weights())
    return fitted


def _samples(
    split: str, spec: JobSpec, context: Context
) -> tuple[np.ndarray, np.ndarray]:
    """The images of a split, int64 of shape (n,), and their labels, int32."""
    indices = context.catalogue.indices(split, spec.classes)
    return indices, context.catalogue.labels_among(indices, spec.classes)


def _features(
    model: keras.Model,
    samples: Mapping[str, tuple[np.ndarray, np.ndarray]],
    spec: JobSpec,
    context: Context,
) -> Features:
    indices = np.unique(
        np.concatenate([which for which, _ in samples.values()])
    )
    vectors = surgery.feature_extractor(model).predict(
        context.images.evaluation_batches(indices, spec.recipe.batch_size),
        verbose=0,
    )
    return Features(indices, vectors.astype(np.float32))


def _class_counts(spec: JobSpec, labels: np.ndarray) -> list[int] | None:
    """Training images of each class, where the loss makes up for them."""
    if not spec.recipe.balanced_softmax:
        return None
    counts: list[int] = np.bincount(
        labels, minlength=len(spec.classes)
    ).tolist()
    return counts


def _teaching(spec: JobSpec, context: Context) -> losses.Teaching | None:
    teacher = spec.teacher
    if teacher is None:
        return None
    its_classes = results.read(context.store, teacher.job).spec.classes
    its_column = {name: column for column, name in enumerate(its_classes)}
    return losses.Teaching(
        results.load_model(context.store, teacher.job),
        [
            (column, its_column[name])
            for column, name in enumerate(spec.classes)
            if name in its_column
        ],
        teacher.weight,
    )


def _together(
    model: keras.Model,
    networks: list[keras.Model],
    leaves: Leaves | None,
    classes: tuple[str, ...],
) -> losses.Together | None:
    if leaves is None:
        return None
    column = {name: number for number, name in enumerate(classes)}
    return losses.Together(
        grafting.with_leaves(model, networks, leaves.top_layers),
        [[column[name] for name in names] for names in leaves.classes],
    )


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
