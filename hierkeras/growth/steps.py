"""Increment steps: from the latest generation to the next."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from hierkeras._errors import UserError
from hierkeras.data.catalogue import SPLITS
from hierkeras.data.splits import check_enough
from hierkeras.growth import memory, summary
from hierkeras.growth.assess import Assessor
from hierkeras.growth.changes import (
    Changes,
    find_changes,
    learnt_from,
    new_leaves,
)
from hierkeras.growth.duplicates import find_duplicates
from hierkeras.growth.extend_leaf import Grower
from hierkeras.growth.incremental import first_tree, incremental
from hierkeras.growth.options import GrowthOptions
from hierkeras.growth.plan import JobPlan
from hierkeras.growth.relearn import is_pending, relearn
from hierkeras.training import interruption
from hierkeras.training.context import Context
from hierkeras.training.executors import Executor
from hierkeras.training.jobs import Jobs
from hierkeras.tree.generation import Duplicates, Generation, Step
from hierkeras.tree.nodes import Tree

if TYPE_CHECKING:
    from hierkeras.training.predictor import Predictor  # imports Keras


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """How steps are made.

    Args:
        plan: Makes the specs of jobs.
        options: How the tree grows.
        settings: What the generations record.
        max_bad_images: Most unreadable images of a step's new classes.
        relearn: Whether a last step trains again what changed images of
            known classes touch.
    """

    plan: JobPlan
    options: GrowthOptions
    settings: dict[str, Any]
    max_bad_images: int = 100
    relearn: bool = False


def grow(
    context: Context,
    batches: Sequence[tuple[str, ...]],
    config: StepConfig,
    executor: Executor,
    predictor: Predictor,
) -> Iterator[Generation]:
    """Takes in batches of new classes, one step each.

    Args:
        context: The work directory, which the caller holds the lock of, and
            the images.
        batches: The new classes of each step.
        config: How.
        executor: Where jobs run.
        predictor: Runs models of the work directory.

    Yields:
        Each new generation, once it is published.

    Raises:
        UserError: If there are more unreadable images than allowed, too few
            images of a class, or a job fails. Finished jobs stay.
    """
    # A step without new classes relearns.
    for new_classes in (*batches, *([()] if config.relearn else [])):
        start = time.monotonic()
        latest = context.store.latest()
        if latest is not None:
            context.leave_out_as(latest.step)
        known = latest.tree.classes if latest else ()
        fresh = (*new_classes, *_changes(latest, context).class_names)
        leave_out_unreadable(context, fresh, known, config.max_bad_images)
        changes = _changes(latest, context)  # less what cannot be read
        if not new_classes and not is_pending(changes, config.options):
            return
        if config.options.memory_per_class:
            memory.check_keys(context.catalogue, (*known, *new_classes))
        duplicates = _duplicates(context, fresh, known)
        for line in summary.duplicate_lines(duplicates):
            print(line, file=sys.stderr, flush=True)
        arrived = new_classes or changes
        tree, step = interruption.run(
            _step(context, latest, arrived, config, executor, predictor)
        )
        trained_on = context.catalogue
        context.keep_only(
            memory.choose_exemplars(
                new_leaves(tree, latest.tree if latest else None),
                config.options.memory_per_class,
                context,
                predictor,
            )
        )
        made = Generation(
            number=context.store.next_number(),
            parent=latest.number if latest else None,
            settings=config.settings,
            tree=tree,
            step=msgspec.structs.replace(
                step,
                seconds=time.monotonic() - start,
                learnt=learnt_from(tree, latest, context.catalogue),
                duplicates=duplicates,
                exemplars=dict(context.config.exemplars),
                remaining=memory.remaining_data(
                    tree, latest, trained_on, context
                ),
            ),
        )
        generation = context.store.numbered(made)
        context.store.publish(generation)
        yield generation


def leave_out_unreadable(
    context: Context,
    new_classes: Sequence[str],
    known_classes: Sequence[str],
    max_bad_images: int,
) -> None:
    """Decodes every image of new classes once; leaves out what fails.

    Of the known classes, whose images were all decoded when they were new,
    the validation images are decoded again, for they are judged by.

    Args:
        context: The images; changed.
        new_classes: The new classes, and known ones with new images.
        known_classes: The known ones.
        max_bad_images: Most images that may fail.

    Raises:
        UserError: If more fail, or a class is left with too few.
    """
    unreadable = context.images.prepare(
        _looked_at(context, new_classes, known_classes)
    )
    if len(unreadable) > max_bad_images:
        first = unreadable[0]
        raise UserError(
            f"{len(unreadable)} images cannot be read, {first.key} first "
            f"({first.reason}); mend or remove them, or allow them with "
            f"--max_bad_images={len(unreadable)}"
        )
    if unreadable:
        context.leave_out([image.key for image in unreadable])
        check_enough(context.catalogue, new_classes)


def _looked_at(
    context: Context, new_classes: Sequence[str], known_classes: Sequence[str]
) -> npt.NDArray[np.int64]:
    """The images that a step decodes before it trains, sorted."""
    return np.unique(
        np.concatenate(
            [
                context.catalogue.indices("validation", known_classes),
                *(context.catalogue.indices(s, new_classes) for s in SPLITS),
            ]
        )
    )


def _duplicates(
    context: Context, new_classes: Sequence[str], known_classes: Sequence[str]
) -> tuple[Duplicates, ...]:
    indices = _looked_at(context, new_classes, known_classes)
    return find_duplicates(
        context.catalogue, indices, context.images.hashes(indices), new_classes
    )


def _changes(latest: Generation | None, context: Context) -> Changes:
    return find_changes(latest, context) if latest else Changes()


async def _step(
    context: Context,
    latest: Generation | None,
    arrived: tuple[str, ...] | Changes,
    config: StepConfig,
    executor: Executor,
    predictor: Predictor,
) -> tuple[Tree, Step]:
    """Grows the tree by the new classes that arrived, or relearns."""
    new_classes = () if isinstance(arrived, Changes) else arrived
    jobs, baseline = Jobs(context, executor), Jobs(context, executor)
    assessor = Assessor(context.catalogue, predictor, config.options.routing)
    grower = Grower(config.options, config.plan, jobs, assessor)
    old_error_before = old_error_after = None
    if latest is None:
        tree, decisions = await first_tree(new_classes, grower)
    else:
        known = latest.tree.classes
        growing = (
            relearn(latest.tree, arrived, grower)
            if isinstance(arrived, Changes)
            else incremental(latest.tree, arrived, grower)
        )
        (tree, decisions), _ = await asyncio.gather(
            growing,
            _scratch_baseline(
                (*known, *new_classes), baseline, config, context
            ),
        )
        old_error_before = assessor.error(latest.tree, known)
        old_error_after = assessor.error(tree, known)
    return grower.calibrated(tree), Step(
        new_classes=new_classes,
        decisions=decisions,
        jobs=jobs.uses(),
        scratch=next(iter(baseline.uses()), None),
        unreadable_images=context.config.unreadable,
        old_error_before=old_error_before,
        old_error_after=old_error_after,
        error_after=assessor.error(tree, tree.classes),
        seconds=0.0,
    )


async def _scratch_baseline(
    classes: tuple[str, ...], jobs: Jobs, config: StepConfig, context: Context
) -> None:
    if config.options.scratch_baseline:
        spec = config.plan.from_scratch(classes, context.catalogue)
        await jobs.run(spec, "scratch baseline")
