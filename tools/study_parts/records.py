"""What the study keeps of each contender, and the arithmetic on it.

    STUDY/
      seed0/work/            a work directory without generations: the jobs
      seed0/results/NAME.json  what contender NAME was measured to be
      table.md  curves.png  results.json

A record is not made again unless what it was made from differs. Remove
`results` to measure anew; jobs are not trained again for that.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import msgspec
from etils import epath

from hierkeras.tree import atomic, nodes


class Reading(msgspec.Struct, frozen=True):
    """A classifier under one routing. Errors are top-1, in [0, 1].

    Args:
        validation_error: On validation images of all classes known.
        test_error: On test images, as all that follows.
        top5_error: Share whose true class is not among the five.
        calibration_error: Expected calibration error, 15 bins.
        old_error: On classes of earlier steps; None in the first.
        new_error: On the classes of the step.
        batch_accuracies: On each batch of classes known, in their order.
        flops: Mean for an image, a multiply-add being 2, with layers that
            parent and child share computed once, as a served tree does.
        unshared_flops: The same with nothing shared.
    """

    validation_error: float
    test_error: float
    top5_error: float
    calibration_error: float
    old_error: float | None
    new_error: float
    batch_accuracies: tuple[float, ...]
    flops: float
    unshared_flops: float


class Curve(msgspec.Struct, frozen=True):
    """The validation error of one job after each of its epochs.

    Args:
        label: What the job was for.
        points: Images swept, and the error on validation images of the
            job's classes.
    """

    label: str
    points: tuple[tuple[int, float], ...]


class StepRecord(msgspec.Struct, frozen=True):
    """A contender after one step.

    Args:
        num_classes: Classes known.
        jobs: Job id to images swept, of the jobs that the step used.
        seconds: That these trainings took.
        training_flops: Of the forward passes of the images that they swept.
        tree: The tree; None for an ensemble.
        num_leaves: Its leaves, or the members of an ensemble.
        parameters: Of all models, shared layers counted once.
        unshared_parameters: The same with nothing shared.
        readings: Routing to what was measured; `one` for single networks.
        curves: Of the step's trained jobs.
    """

    num_classes: int
    jobs: dict[str, int]
    seconds: float
    training_flops: float
    tree: nodes.Tree | None
    num_leaves: int
    parameters: int
    unshared_parameters: int
    readings: dict[str, Reading]
    curves: tuple[Curve, ...]

    @property
    def images(self) -> int:
        """Images swept in the step."""
        return sum(self.jobs.values())


class Record(msgspec.Struct, frozen=True):
    """A contender with one seed.

    Args:
        made_from: All that it depends on, as JSON.
        contender: Its name.
        seed: Of the order of the classes and of every random choice.
        steps: From the first batch of classes on. The first step is the same
            for every contender: a network trained from scratch.
    """

    made_from: str
    contender: str
    seed: int
    steps: tuple[StepRecord, ...]


def read(path: epath.Path, made_from: str) -> Record | None:
    """Reads a record; None if it is not there or of something else."""
    if not path.exists():
        return None
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except msgspec.DecodeError:
        return None  # of an earlier form of this tool
    return record if record.made_from == made_from else None


def write(path: epath.Path, content: Any) -> None:
    """Writes JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = msgspec.json.encode(content, order="deterministic")
    atomic.write_file(path, msgspec.json.format(raw, indent=1) + b"\n")


def images_to_reach(
    points: Sequence[tuple[int, float]], error: float
) -> int | None:
    """The first images count at which an error is reached.

    Args:
        points: Images swept and validation error, of increasing images.
        error: What is to be reached.

    Returns:
        The images; None if it is never reached.
    """
    return next((images for images, e in points if e <= error), None)


class Spread(msgspec.Struct, frozen=True):
    """Several values as mean and standard deviation.

    Args:
        count: How many.
        mean: Their mean.
        deviation: Their sample standard deviation; None of a single one.
    """

    count: int
    mean: float
    deviation: float | None


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of at least one value."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(len(values), statistics.fmean(values), deviation)
