"""The study as tables and curves."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from matplotlib.figure import Figure

from hierkeras.analysis.forgetting import (
    average_forgetting,
    average_incremental_accuracy,
)
from study_parts import records
from study_parts.records import Reading, Record, Spread, StepRecord, spread

BASELINE = "scratch"
_SINGLE = "one"  # the reading of a single network
Records = Mapping[str, Sequence[Record]]  # by contender; a record a seed


class Row(msgspec.Struct, frozen=True):
    """A contender under one routing, after the last step.

    Errors, `gain`, `images` and `reached` are in [0, 1].

    Args:
        contender: Its name.
        routing: How it answers; `one`: a single network, or an ensemble.
        chosen: Whether that routing has the least validation error.
        seeds: How many seeds there are.
        images: Images swept after the first step, as a share of what training
            from scratch sweeps there; the absolute number without a baseline.
        images_with_first: Number of images swept in all steps.
        training_flops: Of their forward passes after the first step, as
            `images`.
        validation_error: Mean and spread, as all that follows.
        test_error: Top-1.
        gain: What the baseline errs more, seed by seed.
        top5_error: Top-5.
        calibration_error: Expected calibration error.
        old_error: On classes from before the last step.
        new_error: On the last step's classes.
        parameters: Shared layers counted once.
        flops: For an image, shared layers counted once.
        unshared_flops: For an image, nothing shared.
        reached: Share of the baseline's images after which the contender's
            validation error is at most the baseline's last; over the seeds
            in which it is. None without a training curve of its own.
        times_reached: In how many seeds it is.
        incremental_accuracy: Average incremental accuracy.
        forgetting: Average forgetting.
    """

    contender: str
    routing: str
    chosen: bool
    seeds: int
    images: Spread
    images_with_first: Spread
    training_flops: Spread
    validation_error: Spread
    test_error: Spread
    gain: Spread | None
    top5_error: Spread
    calibration_error: Spread
    old_error: Spread
    new_error: Spread
    parameters: Spread
    flops: Spread
    unshared_flops: Spread
    reached: Spread | None
    times_reached: int
    incremental_accuracy: Spread
    forgetting: Spread


def reading(step: StepRecord, routing: str) -> Reading:
    """What a step measured; a single network answers in one way only."""
    return step.readings.get(routing) or step.readings[_SINGLE]


def routings(found: Sequence[Record]) -> list[str]:
    """The routings to tell of: those of trees, where a seed has one."""
    names = dict.fromkeys(n for r in found for n in r.steps[-1].readings)
    return [name for name in names if name != _SINGLE] or [_SINGLE]


def chosen_routing(found: Sequence[Record]) -> str:
    """The routing with the least mean validation error."""
    return min(
        routings(found),
        key=lambda name: sum(
            reading(r.steps[-1], name).validation_error for r in found
        ),
    )


def images_after_first(record: Record) -> int:
    """Images swept in all steps but the first."""
    return sum(step.images for step in record.steps[1:])


def training_flops_after_first(record: Record) -> float:
    """Operations of their forward passes."""
    return sum(step.training_flops for step in record.steps[1:])


def rows(study: Records) -> list[Row]:
    """The rows of the table, in the order of the contenders."""
    baseline = {record.seed: record for record in study.get(BASELINE, ())}
    return [
        _row(found, routing, baseline)
        for found in study.values()
        for routing in routings(found)
    ]


def _row(
    found: Sequence[Record], routing: str, baseline: Mapping[int, Record]
) -> Row:
    last = [reading(record.steps[-1], routing) for record in found]

    def over(value: Callable[[Reading], float]) -> Spread:
        return spread([value(each) for each in last])

    def of_baseline(cost: Callable[[Record], float]) -> Spread:
        """Of what the baseline costs; the cost itself without one."""
        return spread(
            [
                cost(r) / (cost(same) if (same := baseline.get(r.seed)) else 1)
                for r in found
            ]
        )

    gains = [
        reading(same.steps[-1], _SINGLE).test_error - own.test_error
        for record, own in zip(found, last, strict=True)
        if (same := baseline.get(record.seed))
    ]
    reached = [
        share
        for record in found
        if (share := _reached(record, baseline)) is not None
    ]
    accuracies = [
        [reading(step, routing).batch_accuracies for step in record.steps]
        for record in found
    ]
    return Row(
        contender=found[0].contender,
        routing=routing,
        chosen=routing == chosen_routing(found),
        seeds=len(found),
        images=of_baseline(images_after_first),
        images_with_first=spread(
            [sum(step.images for step in r.steps) for r in found]
        ),
        training_flops=of_baseline(training_flops_after_first),
        validation_error=over(lambda r: r.validation_error),
        test_error=over(lambda r: r.test_error),
        gain=spread(gains) if gains else None,
        top5_error=over(lambda r: r.top5_error),
        calibration_error=over(lambda r: r.calibration_error),
        old_error=over(lambda r: r.old_error or 0.0),
        new_error=over(lambda r: r.new_error),
        parameters=spread([r.steps[-1].parameters for r in found]),
        flops=over(lambda r: r.flops),
        unshared_flops=over(lambda r: r.unshared_flops),
        reached=spread(reached) if reached else None,
        times_reached=len(reached),
        incremental_accuracy=spread(
            [
                average_incremental_accuracy(
                    [1.0 - reading(s, routing).test_error for s in r.steps]
                )
                for r in found
            ]
        ),
        forgetting=spread([average_forgetting(a) or 0.0 for a in accuracies]),
    )


def _reached(record: Record, baseline: Mapping[int, Record]) -> float | None:
    """After which share of the baseline's images it is as good, if it is."""
    same = baseline.get(record.seed)
    curves = record.steps[-1].curves
    if same is None or len(record.steps) != 2 or len(curves) != 1:
        return None
    images = records.images_to_reach(
        curves[0].points, reading(same.steps[-1], _SINGLE).validation_error
    )
    return None if images is None else images / images_after_first(same)


def table(study: Records, about: str) -> str:
    """The whole report as Markdown.

    Args:
        study: The records.
        about: What was studied, in a sentence.
    """
    is_stream = any(len(r.steps) > 2 for found in study.values() for r in found)
    parts = [f"# Study\n\n{about}", _after_the_last_step(rows(study))]
    if is_stream:
        parts += [_along_the_stream(study)]
    return "\n\n".join(parts) + "\n"


_NOTE = """\
Mean ± standard deviation over the seeds, which differ in the order of the
classes and in every random choice. Errors are on test images; the routing
marked * has the least validation error, and nothing else chose it. Images are
those of all steps but the first, as a share of what training from scratch
sweeps in them; in brackets all, the first step included, in thousands. The
gain is over training from scratch, seed by seed. The forward cost is in units
of training from scratch's network, layers that parent and child share counted
once; in brackets with nothing shared. "As good after": share of training from
scratch's images after which the validation error of a training is first at
most the last one of training from scratch, and in how many seeds that is so;
its learning rate was still to fall then. An image counts once an epoch, whether
layers are frozen, a teacher looks at it too, leaves are trained together with
their branch, or the network is a wide one. The training cost tells those apart:
operations of the forward passes of these images, as a share of training from
scratch's, without a teacher's."""


def _after_the_last_step(found: Sequence[Row]) -> str:
    base = next((r for r in found if r.contender == BASELINE), None)
    unit = base.flops.mean if base else 1e6
    share = _percent if base else _count
    lines = [
        [
            row.contender,
            row.routing + ("*" if row.chosen and row.routing != "one" else ""),
            str(row.seeds),
            f"{share(row.images)} ({row.images_with_first.mean / 1e3:,.0f})",
            f"{row.training_flops.mean:.2f}" if base else "-",
            _percent(row.validation_error),
            _percent(row.test_error),
            _percent(row.gain) if row.gain else "-",
            _percent(row.top5_error),
            _percent(row.calibration_error),
            _percent(row.old_error),
            _percent(row.new_error),
            f"{row.parameters.mean / 1e6:.2f} M",
            f"{row.flops.mean / unit:.2f} "
            f"({row.unshared_flops.mean / unit:.2f})",
            f"{_percent(row.reached)} ({row.times_reached}/{row.seeds})"
            if row.reached
            else "-",
        ]
        for row in found
    ]
    heads = [
        *("contender", "routing", "seeds", "images", "training cost"),
        "validation",
        *("top-1 error", "gain", "top-5 error", "calibration"),
        *("old", "new", "parameters"),
        *("forward cost" if base else "forward MFLOP", "as good after"),
    ]
    return f"{_markdown(heads, lines)}\n\n{_NOTE}"


def _along_the_stream(study: Records) -> str:
    parts = ["## Along the stream"]
    images = _percent if study.get(BASELINE) else _count
    lines = [
        [
            row.contender,
            row.routing,
            images(row.images),
            _percent(row.test_error),
            _percent(row.incremental_accuracy),
            _percent(row.forgetting),
        ]
        for row in rows(study)
        if row.chosen
    ]
    heads = [
        *("contender", "routing", "images", "last top-1 error"),
        *("average incremental accuracy", "average forgetting"),
    ]
    parts.append(_markdown(heads, lines))
    parts.append(
        "Average incremental accuracy: Rebuffi et al. 2017. Average "
        "forgetting: Chaudhry et al. 2018; what training from scratch "
        "forgets is the work of more classes alone."
    )
    parts += [
        f"### {name}\n\n{_steps(found, study.get(BASELINE, ()))}"
        for name, found in study.items()
    ]
    return "\n\n".join(parts)


def _steps(found: Sequence[Record], baseline: Sequence[Record]) -> str:
    routing = chosen_routing(found)
    lines = []
    for number, step in enumerate(found[0].steps):
        own = [reading(record.steps[number], routing) for record in found]
        swept = spread([r.steps[number].images for r in found])
        full = [r.steps[number].images for r in baseline]
        share = f" ({swept.mean / spread(full).mean:.1%})" if full else ""
        lines.append(
            [
                str(number + 1),
                str(step.num_classes),
                _percent(spread([r.test_error for r in own])),
                _percent(spread([r.old_error or 0.0 for r in own]))
                if number
                else "-",
                _percent(spread([r.new_error for r in own])),
                _count(swept) + share,
                _count(spread([r.steps[number].num_leaves for r in found])),
            ]
        )
    heads = [
        *("step", "classes", "top-1 error", "old", "new"),
        *("images (of from scratch's)", "leaves"),
    ]
    return _markdown(heads, lines)


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(heads)
    return "\n".join("| " + " | ".join(r) + " |" for r in (heads, rule, *lines))


def _percent(value: Spread) -> str:
    around = (
        "" if value.deviation is None else f" ± {100 * value.deviation:.1f}"
    )
    return f"{100 * value.mean:.1f}{around} %"


def _count(value: Spread) -> str:
    return f"{value.mean:,.0f}"


def curves_png(study: Records) -> bytes:
    """Learning curves, and error over images swept, as a PNG file.

    With long streams, error over classes known instead of learning curves.
    """
    figure = Figure(figsize=(15, 6.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    is_stream = any(len(r.steps) > 2 for found in study.values() for r in found)
    lines = _stream_lines(study) if is_stream else _learning_lines(study)
    for number, (name, x, y) in enumerate(lines):
        style = ("-", "--", ":")[number // 10 % 3]
        left.plot(x, y, style, label=name, linewidth=1.2)
    if is_stream:
        left.set(xlabel="classes known", ylabel="top-1 error on test images")
    else:
        left.set(xlabel="images swept", ylabel="validation error")
    if left.lines:
        left.legend(fontsize=7)
    for row in rows(study):
        if row.chosen:
            point = row.images.mean, row.test_error.mean
            right.errorbar(
                *point, yerr=row.test_error.deviation or 0.0, fmt="o", ms=3
            )
            right.annotate(row.contender, point, fontsize=6)
    right.set(
        xlabel="images swept, of from scratch's", ylabel="top-1 error on test"
    )
    for axes in (left, right):
        axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


Line = tuple[str, Sequence[float], Sequence[float]]


def _learning_lines(study: Records) -> Iterator[Line]:
    """Of the longest single training of each family, the mean over seeds."""
    longest: dict[str, Sequence[Record]] = {}
    for name, found in study.items():
        if all(len(record.steps[-1].curves) == 1 for record in found):
            family = re.sub(r"-\d+$", "", name)
            known = longest.get(family, found)
            longest[family] = max(
                known, found, key=lambda f: images_after_first(f[0])
            )
    for found in longest.values():
        points = [record.steps[-1].curves[0].points for record in found]
        if not all(points):
            continue
        epochs = list(zip(*points, strict=False))
        yield (
            found[0].contender,
            [spread([images for images, _ in e]).mean for e in epochs],
            [spread([error for _, error in e]).mean for e in epochs],
        )


def _stream_lines(study: Records) -> Iterator[Line]:
    for name, found in study.items():
        routing = chosen_routing(found)
        yield (
            name,
            [step.num_classes for step in found[0].steps],
            [
                spread(
                    [reading(r.steps[n], routing).test_error for r in found]
                ).mean
                for n in range(len(found[0].steps))
            ],
        )
