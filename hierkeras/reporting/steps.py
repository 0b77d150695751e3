"""What each step did and cost, as the report's table of generations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from hierkeras.training import results
from hierkeras.training.context import Context
from hierkeras.tree.generation import Decision, Generation
from hierkeras.tree.store import Store


@dataclasses.dataclass(frozen=True)
class StepRow:
    """A step.

    Args:
        number: Of the generation that it led to.
        new_classes: How many.
        error: Of validation images of all classes, in [0, 1]; None: there
            are none, as of
        before: that of old classes before the step, and
        after: after it.
        swept: Training images that went through a network, counted again in
            every epoch.
        anew: The images of all its classes, as often as the step's longest
            training swept its own: what to learn all anew would sweep.
        operations: About how many the images swept took: those of the tree's
            root, a multiply-add being 2, three times over where something was
            trained, for forward and backward.
        minutes: Wall-clock time.
        megabytes: Of the models of its tree, on disk.
        decisions: How its leaves grew.
    """

    number: int
    new_classes: int
    error: float | None
    before: float | None
    after: float | None
    swept: int
    anew: int
    operations: float
    minutes: float
    megabytes: float
    decisions: Sequence[Decision]


def step_rows(
    generations: Iterable[Generation], context: Context, flops: float
) -> list[StepRow]:
    """A row for each generation.

    Args:
        generations: What led to a tree, and that itself.
        context: The work directory and the images.
        flops: Operations of the network at the tree's root for an image.
    """
    return [_row(generation, context, flops) for generation in generations]


def _row(generation: Generation, context: Context, flops: float) -> StepRow:
    step, store = generation.step, context.store
    there = [use.job for use in step.jobs if store.has_job(use.job)]
    epochs = [results.read(store, job).epochs for job in there]
    classes = [
        name
        for name in generation.tree.classes
        if name in context.catalogue.class_names
    ]
    images = context.catalogue.indices("train", classes).size
    swept = sum(use.images_swept for use in step.jobs)
    passes = 3 if any(epochs) else 1
    return StepRow(
        number=generation.number,
        new_classes=len(step.new_classes),
        error=step.error_after,
        before=step.old_error_before,
        after=step.old_error_after,
        swept=swept,
        anew=int(images) * max([1, *epochs]),
        operations=swept * flops * passes,
        minutes=step.seconds / 60,
        megabytes=_bytes(generation, store) / 1e6,
        decisions=step.decisions,
    )


def _bytes(generation: Generation, store: Store) -> int:
    jobs = {node.job for node in generation.tree.nodes()}
    return sum(
        path.stat().length
        for job in jobs
        if store.has_job(job)
        for path in store.job_folder(job).iterdir()
    )
