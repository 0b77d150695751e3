"""Checkpoints: a training that was cut off goes on where it was.

A checkpoint is one file, replaced as a whole after each epoch, and when the
training is interrupted. It holds all that the next steps depend on: weights,
the states of random numbers and of the optimizer, the schedule's, the history
so far, and within an epoch what its metrics have added up. The order of the
images and their augmentation are functions of seed and batch number.
"""

from __future__ import annotations

import dataclasses
import io
import sys
import zlib
from typing import Annotated, Any

import keras
import msgspec
import numpy as np
from etils import epath

from hierkeras import _archives
from hierkeras.training.interruption import Deferral
from hierkeras.training.monitoring import Monitor
from hierkeras.training.schedules import AdaptiveSchedule
from hierkeras.tree import atomic
from hierkeras.tree.names import printable

_STATE = "state"


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a checkpoint holds beside tensors.

    Args:
        job: The training's, so that a file under another name is not used.
        history: What was measured in each finished epoch.
        stopped: Whether the schedule has ended the training.
        schedule: The state of the adaptive schedule; None with another.
        steps: Steps done in the epoch after these.
        learning_rate: What that epoch began with.
        rate_factor: On the recipe's learning rates.
    """

    job: str
    history: list[dict[str, int | float]]
    stopped: bool
    schedule: tuple[float | None, int, int] | None
    steps: Annotated[int, msgspec.Meta(ge=0)]
    learning_rate: float
    rate_factor: Annotated[float, msgspec.Meta(gt=0, le=1)]

    def __post_init__(self) -> None:
        if any("images_swept" not in epoch for epoch in self.history):
            raise ValueError("an epoch does not tell what it cost")


@dataclasses.dataclass(frozen=True)
class Saved:
    """A checkpoint as it was read.

    Args:
        state: The state.
        arrays: The tensors by name.
    """

    state: State
    arrays: dict[str, np.ndarray]

    def fits(self, model: keras.Model, steps_per_epoch: int) -> bool:
        """Whether it can be of such a training.

        Args:
            model: The model, compiled.
            steps_per_epoch: Steps in an epoch.
        """
        shapes = {
            name: array.shape
            for name, array in self.arrays.items()
            if array.dtype.kind in "biuf"
        }
        return (
            self.state.steps < steps_per_epoch
            and all(
                shapes.get(name) == variable.shape
                for name, variable in _variables(model).items()
            )
            and all(metric.shape == () for metric in self.metrics)
        )

    def restore(
        self, model: keras.Model, schedule: AdaptiveSchedule | None
    ) -> None:
        """Brings a model to where the checkpoint was written.

        Args:
            model: One that it fits; changed in place.
            schedule: The adaptive schedule, if that is used; changed in
                place.
        """
        for name, variable in _variables(model).items():
            variable.assign(self.arrays[name])
        if schedule is not None and self.state.schedule is not None:
            schedule.state = self.state.schedule
        if self.state.steps:
            # Keras makes its metrics' variables with the first batch.
            image = np.zeros((1, *model.input_shape[1:]), np.float32)
            model.test_on_batch(image, np.zeros(1, np.int32))

    @property
    def metrics(self) -> list[np.ndarray]:
        """What the metrics had added up in the unfinished epoch."""
        found: list[np.ndarray] = []
        while (name := f"metric/{len(found)}") in self.arrays:
            found.append(self.arrays[name])
        return found


class Checkpoint(keras.callbacks.Callback):
    """Writes checkpoints; comes last of the callbacks.

    An interruption between the last step of an epoch and the epoch's
    checkpoint is put off until that is written.

    Args:
        path: The file.
        job: The training's.
        monitor: Notes what is measured in each epoch.
        schedule: The adaptive schedule, if that is used.
        batch_size: Images in a step.
        steps_per_epoch: Steps in an epoch.
        saved: What the training goes on from, if it does.
    """

    def __init__(
        self,
        path: epath.Path,
        job: str,
        monitor: Monitor,
        schedule: AdaptiveSchedule | None,
        batch_size: int,
        steps_per_epoch: int,
        saved: Saved | None = None,
    ) -> None:
        super().__init__()
        self._path = path
        self._job = job
        self._monitor = monitor
        self._schedule = schedule
        self._batch_size = batch_size
        self._steps_per_epoch = steps_per_epoch
        self._steps = saved.state.steps if saved else 0
        self._metrics = saved.metrics if saved else []
        self._is_in_epoch = False
        self._deferral = Deferral()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Goes on with the sums of an epoch that was begun before."""
        variables = self.model.metrics_variables
        if self._steps and len(variables) == len(self._metrics):
            # Keras has just set them to zero.
            for variable, value in zip(variables, self._metrics, strict=True):
                variable.assign(value)
        self._is_in_epoch = True

    def on_test_begin(self, logs: dict | None = None) -> None:
        """From here the metrics' sums are of validation."""
        self._is_in_epoch = False
        self._deferral.begin()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Replaces the checkpoint.

        Raises:
            KeyboardInterrupt: If there was one during validation.
        """
        self._steps, self._metrics = 0, []
        self._write()
        self._deferral.end()

    def interrupted(self) -> int:
        """Replaces the checkpoint amid an epoch.

        Returns:
            Steps of the epoch that it holds; 0 if nothing was written.
        """
        if not self._is_in_epoch:
            return 0
        # The loss counts its images; the optimizer's own count would leave
        # out steps that loss scaling skips.
        images = float(np.asarray(self.model.metrics[0].count))
        steps = round(images / self._batch_size)
        if not self._steps < steps < self._steps_per_epoch:
            return self._steps  # as the checkpoint already has it
        self._steps = steps
        self._metrics = [np.asarray(v) for v in self.model.metrics_variables]
        self._deferral.begin()  # a second Ctrl-C must not lose it
        self._write()
        return steps

    def close(self) -> None:
        """Lets interruptions through again, however the training ended.

        Raises:
            KeyboardInterrupt: If one was put off, as in an epoch that turned
                out to have diverged.
        """
        self._deferral.end()

    def _write(self) -> None:
        state = State(
            self._job,
            self._monitor.history,
            bool(self.model.stop_training),
            self._schedule.state if self._schedule else None,
            self._steps,
            self._monitor.rate,
            self._monitor.rate_factor,
        )
        arrays: dict[str, Any] = {
            name: np.asarray(variable)
            for name, variable in _variables(self.model).items()
        }
        arrays |= {f"metric/{i}": v for i, v in enumerate(self._metrics)}
        arrays[_STATE] = np.frombuffer(msgspec.json.encode(state), np.uint8)
        content = io.BytesIO()
        np.savez(content, **arrays)
        raw = content.getvalue()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A process that is killed loses nothing by not waiting for the disk;
        # of a file that a power cut tore, the sum is wrong.
        atomic.write_file(self._path, _sum(raw) + raw, wait_for_disk=False)


def read(path: epath.Path, job: str) -> Saved | None:
    """Reads a checkpoint.

    Args:
        path: The file.
        job: Of which training it has to be.

    Returns:
        The checkpoint; None if there is none, or it is damaged or of another
        job, which is told.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        if raw[:4] != _sum(raw[4:]):
            raise ValueError("its check sum is wrong")
        with (
            _archives.told_damaged(),
            np.load(io.BytesIO(raw[4:]), allow_pickle=False) as arrays,
        ):
            state = msgspec.json.decode(arrays[_STATE].tobytes(), type=State)
            saved = Saved(state, dict(arrays))
        if state.job == job:
            return saved
        why = f"that of job {state.job}"
    except ValueError as error:
        why = f"damaged ({error})"
    print(
        f"{path} is {printable(why)}; the training starts over",
        file=sys.stderr,
    )
    return None


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    return {
        f"{kind}/{number}": variable
        for kind, variables in (
            ("model", _own_variables(model)),
            ("optimizer", model.optimizer.variables),
        )
        for number, variable in enumerate(variables)
    }


def _own_variables(model: keras.Model) -> list[keras.Variable]:
    # A compiled model also counts its metrics' variables and the optimizer's.
    found = {id(v): v for layer in model.layers for v in layer.variables}
    return list(found.values())


def _sum(raw: bytes) -> bytes:
    return zlib.crc32(raw).to_bytes(4, "big")
