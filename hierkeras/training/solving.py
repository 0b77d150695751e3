"""Solves the head of a node above a frozen trunk: nothing is trained.

Sums over the images of classes that the parent knows are taken from it, so
that the cost follows what is new.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hierkeras.features import choice
from hierkeras.features.choice import Choice, Examples
from hierkeras.features.embedding import keys_of
from hierkeras.features.heads import Head
from hierkeras.features.statistics import Statistics, summed
from hierkeras.features.views import WHOLE, View
from hierkeras.training import results, solutions
from hierkeras.training.context import Context
from hierkeras.training.solutions import Solution
from hierkeras.training.spec import JobSpec, Solved


@dataclasses.dataclass(frozen=True)
class Solving:
    """A head that was solved.

    Args:
        solution: The head, and the sums that it came from.
        choice: What was chosen, and on what.
        images_swept: Training images whose features were added up.
    """

    solution: Solution
    choice: Choice
    images_swept: int


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
    chosen = choice.choose(
        statistics, images.examples(spec.classes), spec.training.shrinkage
    )
    head = choice.solved(statistics, chosen)
    return Solving(
        Solution(head, statistics, images.fingerprints(spec.classes)),
        chosen,
        len(images.indices(new)) if new else 0,
    )


def logits(
    head: Head, indices: npt.NDArray[np.int64], spec: JobSpec, context: Context
) -> npt.NDArray[np.float32]:
    """What a head says of images as they are.

    Args:
        head: The head.
        indices: int64 array of shape (n,): examples that can be decoded.
        spec: The head's job.
        context: The images.

    Returns:
        float32 array of shape (n, number of the job's classes).
    """
    if not indices.size:
        return np.zeros((0, len(head.bias)), np.float32)
    features = context.embedding(spec.network).of(indices)
    return head.logits(features).astype(np.float32)


class _Images:
    """The training images of a job, as features."""

    def __init__(self, spec: JobSpec, context: Context) -> None:
        self._spec = spec
        self._context = context
        self._embedding = context.embedding(spec.network)
        training = spec.training
        self._views = [WHOLE] + [
            View(number + 1, training.augment == "mirror")
            for number in range(training.crops)
        ]

    def known_sums(self, start: Solved) -> Statistics | None:
        """The parent's, if its classes have the images that they had."""
        store = self._context.store
        # An imported head has none: it was not solved from images.
        if start.parent is None or (
            results.read(store, start.parent).spec.is_imported
        ):
            return None
        parent = solutions.read(store, start.parent)
        if not set(self._spec.classes).issuperset(parent.fingerprints):
            return None
        now = self.fingerprints(tuple(parent.fingerprints))
        return parent.statistics if now == parent.fingerprints else None

    def fingerprints(self, classes: Sequence[str]) -> dict[str, str]:
        found = self._context.catalogue.class_fingerprints(classes)
        return {name: digest for name, (_, digest) in found.items()}

    def indices(self, classes: Sequence[str]) -> npt.NDArray[np.int64]:
        return self._context.samples("train", classes)[0]

    def sums(self, classes: Sequence[str]) -> Statistics:
        indices, labels = self._context.samples("train", classes)
        views = [self._embedding.of(indices, view) for view in self._views]
        return summed(
            np.concatenate(views), np.tile(labels, len(views)), classes
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
