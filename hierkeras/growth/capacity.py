"""How wide a cloned leaf is: as its classes need it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hierkeras.growth.assess import Assessor
from hierkeras.growth.options import CapacityRule
from hierkeras.tree.nodes import Leaf

# How far from the mean an error is no accident: with 700 validation images and
# an error of 40 % a tenth of it is two standard errors.
_TOLERANCE = 0.1


def capacities(
    flat: Leaf,
    groups: Sequence[tuple[str, ...]],
    factor: float,
    rule: CapacityRule,
    assessor: Assessor,
) -> tuple[float, ...]:
    """Chooses how wide cloned leaves are, relative to their parent.

    By need, a leaf whose classes stay confused with each other gets more
    channels, one whose classes are told apart fewer. What counts is the error
    of the parent among the leaf's own classes, on validation images, compared
    with the mean over the leaves.

    Args:
        flat: The parent, which knows all classes.
        groups: The classes of each leaf.
        factor: At least 1; 1: each is as wide as the parent.
        rule: `need`, or `all`: each gets `factor`.
        assessor: The images, and what runs the parent.

    Returns:
        For each leaf `factor`, 1 or `1 / factor`.
    """
    if factor == 1 or rule == "all" or len(groups) == 0:
        return (float(factor),) * len(groups)
    errors = [_confusion(flat, classes, assessor) for classes in groups]
    mean = float(np.mean(errors))

    def chosen(error: float) -> float:
        if error > (1 + _TOLERANCE) * mean:
            return factor
        return 1 / factor if error < (1 - _TOLERANCE) * mean else 1.0

    return tuple(map(chosen, errors))


def _confusion(
    flat: Leaf, classes: tuple[str, ...], assessor: Assessor
) -> float:
    """The error in [0, 1] that it makes if it is told the superclass."""
    indices, labels = assessor.samples(classes)
    columns = [flat.classes.index(name) for name in classes]
    outputs = assessor.predictor.node_probabilities(flat, indices)
    return float((outputs[:, columns].argmax(axis=1) != labels).mean())
