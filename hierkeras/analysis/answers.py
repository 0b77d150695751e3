"""What a tree and its models answer for each image, as small arrays."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import msgspec
import numpy as np

from hierkeras.training.predictor import CountingPredictor, Predictor
from hierkeras.tree import nodes
from hierkeras.tree.routing import (
    ROUTING_RULES,
    Routing,
    RoutingRule,
    route,
)

# Softmax outputs that are held at a time, of some images: a few arrays of so
# many numbers.
_NUMBERS = 2**24
_TOP = 5


@dataclasses.dataclass(frozen=True)
class Answers:
    """The answers of one classifier for n images.

    Args:
        named: int array of shape (n,), the most probable class.
        confidence: float array of shape (n,), its probability in [0, 1].
        in_top5: bool array of shape (n,), whether the true class is among
            the five most probable.
    """

    named: np.ndarray
    confidence: np.ndarray
    in_top5: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Answered:
    """What a tree names, of n images.

    Args:
        split: What they are of, such as `test`.
        indices: int64 array of shape (n,), sorted: examples of the catalogue.
        labels: int array of shape (n,): places of true classes in
            `tree.classes`, as are
        named: these, of the most probable ones.
        confidence: float array of shape (n,): their probability in [0, 1].
    """

    split: str
    indices: np.ndarray
    labels: np.ndarray
    named: np.ndarray
    confidence: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether the true class is named: bool array of shape (n,)."""
        found: np.ndarray = self.named == self.labels
        return found


@dataclasses.dataclass(frozen=True)
class TreeAnswers:
    """The answers of a tree for n images.

    Args:
        by_routing: Routing rule to answers; classes count as in
            `tree.classes`.
        leaves: int array of shape (n,), the leaf, as an index into
            `tree.leaves`, that hard routing takes.
        own_leaf: int array of shape (n,), the class that the leaf of the
            true class names when it is asked directly.
        images_run: Node name to the number of images that its model ran for
            under the tree's routing.
    """

    by_routing: dict[RoutingRule, Answers]
    leaves: np.ndarray
    own_leaf: np.ndarray
    images_run: dict[str, int]


def answer(
    tree: nodes.Tree,
    indices: np.ndarray,
    labels: np.ndarray,
    predictor: Predictor,
    routing: Routing,
    rules: Sequence[RoutingRule] = ROUTING_RULES,
) -> TreeAnswers:
    """Runs a tree on images, as many at a time as memory is given for.

    Args:
        tree: The tree.
        indices: int64 array of shape (n,), examples of the catalogue.
        labels: int array of shape (n,), their classes as positions in
            `tree.classes`.
        predictor: Runs the models.
        routing: The tree's routing.
        rules: Routing rules to answer by; the tree's own must be among them.
    """
    images_run: collections.Counter[str] = collections.Counter()
    parts = []
    size = max(1, _NUMBERS // len(tree.classes))
    for start in range(0, len(indices), size):
        rows = indices[start : start + size]
        true = labels[start : start + size]
        by_routing = {}
        for rule in rules:
            counted = CountingPredictor(predictor)
            routed = route(
                tree, counted, rows, msgspec.structs.replace(routing, rule=rule)
            )
            by_routing[rule] = _answers(routed.probabilities, true)
            if rule == routing.rule:
                images_run.update(counted.images)
        own = _own_leaf(tree, rows, true, predictor)
        # Under contention the other rules need not go as far.
        hard = route(tree, predictor.node_probabilities, rows, Routing("hard"))
        parts.append((by_routing, hard.leaves, own))
        predictor.forget_outputs()
    return TreeAnswers(
        by_routing={
            rule: Answers(
                *(
                    np.concatenate([getattr(p[0][rule], f.name) for p in parts])
                    for f in dataclasses.fields(Answers)
                )
            )
            for rule in rules
        },
        leaves=np.concatenate([part[1] for part in parts]),
        own_leaf=np.concatenate([part[2] for part in parts]),
        images_run=dict(images_run),
    )


def _answers(probabilities: np.ndarray, labels: np.ndarray) -> Answers:
    rows = np.arange(len(labels))
    named = probabilities.argmax(axis=1)
    own = probabilities[rows, labels][:, None]
    # Ties count against the classifier, and a class without any probability
    # is not among the five, as with hard routing into a small leaf.
    rank = (probabilities >= own).sum(axis=1)
    return Answers(
        named=named,
        confidence=probabilities[rows, named],
        in_top5=(rank <= _TOP) & (own[:, 0] > 0),
    )


def _own_leaf(
    tree: nodes.Tree,
    rows: np.ndarray,
    labels: np.ndarray,
    predictor: Predictor,
) -> np.ndarray:
    position = {name: i for i, name in enumerate(tree.classes)}
    named = np.zeros(len(rows), np.int64)
    for leaf in tree.leaves:
        columns = np.array([position[name] for name in leaf.classes])
        here = np.flatnonzero(np.isin(labels, columns))
        outputs = predictor.node_probabilities(leaf, rows[here])
        named[here] = columns[outputs.argmax(axis=1)]
    return named
