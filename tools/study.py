"""Compares every way of taking in new classes, fairly and over several seeds.

    python tools/study.py --dataset=folder:PATH --class_batches=30,30 \
        --seeds=0,1,2 --out=runs/study

For each seed it trains the classes of the first batch from scratch, and lets
each contender of `study_parts/contenders.py` take in the others: from scratch,
flat increments, trees, ensembles, wider networks. Contenders run through the
project's own jobs, in one work directory a seed, so that what several have in
common is trained once; begun again, the study goes on where it was. After
each contender it writes

    OUT/table.md      mean and spread of errors, images swept, forward cost
    OUT/curves.png    learning curves; error over images swept
    OUT/results.json  all of it

More than two batches, such as --class_batches=5x12 (5 classes, 12 times), are
a long stream: training from scratch is then repeated in each step, and errors
on old and new classes are told step by step. `--list` tells what the
contenders would cost. A seed decides the order of the classes too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator

import msgspec
from absl import flags
from etils import epath
from hierkeras.growth.plan import JobPlan
from study_parts import contenders
from study_parts.records import Record

from hierkeras import _format_flag, _main, _training_flags
from hierkeras._errors import UsageError
from hierkeras._float_flag import define_float
from hierkeras.data import registry, streams
from hierkeras.data.source import DataConfig, Source
from hierkeras.data.splits import check_enough
from hierkeras.training import startup
from hierkeras.training.context import Context, ContextConfig
from hierkeras.tree import atomic

_DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Images: digits, folder:PATH, tfds:NAME or npz:FILE.",
    required=True,
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
    "Names or patterns such as flat-*; all: every one; empty: those of the "
    "main study, or of long streams.",
)
_VALIDATION_FRACTION = define_float(
    "validation_fraction",
    0.1,
    "Share of the images that is validation, where the data set has none.",
    lower_bound=0.001,
    upper_bound=0.5,
)
_TEST_FRACTION = define_float(
    "test_fraction",
    0.1,
    "Share of the images that is test, where the data set has none.",
    lower_bound=0.001,
    upper_bound=0.5,
)
_LIST = flags.DEFINE_bool(
    "list", False, "Tell the contenders and what they cost; train nothing."
)
_IMAGES_PER_SECOND = define_float(
    "images_per_second",
    1000.0,
    "At which --list reckons.",
    lower_bound=1.0,
    upper_bound=1e9,
)

flags.adopt_module_key_flags(_format_flag)
flags.adopt_module_key_flags(_training_flags)
for _name, _value in {
    "schedule": "cosine",
    "initial_learning_rate": 0.1,
    "max_epochs": 20,
    "warmup_epochs": 1.0,
    # All there are: curves are compared with each other.
    "validation_samples": 10**9,
}.items():
    flags.FLAGS.set_default(_name, _value)


def main() -> None:
    """Runs what has yet to be run, then prints the table."""
    data = DataConfig(
        _DATASET.value, _VALIDATION_FRACTION.value, _TEST_FRACTION.value
    )
    sizes = batch_sizes(_CLASS_BATCHES.value)
    seeds = [_number("--seeds", seed) for seed in _SEEDS.value]
    chosen = choose(len(sizes))
    if data.dataset.startswith("tfds:"):
        startup.start_tensorflow()  # which such a data set needs at once
    source = registry.open_source(data)
    plan = JobPlan(
        _training_flags.model_config(),
        _training_flags.recipe(source.is_photos),
    )
    names = source.catalogue.class_names
    batches = {s: streams.class_batches(names, sizes, s) for s in seeds}
    for drawn in batches.values():
        check_enough(source.catalogue, [n for batch in drawn for n in batch])
    if _LIST.value:
        tell_costs(chosen, source, batches[seeds[0]], plan)
        return
    startup.start_tensorflow(_training_flags.runtime().deterministic)
    about = (
        f"{data.dataset}, classes {','.join(map(str, sizes))}, "
        f"{plan.model.backbone} at {plan.model.image_size} pixels, "
        f"{plan.recipe.max_epochs} epochs of batches of "
        f"{plan.recipe.batch_size}, {plan.recipe.precision}, "
        f"{len(os.sched_getaffinity(0))} cores."
    )
    study: dict[str, list[Record]] = {c.name: [] for c in chosen}
    for seed in seeds:
        own = dataclasses.replace(plan, seed=seed)
        for record in run_seed(data, batches[seed], own, chosen):
            study[record.contender].append(record)
            report(study, about)
    _print(about, study)


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
    if not text.isdecimal() or len(text) > 9:
        raise UsageError(f"{flag} takes whole numbers. Received: {text!r}")
    return int(text)


def choose(num_batches: int) -> list[contenders.Contender]:
    """The contenders that are asked for.

    Raises:
        UsageError: If there is no such contender.
    """
    given = _CONTENDERS.value
    if given == ["all"]:
        given = list(contenders.CONTENDERS)
    default = contenders.MAIN if num_batches == 2 else contenders.STREAM
    return contenders.choose(given or default, contenders.CONTENDERS)


def tell_costs(
    chosen: list[contenders.Contender],
    source: Source,
    batches: list[tuple[str, ...]],
    plan: JobPlan,
) -> None:
    """Prints what contenders sweep, and how long that takes."""
    images = [
        sum(counts["train"] for counts in source.catalogue.counts(b).values())
        for b in batches
    ]
    epochs = plan.recipe.max_epochs
    first = images[0] * epochs
    others = sum(sum(images[: n + 1]) for n in range(1, len(images))) * epochs
    for contender in chosen:
        share = contenders.cost([contender], contenders.CONTENDERS)
        print(f"{contender.name:28} {share:6.2f} {_hours(share * others)}")
    share = contenders.cost(chosen, contenders.CONTENDERS)
    seconds = _hours(first + share * others)
    print(
        f"{'together, with the first step':28} {share:5.2f} {seconds}\n"
        "columns: cost of the steps after the first, from scratch being 1; "
        f"one seed at {_IMAGES_PER_SECOND.value:,.0f} images/s"
    )


def _hours(images: float) -> str:
    return f"{images / _IMAGES_PER_SECOND.value / 3600:8.2f} h"


def run_seed(
    data: DataConfig,
    batches: list[tuple[str, ...]],
    plan: JobPlan,
    chosen: list[contenders.Contender],
) -> Iterator[Record]:
    """Runs contenders with one seed; yields each record once it is there."""
    from study_parts.running import SeedRunner

    from hierkeras.growth.steps import leave_out_unreadable

    folder = epath.Path(_OUT.value) / f"seed{plan.seed}"
    context = Context(
        ContextConfig(
            str(folder / "work"),
            data,
            plan.model.image_size,
            runtime=_training_flags.runtime(),
        )
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(context.store.lock())
        classes = [name for batch in batches for name in batch]
        leave_out_unreadable(context, classes, (), max_bad_images=100)
        runner = SeedRunner(context, batches, plan, folder / "results")
        for contender in chosen:
            print(f"seed {plan.seed}: {contender.name}", file=sys.stderr)
            yield runner.record(contender)


def report(study: dict[str, list[Record]], about: str) -> None:
    """Writes tables and curves of the records that are there."""
    from study_parts import records, reporting

    found = {name: each for name, each in study.items() if each}
    out = epath.Path(_OUT.value)
    atomic.write_file(out / "table.md", reporting.table(found, about).encode())
    atomic.write_file(out / "curves.png", reporting.curves_png(found))
    records.write(
        out / "results.json",
        {"about": about, "rows": reporting.rows(found), "records": found},
    )


def _print(about: str, study: dict[str, list[Record]]) -> None:
    from study_parts import reporting

    if _format_flag.FORMAT.value == "json":
        print(msgspec.json.encode(reporting.rows(study)).decode())
    else:
        print(reporting.table(study, about), end="")


if __name__ == "__main__":
    _main.run(main)
