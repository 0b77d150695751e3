"""What the study keeps of each contender.

    OUT/
      seed0/work/              a work directory without generations: the jobs
      seed0/results/NAME.json  what contender NAME was measured to be
      table.md  curves.png  results.json

A record is not made again unless what it was made from differs.
"""

from __future__ import annotations

from typing import Any

import msgspec
from etils import epath

from hierkeras._errors import UserError
from hierkeras.tree import atomic, nodes


class Reading(msgspec.Struct, frozen=True):
    """A classifier under one routing, on test images. Errors are in [0, 1]."""

    validation_error: float  # top-1, on validation images
    test_error: float
    top5_error: float
    calibration_error: float  # expected, 15 bins
    old_error: float | None  # on classes of earlier steps
    batch_errors: tuple[float, ...]  # on each batch of classes known
    flops: float  # mean for an image; shared layers count once


class StepRecord(msgspec.Struct, frozen=True):
    """A contender after one step."""

    num_classes: int  # that it knows
    images: int  # that the step's jobs swept
    training_flops: float  # of the forward passes of those images
    tree: nodes.Tree | None  # None for an ensemble
    parameters: int  # of all models; shared layers count once
    readings: dict[str, Reading]  # by routing; `one` for single networks


class Record(msgspec.Struct, frozen=True):
    """A contender with one seed."""

    made_from: str  # a hash of all that it depends on
    contender: str
    seed: int
    steps: tuple[StepRecord, ...]  # from the first batch of classes on


def read(path: epath.Path, made_from: str) -> Record | None:
    """Reads a record; None if it is not there or of something else.

    Raises:
        UserError: If it is damaged.
    """
    if not path.exists():
        return None
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"the record {path} is damaged ({error}); remove it to have the "
            "contender measured again"
        ) from None
    return record if record.made_from == made_from else None


def write(path: epath.Path, content: Any) -> None:
    """Writes JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = msgspec.json.encode(content, order="deterministic")
    atomic.write_file(path, msgspec.json.format(raw, indent=1) + b"\n")
