"""Compares ways of taking in new classes, fairly and over several seeds.

    python tools/study.py --dataset=folder:PATH --class_batches=30,30 \
        --seeds=0,1,2 --out=runs/study

For each seed it trains the classes of the first batch from scratch, and lets
each contender of `study_parts/contenders.py` take in the others: from scratch,
flat increments, trees, ensembles, wider networks. Flags give the recipe, as
`hierkeras.increment` takes it; contenders differ from it. They run in one work
directory a seed, so that what several have in common is trained once; begun
again, the study goes on where it was. After each contender it writes

    OUT/table.md      mean and spread of errors, images swept, forward cost
    OUT/curves.png    error over classes known, and over images swept
    OUT/results.json  all of it

More than two batches, such as --class_batches=5x12 (5 classes, 12 times), are
a long stream: training from scratch is then repeated in each step, and errors
on old and new classes are told step by step. `--list` tells what contenders
are. A seed decides the order of the classes too.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator

from absl import flags
from etils import epath
from study_parts import contenders, records
from study_parts.contenders import CONTENDERS
from study_parts.records import Record

from hierkeras import _machine_flags, _main, _recipe_flags, _routing_flags
from hierkeras._errors import UsageError
from hierkeras.data import registry, streams
from hierkeras.data.source import DataConfig, Source
from hierkeras.data.splits import check_enough
from hierkeras.recipe import compose, fields, resolve
from hierkeras.recipe.recipe import Recipe
from hierkeras.training import startup
from hierkeras.training.context import Context, ContextConfig
from hierkeras.tree import atomic

_DATASET = flags.DEFINE_string(
    "dataset",
    "",
    "Images: digits, folder:PATH, tfds:NAME or npz:FILE. Where it has no "
    "splits, a tenth is validation and a tenth test.",
)
_CLASS_BATCHES = flags.DEFINE_list(
    "class_batches",
    ["30", "30"],
    "How many classes each step takes, e.g. 30,30; 5x12 is 5, 12 times.",
)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds, e.g. 0,1,2.")
_OUT = flags.DEFINE_string("out", "runs/study", "Folder of the study.")
_CONTENDERS = flags.DEFINE_list(
    "contenders",
    [],
    "Names or patterns such as flat-*; empty: those of the main study, or of "
    "long streams.",
)
_LIST = flags.DEFINE_bool(
    "list", False, "Tell what the contenders are; train nothing."
)
for _module in (_recipe_flags, _routing_flags, _machine_flags):
    flags.adopt_module_key_flags(_module)


@dataclasses.dataclass(frozen=True)
class Opened:
    """The data set, and the recipe that contenders differ from."""

    data: DataConfig
    source: Source
    base: Recipe

    def batches(self, sizes: list[int], seed: int) -> list[tuple[str, ...]]:
        """The classes of each step."""
        names = self.source.catalogue.class_names
        return streams.class_batches(names, sizes, seed)


def main() -> None:
    """Runs what has yet to be run, then prints the table."""
    sizes = batch_sizes(_CLASS_BATCHES.value)
    default = contenders.MAIN if len(sizes) == 2 else contenders.STREAM
    if _LIST.value:
        for name in contenders.choose(_CONTENDERS.value or ["*"]):
            print(f"{name}\n    {CONTENDERS[name]}")
        return
    chosen = contenders.choose(_CONTENDERS.value or default)
    seeds = [_number("--seeds", seed) for seed in _SEEDS.value]
    opened = open_data(sizes, seeds, chosen)
    startup.start_tensorflow(_machine_flags.runtime().deterministic)
    found: dict[str, list[Record]] = {name: [] for name in chosen}
    told = ""
    for seed in seeds:
        for record in run_seed(opened, sizes, seed, chosen):
            found[record.contender].append(record)
            told = report(found, about(opened.base, sizes))
    print(told, end="")


def about(base: Recipe, sizes: list[int]) -> str:
    """What is studied, in a sentence."""
    network, training = base.network, base.training
    return (
        f"{_DATASET.value}, classes {','.join(map(str, sizes))}, "
        f"{network.backbone} of width {network.width_multiplier:g} at "
        f"{network.image_size} pixels, {training.max_epochs} epochs of "
        f"batches of {training.batch_size}, {training.optimizer}, "
        f"{training.precision}, {len(os.sched_getaffinity(0))} cores."
    )


def batch_sizes(given: list[str]) -> list[int]:
    """What --class_batches asks for.

    Raises:
        UsageError: If it makes no sense.
    """
    sizes = []
    for part in given:
        size, times, count = part.partition("x")
        repeats = _number("--class_batches", count) if times else 1
        sizes += [_number("--class_batches", size)] * repeats
    if len(sizes) < 2:
        raise UsageError(
            "--class_batches takes at least two batches, e.g. 30,30. "
            f"Received: {','.join(given)}"
        )
    return sizes


def _number(flag: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        raise UsageError(f"{flag} takes whole numbers. Received: {text!r}")
    return int(text)


def open_data(sizes: list[int], seeds: list[int], chosen: list[str]) -> Opened:
    """Finds what is wrong with the flags before anything is trained.

    Raises:
        UsageError: If they make no sense.
        UserError: If the data set cannot be opened, or has too few images.
    """
    asked = _recipe_flags.asked()
    for name in asked.changes:
        if name == "seed" or name in contenders.PLAIN:
            raise UsageError(
                f"{name} is given, which contenders and --seeds decide; "
                "--list tells what contenders are"
            )
    if _DATASET.value.startswith("tfds:"):
        startup.start_tensorflow()  # which such a data set needs at once
    data = DataConfig(_DATASET.value, validation_fraction=0.1)
    source = registry.open_source(data)
    composed = compose.compose(asked, None, "photos")
    base = composed.resolved(resolve.facts(source)).recipe
    opened = Opened(data, source, base)
    for seed in seeds:
        check_enough(source.catalogue, sum(opened.batches(sizes, seed), ()))
    for name in chosen:
        CONTENDERS[name].recipes(base, len(sizes))
    return opened


def run_seed(
    opened: Opened, sizes: list[int], seed: int, chosen: list[str]
) -> Iterator[Record]:
    """Runs contenders with one seed; yields each record once it is there."""
    from study_parts.running import Seed

    from hierkeras.growth.steps import without_unreadable

    folder = epath.Path(_OUT.value) / f"seed{seed}"
    config = ContextConfig(
        workdir=str(folder / "work"),
        data=opened.data,
        image_size=opened.base.network.image_size,
        pixels=opened.base.pixels,
        cache=_machine_flags.cache(),
        runtime=_machine_flags.runtime(),
    )
    context = Context(config, opened.source)
    batches = opened.batches(sizes, seed)
    base = fields.changed(opened.base, {"seed": seed})
    executor = _machine_flags.executor()
    try:
        with context.store.lock():
            known = sum(batches, ())
            context = without_unreadable(context, known, (), 100)
            runner = Seed(context, batches, base, executor, folder / "results")
            for name in chosen:
                print(f"seed {seed}: {name}", file=sys.stderr)
                yield runner.record(name)
    finally:
        executor.close()


def report(study: dict[str, list[Record]], what: str) -> str:
    """Writes tables and curves of the records that are there.

    Returns:
        The tables.
    """
    from study_parts import reporting

    found = {name: each for name, each in study.items() if each}
    out, told = epath.Path(_OUT.value), reporting.table(found, what)
    atomic.write_file(out / "table.md", told.encode())
    atomic.write_file(out / "curves.png", reporting.curves_png(found))
    rows = reporting.rows(found)
    all_of_it = {"about": what, "rows": rows, "records": found}
    records.write(out / "results.json", all_of_it)
    return told


if __name__ == "__main__":
    _main.run(main)
