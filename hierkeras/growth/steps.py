"""Increment steps: from the latest generation to the next."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from hierkeras._errors import UserError
from hierkeras.data.catalogue import SPLITS
from hierkeras.data.splits import check_enough
from hierkeras.growth import memory, summary
from hierkeras.growth.changes import (
    Changes,
    find_changes,
    learnt_from,
    new_leaves,
)
from hierkeras.growth.duplicates import find_duplicates
from hierkeras.growth.grower import grower
from hierkeras.growth.incremental import grow_tree, imported_tree
from hierkeras.growth.relearn import is_pending, relearn
from hierkeras.growth.specs import Specs
from hierkeras.recipe.recipe import Recipe
from hierkeras.recipe.remembered import Remembered, to_settings
from hierkeras.training import interruption, results
from hierkeras.training.context import Context
from hierkeras.training.executors import Executor
from hierkeras.training.importing import Classifier
from hierkeras.training.jobs import Jobs
from hierkeras.tree.generation import (
    Duplicates,
    Generation,
    JobUse,
    LeftOut,
    Step,
)
from hierkeras.tree.nodes import Tree

if TYPE_CHECKING:
    from hierkeras.training.predictor import Predictor  # imports Keras


@dataclasses.dataclass(frozen=True)
class Workshop:
    """What steps are made with.

    Args:
        context: The work directory, which the caller holds the lock of, and
            the images.
        remembered: The recipe, and what else generations record.
        executor: Where jobs run.
        predictor: Runs models of the work directory.
        max_bad_images: Most unreadable images of a step's new classes.
        opening: What is said before the first step trains.
        imported: What a work directory without a tree begins with; None: it
            learns its first classes.
    """

    context: Context
    remembered: Remembered
    executor: Executor
    predictor: Predictor
    max_bad_images: int = 100
    opening: tuple[str, ...] = ()
    imported: Classifier | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.remembered.recipe


@dataclasses.dataclass(frozen=True)
class _Arrived:
    """What a step is about.

    Args:
        latest: The generation that it begins with; None: there is none.
        new_classes: The classes that it adds.
        changes: What changed since the tree was trained.
        context: The images, less those that are left out.
        duplicates: Images that are there twice.
        imported: What the step takes over; None: it learns.
    """

    latest: Generation | None
    new_classes: tuple[str, ...]
    changes: Changes
    context: Context
    duplicates: tuple[Duplicates, ...]
    imported: Classifier | None = None

    @property
    def tree(self) -> Tree | None:
        return self.latest.tree if self.latest else None

    @property
    def known(self) -> tuple[str, ...]:
        return self.latest.tree.classes if self.latest else ()


def grow(
    workshop: Workshop,
    batches: Sequence[tuple[str, ...]],
    relearns: bool = False,
) -> Iterator[Generation]:
    """Takes in batches of new classes, one step each.

    Args:
        workshop: What steps are made with.
        batches: The new classes of each step.
        relearns: Whether a last step trains again what changed images of
            known classes touch.

    Yields:
        Each new generation, once it is published.

    Raises:
        UserError: If there are more unreadable images than allowed, too few
            images of a class, or a job fails. Finished jobs stay.
    """
    # A step without new classes relearns.
    opening = list(workshop.opening)
    for new_classes in (*batches, *([()] if relearns else [])):
        start = time.monotonic()
        arrived = _arrived(new_classes, workshop)
        if not new_classes and not is_pending(
            arrived.changes, workshop.recipe.growth
        ):
            return
        for line in [*opening, *summary.duplicate_lines(arrived.duplicates)]:
            print(line, file=sys.stderr, flush=True)
        opening = []
        tree, step = interruption.run(_step(arrived, workshop))
        store = arrived.context.store
        made = _generation(tree, step, arrived, workshop)
        seconds = time.monotonic() - start
        step = msgspec.structs.replace(made.step, seconds=seconds)
        generation = store.numbered(msgspec.structs.replace(made, step=step))
        store.publish(generation)
        yield generation


def _arrived(new_classes: tuple[str, ...], workshop: Workshop) -> _Arrived:
    """What a step is about; nothing is trained yet."""
    latest = workshop.context.store.latest()
    context = workshop.context.left_by(latest.step if latest else None)
    known = latest.tree.classes if latest else ()
    fresh = (
        *new_classes,
        *_changes(latest, context).class_names,
        *_never_seen(latest, context),
    )
    context = without_unreadable(
        context,
        fresh,
        known,
        workshop.max_bad_images,
        workshop.recipe.training.least_images,
    )
    if workshop.recipe.growth.memory_per_class:
        memory.check_keys(context.catalogue, (*known, *new_classes))
    return _Arrived(
        latest,
        new_classes,
        _changes(latest, context),  # less what cannot be read
        context,
        _duplicates(context, fresh, known),
        workshop.imported if latest is None else None,
    )


def _never_seen(latest: Generation | None, context: Context) -> list[str]:
    """Known classes of which no step has looked at an image: imported ones."""
    return [
        name
        for leaf in (latest.tree.leaves if latest else ())
        if results.read(context.store, leaf.job).spec.is_imported
        for name in leaf.classes
    ]


def without_unreadable(
    context: Context,
    new_classes: Sequence[str],
    known_classes: Sequence[str],
    max_bad_images: int,
    least_images: int = len(SPLITS),
) -> Context:
    """Decodes every image of new classes once; leaves out what fails.

    Of the known classes, whose images were all decoded when they were new,
    the validation images are decoded again, for they are judged by.

    Args:
        context: The images.
        new_classes: The new classes, and known ones with new images.
        known_classes: The known ones.
        max_bad_images: Most images that may fail.
        least_images: Of a class that is left.

    Returns:
        The context without them.

    Raises:
        UserError: If more fail, or a class is left with too few.
    """
    rows = _looked_at(context, new_classes, known_classes)
    unreadable = context.images.prepare(rows)
    for line in summary.note_lines(context.images.notes(rows)):
        print(line, file=sys.stderr, flush=True)
    if len(unreadable) > max_bad_images:
        first = unreadable[0]
        raise UserError(
            f"{len(unreadable)} images cannot be read, {first.key} first "
            f"({first.reason}); mend or remove them, or allow them with "
            f"--max_bad_images={len(unreadable)}"
        )
    if unreadable:
        context = context.without(
            {image.key: image.digest for image in unreadable}
        )
        first = unreadable[0]
        check_enough(
            context.catalogue,
            new_classes,
            f"{len(unreadable)} cannot be read, {first.key} first "
            f"({first.reason})",
            least_images,
            known_classes,
        )
    return context


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


async def _step(arrived: _Arrived, workshop: Workshop) -> tuple[Tree, Step]:
    """Grows the tree by the new classes that arrived, or relearns."""
    tree, known = arrived.tree, arrived.known
    grows = grower(
        arrived.context,
        workshop.recipe,
        workshop.executor,
        workshop.predictor,
    )
    if arrived.imported is not None:
        grown, decisions = imported_tree(arrived.imported, grows)
        scratch = None
    else:
        growing = (
            relearn(tree, arrived.changes, grows)
            if tree is not None and not arrived.new_classes
            else grow_tree(tree, arrived.new_classes, grows)
        )
        (grown, decisions), scratch = await asyncio.gather(
            growing, _scratch_baseline(arrived, workshop)
        )
    assessor = grows.assessor
    return grown, Step(
        new_classes=arrived.new_classes,
        decisions=decisions,
        jobs=grows.jobs.uses(),
        scratch=scratch,
        unreadable_images=dict(arrived.context.config.unreadable),
        old_error_before=assessor.error(tree, known) if tree else None,
        old_error_after=assessor.error(grown, known) if tree else None,
        error_after=assessor.known_error(grown, grown.classes),
        seconds=0.0,
        duplicates=arrived.duplicates,
        left_out=tuple(
            LeftOut(one.why, one.count, one.example)
            for one in arrived.context.source.left_out
        ),
    )


async def _scratch_baseline(
    arrived: _Arrived, workshop: Workshop
) -> JobUse | None:
    recipe, context = workshop.recipe, arrived.context
    if arrived.tree is None or not recipe.growth.scratch_baseline:
        return None
    specs = Specs(recipe, context.catalogue, bool(context.config.exemplars))
    jobs = Jobs(context, workshop.executor)
    classes = (*arrived.known, *arrived.new_classes)
    await jobs.run(specs.scratch(classes), "scratch baseline")
    return jobs.uses()[0]


def _generation(
    tree: Tree, step: Step, arrived: _Arrived, workshop: Workshop
) -> Generation:
    """The generation of a step, with the exemplars that it chooses."""
    latest, context = arrived.latest, arrived.context
    # An imported model learnt from none of the images: all are left to use.
    trained = () if arrived.imported else new_leaves(tree, arrived.tree)
    left = context.keeping(
        memory.choose_exemplars(
            trained,
            workshop.recipe.growth.memory_per_class,
            context,
            workshop.predictor,
        )
    )
    return Generation(
        number=context.store.next_number(),
        parent=latest.number if latest else None,
        settings=to_settings(workshop.remembered),
        tree=tree,
        step=msgspec.structs.replace(
            step,
            learnt=learnt_from(tree, latest, left.catalogue)
            if trained
            else dict(latest.step.learnt if latest else {}),
            exemplars=dict(left.config.exemplars),
            remaining=memory.remaining_data(
                tree, latest, context.catalogue, left
            ),
        ),
    )
