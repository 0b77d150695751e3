"""An evaluation as text: the paper's Tables 3, 4 and 5 for this tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hierkeras.analysis.evaluation import Evaluation


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of words and numbers.

    Args:
        title: What it shows.
        header: A name for each column.
        rows: As many cells each.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def text(evaluation: Evaluation) -> str:
    """The whole report.

    Args:
        evaluation: What was measured.
    """
    e = evaluation
    classes = (
        f"  old classes {_percent(e.old_classes_top1_error)}, "
        f"new classes {_percent(e.new_classes_top1_error)}"
    )
    rules = ", ".join(
        f"{rule} {_percent(error)}"
        for rule, error in e.top1_error_by_routing.items()
    )
    head = [
        f"generation {e.generation}: {e.num_classes} classes, "
        f"{e.num_leaves} leaves, depth {e.depth}",
        f"{e.num_examples:,} {e.split} images, {e.routing} routing: "
        f"top-1 error {_percent(e.top1_error)}, "
        f"top-5 error {_percent(e.top5_error)}, "
        f"calibration error {_percent(e.calibration_error)}",
        f"  {rules}",
        classes,
        f"{e.num_parameters:,} parameters, "
        f"{e.forward_flops_per_image / 1e6:,.1f} MFLOP per image"
        + _times_the_root(e),
    ]
    shown = [*map(_text, of_the_paper(e)), _text(_steps(e))]
    if not e.contenders:
        nothing = "No Table 3: the last step relearned known classes"
        shown.insert(0, nothing)
    return "\n\n".join(["\n".join(head), *shown])


def of_the_paper(evaluation: Evaluation) -> list[Table]:
    """Tables 3, 4 and 5; no Table 3 where the last step relearned.

    Args:
        evaluation: What was measured.
    """
    e = evaluation
    compared = [_table3(e)] if e.contenders else []
    return [*compared, _table4(e), _table5(e)]


def _times_the_root(e: Evaluation) -> str:
    if e.num_leaves == 1:
        return ""
    times = e.forward_flops_per_image / e.root_flops_per_image
    return f", {times:.2f} times those of the root"


def _table3(e: Evaluation) -> Table:
    return Table(
        "Table 3: the last step's contenders",
        ["increment", "training", "routing", "error", "images swept"],
        [
            [
                row.increment,
                row.training,
                row.routing or "-",
                _percent(row.top1_error),
                f"{row.images_swept:,}",
            ]
            for row in e.contenders
        ],
    )


def _table4(e: Evaluation) -> Table:
    return Table(
        "Table 4: errors by superclass, hard routing",
        ["superclass", "classes", "leaf", "branch", "leaf+branch", "flat"],
        [
            [
                row.name,
                str(row.num_classes),
                _percent(row.leaf_error),
                _percent(row.branch_error),
                _percent(row.whole_error),
                _percent(row.flat_error),
            ]
            for row in e.superclasses
        ],
    )


def _table5(e: Evaluation) -> Table:
    return Table(
        "Table 5: error of the leaf where the branch is right, and wrong",
        ["superclass", "branch correct", "branch miss"],
        [
            [
                row.name,
                _percent(row.leaf_error_branch_correct),
                _percent(row.leaf_error_branch_miss),
            ]
            for row in e.superclasses
        ],
    )


def _steps(e: Evaluation) -> Table:
    return Table(
        "Steps",
        ["generation", "new classes", "images swept", "jobs", "reused", "s"],
        [
            [
                str(step["generation"]),
                str(step["new_classes"]),
                f"{step['images_swept']:,}",
                str(step["jobs"]),
                str(step["jobs_reused"]),
                f"{step['seconds']:.0f}",
            ]
            for step in e.steps
        ],
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _text(table: Table) -> str:
    lines = [table.header, *table.rows]
    columns = range(len(table.header))
    widths = [max(len(line[i]) for line in lines) for i in columns]
    # Words to the left, numbers to the right.
    return "\n".join(
        [
            table.title,
            *(
                "  "
                + "  ".join(
                    cell.rjust(width)
                    if _is_number(table.rows, i)
                    else cell.ljust(width)
                    for i, (cell, width) in enumerate(
                        zip(line, widths, strict=True)
                    )
                ).rstrip()
                for line in lines
            ),
        ]
    )


def _is_number(rows: Sequence[Sequence[str]], column: int) -> bool:
    return any(row[column][0].isdigit() for row in rows)
