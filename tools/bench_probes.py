"""Measures what probes cost a training.

    python tools/bench_probes.py [--interval=100]

One model is trained in turns, with and without probes, as
`tools/bench_training.py` trains it and by its flags. A run's time includes all
that a job repeats, and so, with probes, the tracing of their two functions and
the first look, which weigh less the longer a training is.

Where the machine is shared, two runs differ by more than that. So the runs
with probes also tell, by a clock around the probes, what part of their own
time is spent there, and what a look costs beside a batch.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import bench_training
from absl import flags
from bench_training import Bench, Seconds

from hierkeras import _main
from hierkeras.training import startup
from hierkeras.training.probes.callback import is_due

_INTERVAL = flags.DEFINE_integer(
    "interval", 100, "Batches between two looks.", lower_bound=1
)


@dataclasses.dataclass
class Clock:
    """Seconds that were spent in probes, run by run.

    Attributes:
        begins: Finding what to look at, in each run.
        looks: The looks of each run; the first one traces.
    """

    begins: list[float] = dataclasses.field(default_factory=list)
    looks: list[list[float]] = dataclasses.field(default_factory=list)

    def around(self, probes: Any) -> Any:
        """The same callback, which is timed."""
        begin, look = probes._begin, probes._look
        own: list[float] = []
        self.looks.append(own)

        def timed_begin() -> Any:
            start = time.perf_counter()
            begun = begin()
            self.begins.append(time.perf_counter() - start)
            return begun

        def timed_look() -> None:
            start = time.perf_counter()
            look()
            own.append(time.perf_counter() - start)

        probes._begin, probes._look = timed_begin, timed_look
        return probes


def main() -> None:
    """Runs the rounds and prints the cost."""
    startup.start_tensorflow()
    clock = Clock()
    bench = bench_training.prepare()
    runs: dict[str, Callable[[], None]] = {
        "off": bench.project,
        "on": functools.partial(bench.project, _INTERVAL.value, clock.around),
    }
    rounds = []
    for number in range(flags.FLAGS.rounds + 1):
        # Whoever comes first does so in turns.
        order = sorted(runs, reverse=number % 2 == 0)
        rounds.append(
            {kind: bench_training.timed(bench, runs[kind]) for kind in order}
        )
    report(bench, rounds[1:])
    report_clock(clock, [r["on"].clock for r in rounds], bench)


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


def report_clock(clock: Clock, totals: list[float], bench: Bench) -> None:
    """Prints what part of the runs with probes is theirs.

    Args:
        clock: What they took.
        totals: Seconds of each run.
        bench: What was run.
    """
    batches = bench.steps * bench.recipe.max_epochs
    rows = []
    for begin, looks, total in zip(
        clock.begins, clock.looks, totals, strict=True
    ):
        spent = begin + sum(looks)
        batch = (total - spent) / batches
        look = statistics.median(looks)
        once = begin + looks[0] - look
        rows.append((spent / total, once, look, look / batch))
    names = ("part of the time", "once, s", "a look, s", "a look, batches")
    for name, values in zip(names, zip(*rows[1:], strict=True), strict=True):
        print(
            f"{name}: median {statistics.median(values):.4f}, "
            f"min {min(values):.4f}, max {max(values):.4f}"
        )


if __name__ == "__main__":
    _main.run(main)
