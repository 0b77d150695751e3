"""The result of a job, as its folder holds it.

models/<job id>/
  job.json        the spec, what was measured, images swept, versions
  history.json    what was measured in each epoch
  model.keras     network and weights, without the optimizer
  leaves.npz      of a branch that was trained with its leaves: what they have
                  of their own, an array LEAF/NUMBER for each weight
  probes.json     what probes saw, if they looked; see
                  `hierkeras.training.probes.record`
  SHA256SUMS      of the others, as `sha256sum --check` takes it
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from etils import epath

from hierkeras import _archives, _faults
from hierkeras._errors import UserError
from hierkeras.training.spec import JobSpec
from hierkeras.tree import nodes, sums
from hierkeras.tree.generation import Generation
from hierkeras.tree.store import Store

if TYPE_CHECKING:
    import keras

JOB_FILE = "job.json"
HISTORY_FILE = "history.json"
MODEL_FILE = "model.keras"
LEAVES_FILE = "leaves.npz"
SUMS_FILE = sums.SUMS_FILE

_LONGEST_REASON = 200


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Measured on all validation images of the job's classes.

    Args:
        loss: Mean cross-entropy in nats.
        top1_error: In [0, 1].
        top5_error: In [0, 1].
    """

    loss: float
    top1_error: float
    top5_error: float


class JobResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a finished job left.

    Args:
        spec: What it was asked.
        label: What it was first run for.
        measured: The model's errors; None of an imported one, which is what
            it is whatever images there are, and where none of its classes has
            a validation image.
        images_swept: Training images that went through it, counted again in
            every epoch, and for batch statistics.
        epochs: Epochs run.
        seconds: Wall-clock time of the training.
        versions: Of the libraries that ran it.
        rate_factor: What the recipe's learning rates were multiplied by after
            the training had diverged; 1 if it had not.
    """

    spec: JobSpec
    label: str
    measured: Measured | None
    images_swept: int
    epochs: int
    seconds: float
    versions: dict[str, str]
    rate_factor: float = 1.0

    @property
    def job(self) -> str:
        """The job id."""
        return self.spec.job


def versions() -> dict[str, str]:
    """The versions of the libraries that run jobs."""
    import keras  # not needed to read results
    import tensorflow as tf

    return {"tensorflow": tf.__version__, "keras": keras.__version__}


def write(
    folder: epath.Path, result: JobResult, history: list[dict[str, Any]]
) -> None:
    """Writes a job's files into a folder that is not yet visible.

    Args:
        folder: The folder, with what the job made in it.
        result: What the job gave.
        history: What was measured in each epoch, or what was chosen.
    """
    _write_json(folder / HISTORY_FILE, history)
    _write_json(folder / JOB_FILE, result)
    sums.write(folder, folder / SUMS_FILE)


def write_model(
    folder: epath.Path,
    model: keras.Model,
    leaves: Sequence[Sequence[np.ndarray]] = (),
) -> None:
    """Writes a trained model.

    Args:
        folder: The job's folder, that is not yet visible.
        model: The model.
        leaves: For each leaf that it was trained together with, its weights
            above the cut.
    """
    import keras  # not needed to read results

    # A model that was never compiled: its file holds no optimizer state,
    # which would triple it.
    inference = keras.Model(model.input, model.output, name=model.name)
    keras.saving.save_model(inference, str(folder / MODEL_FILE))
    if leaves:
        arrays: dict[str, Any] = {
            f"{leaf}/{number}": weight
            for leaf, weights in enumerate(leaves)
            for number, weight in enumerate(weights)
        }
        with (folder / LEAVES_FILE).open("wb") as file:
            np.savez(file, **arrays)


def read(store: Store, job: str) -> JobResult:
    """Reads the result of a finished job.

    Raises:
        UserError: If it is missing or damaged.
    """
    with naming_damage(store, job):
        raw = sums.read(store.job_folder(job), JOB_FILE)
        result = msgspec.json.decode(raw, type=JobResult)
        if result.job != job:
            raise ValueError(f"its spec is that of job {result.job}")
    return result


def read_history(store: Store, job: str) -> list[dict[str, Any]]:
    """Reads what a job measured in each epoch.

    Raises:
        UserError: If it is missing or damaged.
    """
    with naming_damage(store, job):
        raw = sums.read(store.job_folder(job), HISTORY_FILE)
        return msgspec.json.decode(raw, type=list[dict[str, Any]])


def load_model(store: Store, job: str) -> keras.Model:
    """Loads the model of a finished job, not compiled.

    A file can name any class. Keras makes only those that are its own or
    registered, and none that runs code which the file brings.

    Raises:
        UserError: If it is missing, damaged, or no model of the job's classes.
    """
    import keras  # not needed to read results

    from hierkeras.models import convnext, depths, lrn  # noqa: F401 - register

    path = store.job_folder(job) / MODEL_FILE
    with naming_damage(store, job):
        spec = read(store, job).spec
        sums.read(store.job_folder(job), MODEL_FILE)
        try:
            model = keras.saving.load_model(
                str(path), compile=False, safe_mode=True
            )
            shapes = model.input_shape, model.output_shape
        except MemoryError:
            raise
        except Exception as error:  # whatever the file makes Keras do
            raise ValueError(f"{MODEL_FILE}: {_first_line(error)}") from None
        side = spec.network.image_size
        if shapes != ((None, side, side, 3), (None, len(spec.classes))):
            raise ValueError(
                f"{MODEL_FILE} is not a model of the job's classes"
            )
        return model


def read_leaf(store: Store, job: str, leaf: int) -> list[np.ndarray]:
    """Reads what a leaf that a finished job trained has of its own.

    Args:
        store: The work directory.
        job: The job of the branch that it was trained together with.
        leaf: Its number, from 0.

    Returns:
        Its weights above the cut.

    Raises:
        UserError: If they are missing or damaged.
    """
    with naming_damage(store, job):
        raw = sums.read(store.job_folder(job), LEAVES_FILE)
        with (
            _archives.told_damaged(),
            np.load(io.BytesIO(raw), allow_pickle=False) as arrays,
        ):
            own = [name for name in arrays if name.startswith(f"{leaf}/")]
            if not own:
                raise ValueError(f"{LEAVES_FILE} has no leaf {leaf}")
            weights = [arrays[f"{leaf}/{n}"] for n in range(len(own))]
        if any(weight.dtype.kind != "f" for weight in weights):
            raise ValueError(f"{LEAVES_FILE} holds more than numbers")
        return weights


def check_jobs(store: Store, generation: Generation, image_size: int) -> None:
    """Checks that the models of a generation are what it says they are.

    Args:
        store: The work directory.
        generation: The generation.
        image_size: Height and width of its images, in pixels.

    Raises:
        UserError: If a job is missing or damaged, or of other classes or
            images.
    """
    step = generation.step
    lost = [
        node
        for decision in step.decisions
        for grown in (decision.flat, decision.clone)
        for node in (nodes.Tree(grown).nodes() if grown else ())
    ]
    # A tree goes on without the models that lost.
    lost = [node for node in lost if store.has_job(node.job)]
    for node in (*generation.tree.nodes(), *lost):
        spec = read(store, node.job).spec
        if (spec.classes, spec.network.image_size) != (
            node.classes,
            image_size,
        ):
            raise _misfit(store, generation, node.job)
    if step.scratch is not None and store.has_job(step.scratch.job):
        spec = read(store, step.scratch.job).spec  # its order is its own
        if set(spec.classes) != set(generation.tree.classes):
            raise _misfit(store, generation, step.scratch.job)


def _misfit(store: Store, generation: Generation, job: str) -> UserError:
    return UserError(
        f"generation {generation.number} in {store.generations} does not fit "
        f"job {job}, whose model is of other classes or images; {store.advice}"
    )


@contextlib.contextmanager
def naming_damage(store: Store, job: str) -> Iterator[None]:
    """Names the job in whose files a block finds damage.

    Raises:
        UserError: If it does.
    """
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        msgspec.DecodeError,
        RecursionError,
    ) as error:
        is_missing = isinstance(error, FileNotFoundError)
        if not is_missing and _faults.explain(error) is not None:
            raise  # what is written may be whole
        raise UserError(
            f"job {job} in {store.models} is missing or damaged "
            f"({_first_line(error)}); {store.advice}"
        ) from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:_LONGEST_REASON] if lines else repr(error)


def _write_json(path: epath.Path, content: Any) -> None:
    raw = msgspec.json.encode(content, order="deterministic")
    path.write_bytes(msgspec.json.format(raw, indent=1) + b"\n")
