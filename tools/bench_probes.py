"""Measures what probes cost a training.

    python tools/bench_probes.py [--interval=100]

One model is trained in turns, with and without probes, as
`tools/bench_training.py` trains it and by its flags. A run's time includes all
that a job repeats, and so, with probes, the tracing of their two functions and
the first look, which weigh less the longer a training is.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable

import bench_training
from absl import flags
from bench_training import Bench, Seconds

from hierkeras import _main
from hierkeras.training import startup
from hierkeras.training.probes.callback import is_due

_INTERVAL = flags.DEFINE_integer(
    "interval", 100, "Batches between two looks.", lower_bound=1
)


def main() -> None:
    """Runs the rounds and prints the cost."""
    startup.start_tensorflow()
    bench = bench_training.prepare()
    runs: dict[str, Callable[[], None]] = {
        "off": bench.project,
        "on": functools.partial(bench.project, _INTERVAL.value),
    }
    rounds = []
    for number in range(flags.FLAGS.rounds + 1):
        # Whoever comes first does so in turns.
        order = sorted(runs, reverse=number % 2 == 0)
        rounds.append(
            {kind: bench_training.timed(bench, runs[kind]) for kind in order}
        )
    report(bench, rounds[1:])


def report(bench: Bench, rounds: list[dict[str, Seconds]]) -> None:
    """Prints each round and, by its median, what probes cost."""
    batches = bench.steps * bench.recipe.max_epochs
    looks = 1 + sum(is_due(step, _INTERVAL.value) for step in range(batches))
    print(
        f"{flags.FLAGS.backbone}, {flags.FLAGS.image_size} pixels, "
        f"{batches} batches of {bench.recipe.batch_size} a run, {looks} looks"
    )
    print("seconds         off          on       ratio")
    for number, seconds in enumerate(rounds, start=1):
        off, on = seconds["off"].clock, seconds["on"].clock
        print(f"{number:7}{off:12.2f}{on:12.2f}{on / off:12.3f}")
    for what in Seconds._fields:
        ratios = [
            getattr(r["on"], what) / getattr(r["off"], what) for r in rounds
        ]
        print(
            f"on / off, {what}: median {statistics.median(ratios):.3f}, "
            f"min {min(ratios):.3f}, max {max(ratios):.3f}"
        )


if __name__ == "__main__":
    _main.run(main)
