"""Measures how a partition's cost and quality go with the number of classes.

    python tools/bench_partition.py [--sizes=1000,2282,5000,22000]

Classes are made up, with a planted hierarchy: as many superclasses as
--superclasses, unequal ones; of a class's mistakes nine in ten are of its own.
Rates are counted from a few validation
images of each class. Each size runs in a process of its own, whose peak memory
is told; the number of superclasses is chosen, by both rules. The exponent is
that of a line through the logarithms of size and time.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from absl import flags
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from hierkeras import _main
from hierkeras.growth.partition import partition, partition_by_gain

_SIZES = flags.DEFINE_list(
    "sizes", ["1000", "2282", "5000", "22000"], "Numbers of classes."
)
_IMAGES = flags.DEFINE_list(
    "images", ["10", "50"], "Validation images of a class."
)
_SUPERCLASSES = flags.DEFINE_integer("superclasses", 5, "That are planted.")

# Of the images: named wrong; of these, as a class of the same superclass.
_WRONG, _WITHIN = 0.5, 0.9


class Found(NamedTuple):
    """What a partition took, and how good it is."""

    rule: str
    seconds: float
    gigabytes: float
    superclasses: int
    rand_index: float


def main() -> None:
    """Prints a table, and the exponents."""
    print("| classes | images | rule | s | GB | K | adjusted Rand index |")
    print("|---|---|---|---|---|---|---|")
    seconds: dict[str, list[tuple[int, float]]] = {}
    start = multiprocessing.get_context("spawn")
    for images in map(int, _IMAGES.value):
        for size in map(int, _SIZES.value):
            for rule in ("spectral", "predicted error"):
                with start.Pool(1) as pool:
                    asked = (size, images, rule, _SUPERCLASSES.value)
                    found = pool.apply(measured, asked)
                print(
                    f"| {size:,} | {images} | {rule} | {found.seconds:.1f} "
                    f"| {found.gigabytes:.2f} | {found.superclasses} "
                    f"| {found.rand_index:.3f} |",
                    flush=True,
                )
                seconds.setdefault(f"{rule}, {images} images", []).append(
                    (size, found.seconds)
                )
    for name, points in seconds.items():
        if len(points) > 1:
            sizes, times = np.log(np.array(points)).T
            print(f"{name}: exponent {np.polyfit(sizes, times, 1)[0]:.2f}")


def measured(size: int, images: int, rule: str, superclasses: int) -> Found:
    """Divides made-up classes.

    Args:
        size: How many classes.
        images: Of each.
        rule: `spectral`, or by `predicted error`.
        superclasses: How many are planted.
    """
    rates, planted = counted(size, images, superclasses)
    none_new = sparse.csr_array((0, size))
    begun = time.perf_counter()
    if rule == "spectral":
        labels = partition(rates, none_new, 0)
    else:
        labels = partition_by_gain(rates, 0)
    seconds = time.perf_counter() - begun
    return Found(
        rule,
        seconds,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        int(labels.max()) + 1,
        float(adjusted_rand_score(planted, labels)),
    )


def counted(
    size: int, images: int, superclasses: int
) -> tuple[sparse.csr_array, npt.NDArray[np.int64]]:
    """Rates of classes with a planted hierarchy, and their superclasses."""
    random = np.random.default_rng(0)
    weights = np.arange(1, superclasses + 1) + superclasses
    planted = np.sort(
        random.choice(superclasses, size, p=weights / weights.sum())
    )
    starts = np.searchsorted(planted, np.arange(superclasses))
    sizes = np.bincount(planted, minlength=superclasses)
    true = np.repeat(np.arange(size), images)
    own = planted[true]
    near = starts[own] + random.integers(0, sizes[own])
    far = random.integers(0, size, len(true))
    named = np.where(random.random(len(true)) < _WITHIN, near, far)
    named = np.where(random.random(len(true)) < _WRONG, named, true)
    order = random.permutation(size)
    rates = sparse.coo_array(
        (np.full(len(true), 1 / images), (order[true], order[named])),
        (size, size),
    )
    shuffled = np.empty_like(planted)
    shuffled[order] = planted
    return rates.tocsr(), shuffled


if __name__ == "__main__":
    _main.run(main)
