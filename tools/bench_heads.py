"""What a step of new classes costs above a trunk, by synthetic features.

    python tools/bench_heads.py --classes=22000 --images=50 --new=20

Features are written as an embedding would leave them; the head of all but the
new classes is solved, and then, in a process of its own, that of all, going
on from its sums. Needs 3 GB of disk for 22,000 classes.
"""

import argparse
import multiprocessing
import pathlib
import resource
import tempfile
import time

import numpy as np
from etils import epath

from hierkeras.features import choice, shards
from hierkeras.features.choice import Examples
from hierkeras.features.statistics import Statistics, summed

_PER_SHARD = 16_384


def main() -> None:
    """Prints seconds and peak memory of the step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=22_000)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--features", type=int, default=1_280)
    parser.add_argument("--new", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        _write(folder, asked)
        _timed("first", _first, folder, asked)
        _timed("step", _step, folder, asked)


def _timed(label, run, folder, asked) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_measured, args=(label, run, folder, asked)
    )
    process.start()
    process.join()


def _measured(label, run, folder, asked) -> None:
    began = time.monotonic()
    said = run(folder, asked)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{label}: {time.monotonic() - began:.1f} s, {peak:.2f} GB at most; "
        f"{said}",
        flush=True,
    )


def _labels(asked) -> np.ndarray:
    return np.repeat(np.arange(asked.classes, dtype=np.int32), asked.images)


def _keys(asked) -> np.ndarray:
    numbers = np.random.default_rng(1).integers(
        0, 256, (asked.classes * asked.images, shards.KEY_BYTES), np.uint8
    )
    return numbers.view(shards.KEY_TYPE)[:, 0]


def _write(folder, asked) -> None:
    generator = np.random.default_rng(0)
    means = generator.normal(size=(asked.classes, asked.features))
    found, keys = shards.find(epath.Path(folder / "whole")), _keys(asked)
    labels = _labels(asked)
    for start in range(0, len(labels), _PER_SHARD):
        rows = slice(start, start + _PER_SHARD)
        noise = generator.normal(size=(len(labels[rows]), asked.features))
        found = found.plus(keys[rows], means[labels[rows]] + 8 * noise)


def _names(asked) -> list[str]:
    return [f"class-{number:05d}" for number in range(asked.classes)]


def _sums(folder, asked, first: int, last: int) -> Statistics:
    """The sums of some classes, a few at a time."""
    found, keys = shards.find(epath.Path(folder / "whole")), _keys(asked)
    names, total, block = _names(asked), None, 1_000
    for start in range(first, last, block):
        stop = min(start + block, last)
        rows = slice(start * asked.images, stop * asked.images)
        labels = _labels(asked)[rows] - start
        part = summed(found.read(keys[rows]), labels, names[start:stop])
        total = part if total is None else total.plus(part)
    assert total is not None
    return total


def _first(folder, asked) -> str:
    sums = _sums(folder, asked, 0, asked.classes - asked.new)
    np.savez(
        folder / "sums.npz",
        counts=sums.counts,
        means=sums.means,
        scatter=sums.scatter,
    )
    return f"sums of {len(sums.classes):,} classes"


def _step(folder, asked) -> str:
    with np.load(folder / "sums.npz", allow_pickle=False) as kept:
        known = Statistics(
            tuple(_names(asked)[: asked.classes - asked.new]),
            *(kept[name] for name in ("counts", "means", "scatter")),
        )
    last = asked.classes
    statistics = known.plus(_sums(folder, asked, last - asked.new, last))
    found, keys = shards.find(epath.Path(folder / "whole")), _keys(asked)
    examples = Examples(
        keys, _labels(asked), lambda rows: found.read(keys[rows])
    )
    chosen = choice.choose(statistics, examples, None)
    head = choice.solved(statistics, chosen)
    return f"{chosen}, head of {head.kernel.shape}"


if __name__ == "__main__":
    main()
