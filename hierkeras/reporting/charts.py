"""Which diagrams a report shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hierkeras.analysis.answers import Answered
from hierkeras.reporting import diagrams
from hierkeras.training import results
from hierkeras.tree.generation import Generation, JobUse
from hierkeras.tree.store import Store


@dataclasses.dataclass(frozen=True)
class Chart:
    """A diagram, and what is said of it.

    Args:
        title: What it shows.
        about: How to read it.
        svg: The picture.
    """

    title: str
    about: str
    svg: str


def of_scores(answered: Answered) -> list[Chart]:
    """How far a tree's scores may be trusted; none without images.

    Args:
        answered: What the tree named.
    """
    if not answered.indices.size:
        return []
    of = f"{len(answered.indices):,} {answered.split} images"
    return [
        Chart(
            "Calibration",
            f"Of {of}, in ten ranges of the score: the share that is named "
            "right. On the straight line a score is what it says.",
            diagrams.calibration(answered.confidence, answered.right),
        ),
        Chart(
            "Risk and coverage",
            f"If only the surest of {of} are answered, how many of these "
            "are named wrong.",
            diagrams.risk_coverage(answered.confidence, answered.right),
        ),
    ]


def of_steps(generations: Sequence[Generation]) -> list[Chart]:
    """Errors from step to step; none where fewer than two tell one.

    Args:
        generations: What led to a tree, and that itself.
    """
    lines = {
        "all classes": [
            (float(one.number), 100 * one.step.error_after)
            for one in generations
            if one.step.error_after is not None
        ],
        "old classes": [
            (float(one.number), 100 * one.step.old_error_after)
            for one in generations
            if one.step.old_error_after is not None
        ],
    }
    if len(lines["all classes"]) < 2:
        return []
    return [
        Chart(
            "Generations",
            "Validation images named wrong after each step; old classes are "
            "those from before it.",
            diagrams.curves(
                {name: points for name, points in lines.items() if points},
                "generation",
                "validation images named wrong (%)",
            ),
        )
    ]


def of_learning(generation: Generation, store: Store) -> list[Chart]:
    """Learning curves of the jobs of a generation's step.

    Args:
        generation: The tree and its step.
        store: Where the jobs are; those that are gone are left out.
    """
    step = generation.step
    uses = [*step.jobs, *([step.scratch] if step.scratch else [])]
    trained, solved = {}, {}
    for use in uses:
        by_epoch, by_images = _points(use, store)
        if by_epoch:
            trained[use.label] = by_epoch
        if by_images:
            solved[use.label] = by_images
    made = []
    if trained:
        shown, left = len(trained), diagrams.MOST_LINES
        more = f" The first {left} of {shown} jobs." if shown > left else ""
        made.append(
            Chart(
                "Learning",
                "Validation images of a job's classes that its network names "
                f"wrong, after each epoch of the last step.{more}",
                diagrams.curves(
                    trained, "epoch", "validation images named wrong (%)"
                ),
            )
        )
    if solved:
        made.append(
            Chart(
                "What more photos would bring",
                "Heads that are solved from fewer photos: training images "
                "that look unlike these, and are named wrong.",
                diagrams.curves(
                    solved,
                    "photos of a class (mean)",
                    "held-out training images named wrong (%)",
                ),
            )
        )
    return made


def _points(
    use: JobUse, store: Store
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Errors in percent by epoch, and by photos of a class."""
    if not store.has_job(use.job):
        return [], []
    history = results.read_history(store, use.job)
    by_epoch = [
        (float(entry["epoch"]), 100.0 * entry["validation_error"])
        for entry in history
        if "validation_error" in entry
    ]
    by_images = [
        (float(point["images"]), 100.0 * point["error"])
        for entry in history
        for point in entry.get("curve", [])
    ]
    return by_epoch, by_images
