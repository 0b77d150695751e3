"""Replay for those who cannot keep every image: exemplars of each class.

After a step the training images of the classes that it learnt are reduced to
a few exemplars. Later steps train on these and on nothing else of the classes,
as in Rebuffi et al. 2017, "iCaRL: Incremental Classifier and Representation
Learning", section 2 (https://arxiv.org/abs/1611.07725). Validation images,
by which everything is chosen, stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hierkeras._errors import UserError
from hierkeras.data.catalogue import Catalogue
from hierkeras.data.names import is_utf8
from hierkeras.growth.changes import expected_data
from hierkeras.growth.herding import herd
from hierkeras.training.context import Context
from hierkeras.tree.generation import Generation
from hierkeras.tree.names import JobId
from hierkeras.tree.nodes import Leaf, Tree

if TYPE_CHECKING:
    from hierkeras.training.predictor import Predictor  # imports Keras


def check_keys(catalogue: Catalogue, classes: Sequence[str]) -> None:
    """Checks that any training image could be recorded as an exemplar.

    Args:
        catalogue: The examples.
        classes: Those that may come to have exemplars.

    Raises:
        UserError: If no generation could record the name of one.
    """
    for key in catalogue.keys[catalogue.indices("train", classes)].tolist():
        if not is_utf8(key):
            raise UserError(
                f"the name of image {key!a} is no UTF-8, so that "
                "--memory_per_class could not record it; rename it"
            )


def choose_exemplars(
    leaves: Iterable[Leaf],
    count: int,
    context: Context,
    predictor: Predictor,
) -> dict[str, tuple[str, ...]]:
    """Chooses exemplars of the classes of some leaves.

    Args:
        leaves: Those that a step trained; each names its classes best.
        count: Exemplars of each class; 0: nothing is chosen.
        context: The images, and the exemplars so far. A class that has some
            keeps the first of them that are there.
        predictor: Runs the leaves' models.

    Returns:
        Class to the keys of its exemplars in the order of herding, with
        those so far.
    """
    chosen = dict(context.config.exemplars)
    if not count:
        return chosen
    catalogue = context.catalogue
    for leaf in leaves:
        for name in leaf.classes:
            rows = catalogue.indices("train", [name])
            if name in chosen:
                there = set(catalogue.keys[rows].tolist())
                keys = [key for key in chosen[name] if key in there]
            else:
                bad = [image.index for image in context.images.prepare(rows)]
                rows = np.setdiff1d(rows, bad)
                best = herd(predictor.features(leaf.job, rows), count)
                keys = catalogue.keys[rows[best]].tolist()
            chosen[name] = tuple(keys[:count])
    return chosen


def remaining_data(
    tree: Tree,
    before: Generation | None,
    catalogue: Catalogue,
    context: Context,
) -> dict[JobId, str]:
    """What is left of the images that the models of a tree were trained on.

    Args:
        tree: The new tree.
        before: The generation that it comes from.
        catalogue: The images that the step trained on.
        context: The images that are left.

    Returns:
        Job to fingerprint, where that differs from the job's own. A model
        that was trained on other images than the step's stays so.
    """
    recorded = before.step.remaining if before else {}
    remaining = {}
    for node in tree.nodes() if context.config.exemplars else ():
        data = left = expected_data(node, before, context)
        if data == catalogue.fingerprint(node.classes):
            left = context.catalogue.fingerprint(node.classes)
        if left != data or node.job in recorded:
            remaining[node.job] = left
    return remaining
