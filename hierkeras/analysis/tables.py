"""An evaluation as text: the paper's Tables 3, 4 and 5 for this tree."""

from __future__ import annotations

from collections.abc import Sequence

from hierkeras.analysis.evaluation import Evaluation


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
    return "\n\n".join(
        ["\n".join(head), _table3(e), _table4(e), _table5(e), _steps(e)]
    )


def _times_the_root(e: Evaluation) -> str:
    if e.num_leaves == 1:
        return ""
    times = e.forward_flops_per_image / e.root_flops_per_image
    return f", {times:.2f} times those of the root"


def _table3(e: Evaluation) -> str:
    if not e.contenders:
        return "No Table 3: the last step relearned known classes"
    return _table(
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


def _table4(e: Evaluation) -> str:
    return _table(
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


def _table5(e: Evaluation) -> str:
    return _table(
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


def _steps(e: Evaluation) -> str:
    return _table(
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


def _table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    # Words to the left, numbers to the right.
    return "\n".join(
        [
            title,
            *(
                "  "
                + "  ".join(
                    cell.rjust(width)
                    if _is_number(rows, i)
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
