"""The study as tables and curves."""

from __future__ import annotations

import io
import statistics
from collections.abc import Mapping, Sequence

import msgspec
from matplotlib.figure import Figure

from hierkeras.analysis.forgetting import (
    average_forgetting,
    average_incremental_accuracy,
)
from study_parts.records import Reading, Record, StepRecord

BASELINE = "scratch"
_SINGLE = "one"  # the reading of a single network
Records = Mapping[str, Sequence[Record]]  # by contender; a record a seed


class Spread(msgspec.Struct, frozen=True):
    """Mean and sample standard deviation, which a single value lacks."""

    mean: float
    deviation: float | None


class Row(msgspec.Struct, frozen=True):
    """A contender under one routing, after the last step."""

    contender: str
    routing: str  # `one`: a single network, or an ensemble
    chosen: bool  # whether that routing has the least validation error
    seeds: int
    values: dict[str, Spread]  # what was measured, by the name of its column


def rows(study: Records) -> list[Row]:
    """The rows of the table, in the order of the contenders."""
    return [
        Row(
            contender=name,
            routing=routing,
            chosen=routing == chosen_routing(found),
            seeds=len(found),
            values=_values(found, routing, study),
        )
        for name, found in study.items()
        for routing in _routings(found)
    ]


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of at least one value."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation)


def reading(step: StepRecord, routing: str) -> Reading:
    """What a step measured; a single network answers in one way only."""
    return step.readings.get(routing) or step.readings[_SINGLE]


def chosen_routing(found: Sequence[Record]) -> str:
    """The routing with the least mean validation error."""

    def error(name: str) -> float:
        last = (reading(record.steps[-1], name) for record in found)
        return sum(each.validation_error for each in last)

    return min(_routings(found), key=error)


def _routings(found: Sequence[Record]) -> list[str]:
    """The routings to tell of: those of trees, where a seed has one."""
    names = dict.fromkeys(n for r in found for n in r.steps[-1].readings)
    return [name for name in names if name != _SINGLE] or [_SINGLE]


def _values(
    found: Sequence[Record], routing: str, study: Records, steps: int = 10**6
) -> dict[str, Spread]:
    """What records say after some steps, over the seeds.

    Costs of training leave out the first step; costs of one network's units
    and gains are over the baseline, if each seed has it.
    """
    baseline = {record.seed: record for record in study.get(BASELINE, ())}
    each = []
    for record in found:
        own = _measured(record.steps[:steps], routing)
        if record.seed in baseline:
            same = _measured(baseline[record.seed].steps[:steps], _SINGLE)
            own |= {
                "images": own["thousand images"] / same["thousand images"],
                "training cost": own["training TFLOP"] / same["training TFLOP"],
                "forward cost": own["MFLOP"] / same["MFLOP"],
                "gain": same["top-1 error"] - own["top-1 error"],
                "validation gain": same["validation"] - own["validation"],
            }
        each.append(own)
    names = [name for name in each[0] if all(name in one for one in each)]
    return {name: spread([one[name] for one in each]) for name in names}


def _measured(steps: Sequence[StepRecord], routing: str) -> dict[str, float]:
    readings = [reading(step, routing) for step in steps]
    tree, last = steps[-1].tree, readings[-1]
    accuracies = [[1 - e for e in each.batch_errors] for each in readings]
    trained = sum(step.training_flops for step in steps[1:])
    return {
        "classes": steps[-1].num_classes,
        "thousand images": sum(step.images for step in steps[1:]) / 1e3,
        "training TFLOP": trained / 1e12,
        "validation": last.validation_error,
        "top-1 error": last.test_error,
        "top-5 error": last.top5_error,
        "calibration": last.calibration_error,
        "old": last.old_error or 0.0,
        "new": last.batch_errors[-1],
        "leaves": len(tree.leaves) if tree else 0,
        "million parameters": steps[-1].parameters / 1e6,
        "MFLOP": last.flops / 1e6,
        "incremental accuracy": average_incremental_accuracy(
            [1 - each.test_error for each in readings]
        ),
        "forgetting": average_forgetting(accuracies) or 0.0,
    }


_COLUMNS = (
    *("images", "thousand images", "training cost", "validation"),
    *("top-1 error", "gain", "validation gain", "top-5 error", "calibration"),
    *("old", "new", "leaves", "million parameters", "MFLOP", "forward cost"),
    *("incremental accuracy", "forgetting"),
)
_STEP_COLUMNS = (
    *("classes", "top-1 error", "old", "new", "images", "thousand images"),
    "leaves",
)
_DIGITS = {
    **{"classes": 0, "thousand images": 0, "leaves": 1, "MFLOP": 1},
    **{"training cost": 2, "forward cost": 2, "million parameters": 2},
}
_NOTE = """\
Mean ± standard deviation over the seeds, which differ in the order of the
classes and in every random choice. Errors are on test images; the routing
marked * has the least validation error, and nothing else chose it. Images and
training cost, the operations of the forward passes of these images, are those
of all steps but the first. Images, training cost and forward cost are shares
of what training from scratch takes, and gains are over it, seed by seed, on
test and on validation images. Layers that parent and child share count once.
Average incremental accuracy: Rebuffi et al. 2017; average forgetting: Chaudhry
et al. 2018."""


def table(study: Records, about: str) -> str:
    """The whole report as Markdown.

    Args:
        study: The records.
        about: What was studied, in a sentence.
    """
    heads = ("contender", "routing", "seeds", *_COLUMNS)
    lines = []
    for row in rows(study):
        mark = "*" if row.chosen and row.routing != _SINGLE else ""
        who = [row.contender, row.routing + mark, str(row.seeds)]
        lines.append([*who, *_cells(row.values, _COLUMNS)])
    parts = [f"# Study\n\n{about}", _markdown(heads, lines), _NOTE]
    for name, found in study.items():
        if len(found[0].steps) > 2:
            parts.append(f"## {name}, step by step\n\n{_steps(found, study)}")
    return "\n\n".join(parts) + "\n"


def _steps(found: Sequence[Record], study: Records) -> str:
    routing = chosen_routing(found)
    counts = range(2, len(found[0].steps) + 1)
    each = [_values(found, routing, study, count) for count in counts]
    return _markdown(_STEP_COLUMNS, [_cells(v, _STEP_COLUMNS) for v in each])


def _cells(values: Mapping[str, Spread], names: Sequence[str]) -> list[str]:
    return [_cell(name, values.get(name)) for name in names]


def _cell(name: str, value: Spread | None) -> str:
    if value is None:
        return "-"
    if name in _DIGITS:
        return f"{value.mean:,.{_DIGITS[name]}f}"
    deviation = value.deviation
    around = "" if deviation is None else f" ± {100 * deviation:.1f}"
    return f"{100 * value.mean:.1f}{around} %"


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(heads)
    return "\n".join("| " + " | ".join(r) + " |" for r in (heads, rule, *lines))


def curves_png(study: Records) -> bytes:
    """Error over classes known, and over images swept, as a PNG file."""
    figure = Figure(figsize=(15, 6.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, found) in enumerate(study.items()):
        routing = chosen_routing(found)
        counts = range(1, len(found[0].steps) + 1)
        each = [_values(found, routing, {}, count) for count in counts]
        style = ("-", "--", ":")[number // 10 % 3]
        errors = [values["top-1 error"].mean for values in each]
        classes = [values["classes"].mean for values in each]
        left.plot(classes, errors, style, label=name, linewidth=1.2)
        last = each[-1]["top-1 error"]
        point = each[-1]["thousand images"].mean, last.mean
        right.errorbar(*point, yerr=last.deviation or 0.0, fmt="o", ms=3)
        right.annotate(name, point, fontsize=6)
    left.set(xlabel="classes known", ylabel="top-1 error on test images")
    left.legend(fontsize=7)
    right.set(xlabel="thousand images swept after the first step")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
