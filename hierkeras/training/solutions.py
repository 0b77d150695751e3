"""Solved heads on disk, beside the result of their job.

models/<job id>/
  head.npz        kernel (f, c) and bias (c,), float32
  sums.npz        counts, means and scatter over the training images
  classes.json    for each class of these, a hash of its images

Of an imported head there is `head.npz` alone.
"""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import msgspec
import numpy as np
from etils import epath

from hierkeras import _archives
from hierkeras.features.heads import Head
from hierkeras.features.statistics import Statistics
from hierkeras.training.results import naming_damage
from hierkeras.tree import sums
from hierkeras.tree.store import Store

HEAD_FILE = "head.npz"
STATISTICS_FILE = "sums.npz"
CLASSES_FILE = "classes.json"
FILES = (HEAD_FILE, STATISTICS_FILE, CLASSES_FILE)


@dataclasses.dataclass(frozen=True)
class Solution:
    """A solved head, and what it was solved from.

    Args:
        head: The head.
        statistics: Sums over the training images of its classes.
        fingerprints: Class to a hash of its images.
    """

    head: Head
    statistics: Statistics
    fingerprints: dict[str, str]


def write(folder: epath.Path, solution: Solution) -> None:
    """Writes it into a job's folder that is not yet visible."""
    statistics = solution.statistics
    write_head(folder, solution.head.kernel, solution.head.bias)
    _write_arrays(
        folder / STATISTICS_FILE,
        counts=statistics.counts,
        means=statistics.means,
        scatter=statistics.scatter,
    )
    raw = msgspec.json.encode(solution.fingerprints)
    (folder / CLASSES_FILE).write_bytes(raw)


def write_head(
    folder: epath.Path, kernel: np.ndarray, bias: np.ndarray
) -> None:
    """Writes a head alone into a job's folder that is not yet visible.

    Args:
        folder: The folder.
        kernel: Float array of shape (f, c).
        bias: Float array of shape (c,).
    """
    _write_arrays(
        folder / HEAD_FILE,
        kernel=kernel.astype(np.float32),
        bias=bias.astype(np.float32),
    )


def read_head(store: Store, job: str) -> Head:
    """Reads the head of a finished job.

    Raises:
        UserError: If it is missing or damaged.
    """
    with naming_damage(store, job):
        arrays = _read_arrays(store, job, HEAD_FILE, ("kernel", "bias"))
        kernel, bias = arrays
        if kernel.ndim != 2 or bias.shape != kernel.shape[1:]:
            raise ValueError(f"{HEAD_FILE} holds no head")
        return Head(kernel.astype(np.float64), bias.astype(np.float64))


def read(store: Store, job: str) -> Solution:
    """Reads a solved head with its sums.

    Raises:
        UserError: If it is missing or damaged.
    """
    with naming_damage(store, job):
        counts, means, scatter = _read_arrays(
            store, job, STATISTICS_FILE, ("counts", "means", "scatter")
        )
        raw = sums.read(store.job_folder(job), CLASSES_FILE)
        fingerprints = msgspec.json.decode(raw, type=dict[str, str])
        rows = (len(fingerprints),)
        shapes = rows, rows + means.shape[1:], 2 * means.shape[1:]
        if (counts.shape, means.shape, scatter.shape) != shapes:
            raise ValueError(f"{STATISTICS_FILE} is of other classes")
    statistics = Statistics(tuple(fingerprints), counts, means, scatter)
    return Solution(read_head(store, job), statistics, fingerprints)


def _write_arrays(path: epath.Path, **arrays: Any) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _read_arrays(
    store: Store, job: str, file: str, names: tuple[str, ...]
) -> list[np.ndarray]:
    raw = sums.read(store.job_folder(job), file)
    with (
        _archives.told_damaged(),
        np.load(io.BytesIO(raw), allow_pickle=False) as arrays,
    ):
        found = [arrays[name] for name in names]
    if any(array.dtype.kind not in "fi" for array in found):
        raise ValueError(f"{file} holds more than numbers")
    return found
