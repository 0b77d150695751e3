"""Solves the head of a node above a frozen trunk: nothing is trained.

Sums over the images of classes that the parent knows are taken from it, so
that the cost follows what is new.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hierkeras.features import choice, curves
from hierkeras.features.choice import Choice, Examples
from hierkeras.features.curves import Point
from hierkeras.features.embedding import keys_of
from hierkeras.features.statistics import Statistics, summed
from hierkeras.features.views import WHOLE, View
from hierkeras.recipe.training import Training
from hierkeras.training import results, solutions
from hierkeras.training.context import Context
from hierkeras.training.solutions import Solution
from hierkeras.training.spec import JobSpec, Solved
from hierkeras.tree.names import JobId


@dataclasses.dataclass(frozen=True)
class Solving:
    """A head that was solved.

    Args:
        solution: The head, and the sums that it came from.
        choice: What was chosen, and on what.
        images_swept: Training images whose features were added up.
        curve: Errors of heads of fewer images, where all images are added up;
            a head that goes on from sums costs what is new, and no more.
    """

    solution: Solution
    choice: Choice
    images_swept: int
    curve: Sequence[Point] = ()


def solve(spec: JobSpec, start: Solved, context: Context) -> Solving:
    """Solves the head that a spec asks for.

    Args:
        spec: The job.
        start: What it starts from.
        context: The images.

    Raises:
        UserError: If the parent, or features, are damaged.
    """
    images = _Images(spec, context)
    known = images.known_sums(start)
    new = [
        name
        for name in spec.classes
        if known is None or name not in known.classes
    ]
    fresh = images.sums(new) if new else None
    both = [each for each in (known, fresh) if each is not None]
    statistics = both[0] if len(both) == 1 else both[0].plus(both[1])
    statistics = statistics.of(spec.classes)
    examples = images.examples(spec.classes)
    chosen = choice.choose(statistics, examples, spec.training.shrinkage)
    head = choice.solved(statistics, chosen)
    return Solving(
        Solution(head, statistics, images.fingerprints(spec.classes)),
        chosen,
        len(images.indices(new)) if new else 0,
        curves.curve(examples, spec.classes, chosen.shrinkage)
        if start.parent is None
        else (),
    )


class _Images:
    """The training images of a job, as features."""

    def __init__(self, spec: JobSpec, context: Context) -> None:
        self._spec = spec
        self._context = context
        self._embedding = context.embedding(spec.network)
        self._views = _views(spec.training)

    def known_sums(self, start: Solved) -> Statistics | None:
        """The parent's, if its classes have the images that they had."""
        if start.parent is None or not self._is_alike(start.parent):
            return None
        parent = solutions.read(self._context.store, start.parent)
        if not set(self._spec.classes).issuperset(parent.fingerprints):
            return None
        now = self.fingerprints(tuple(parent.fingerprints))
        return parent.statistics if now == parent.fingerprints else None

    def _is_alike(self, job: JobId) -> bool:
        """Whether a job's sums are over such features, and such views."""
        before = results.read(self._context.store, job).spec
        return (
            isinstance(before.start, Solved)
            and before.network.trunk == self._spec.network.trunk
            and _views(before.training) == self._views
        )

    def fingerprints(self, classes: Sequence[str]) -> dict[str, str]:
        found = self._context.catalogue.class_fingerprints(classes)
        return {name: digest for name, (_, digest) in found.items()}

    def indices(self, classes: Sequence[str]) -> npt.NDArray[np.int64]:
        return self._context.samples("train", classes)[0]

    def sums(self, classes: Sequence[str]) -> Statistics:
        indices, labels = self._context.samples("train", classes)
        # One view after the other: all of them would fill the memory.
        return functools.reduce(
            Statistics.plus,
            (
                summed(self._embedding.of(indices, view), labels, classes)
                for view in self._views
            ),
        )

    def examples(self, classes: Sequence[str]) -> Examples:
        indices, labels = self._context.samples("train", classes)

        def read(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
            views = [
                self._embedding.of(indices[rows], view) for view in self._views
            ]
            return np.concatenate(views)

        catalogue = self._context.source.catalogue
        return Examples(keys_of(catalogue, indices), labels, read)


def _views(training: Training) -> list[View]:
    """The views of each image that count."""
    is_mirrored = training.augment == "mirror"
    crops = range(1, training.crops + 1)
    return [WHOLE, *(View(number, is_mirrored) for number in crops)]
