"""Routing: from the models' softmax outputs to the tree's answer.

With `b(k|x)` a branch's probability of its child `k`, `l(y|x)` the child's
probability of a class `y` and `c(y|x)` the branch's own probability of `y`
given its child:

- `hard`: descend to the most probable child, answer with that leaf (paper,
  section 3).
- `soft`: `P(y|x) = b(k|x) * l(y|x)`, over the children that matter: of each
  branch the `beam_width` most probable. Below the others the branch's own
  `b(k|x) * c(y|x)` stands, so that the probabilities still sum to 1.
- `fused`: as soft, with `l` replaced by the normalised geometric mean
  `l^a * c^(1-a)`, where `a` is the branch's `fusion_exponent`.

With soft and fused routing, images that a branch is sure of need no children:
see `contended`.

The probabilities of a node are those of its logits divided by its
temperature, and a tree has a temperature of the whole answer for each rule.

The formulas take the module of array operations to use, `numpy` or one with
its names such as `keras.ops`, so that evaluation and a served graph compute
the same thing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, get_args

import msgspec
import numpy as np

from hierkeras._option import option
from hierkeras.tree import nodes

RoutingRule = Literal["hard", "soft", "fused"]
ROUTING_RULES: tuple[RoutingRule, ...] = get_args(RoutingRule)

# Keeps the logarithm of a probability that underflowed finite.
_TINY = 1e-30

Array = Any  # of numpy or of the module that a formula is given


class Routing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How images travel down a tree."""

    rule: Annotated[
        RoutingRule,
        option(
            "How a tree answers: hard (the paper's), soft or fused.",
            flag="routing",
        ),
    ] = "hard"
    beam_width: Annotated[
        int,
        option(
            "Most children that run for an image at one branch, with soft "
            "and fused routing.",
            1,
            10**6,
        ),
    ] = 2
    contention: Annotated[
        float,
        option(
            "Part of the most probable class's probability, in [0, 1], that "
            "makes a class a contender. With soft and fused routing children "
            "run only where they hold contenders, of which there must be two; "
            "0: all in the beam.",
            0.0,
            1.0,
        ),
    ] = 0.0


class NodeProbabilities(Protocol):
    """Gives the softmax outputs of a node's model for some images.

    The node's temperature is applied.
    """

    def __call__(self, node: nodes.Node, rows: np.ndarray) -> np.ndarray:
        """Runs the node's model.

        Args:
            node: The node.
            rows: int array of shape (n,), the images.

        Returns:
            float array of shape (n, len(node.classes)), rows summing to 1.
        """
        ...  # pragma: no cover - a protocol


@dataclasses.dataclass(frozen=True)
class Routed:
    """The tree's answer for n images.

    Args:
        probabilities: float32 array of shape (n, len(tree.classes)); columns
            follow `tree.classes`; rows sum to 1.
        leaves: int array of shape (n,), for each image the index, in
            `tree.leaves`, of the leaf that hard routing sends it to. Where
            that is below a branch which `contention` keeps from running, it
            is the leaf of the class there that is most probable above.
    """

    probabilities: np.ndarray
    leaves: np.ndarray


def child_probabilities(
    branch: Array, positions: Sequence[Sequence[int]], ops: Any = np
) -> Array:
    """`b(k|x)`: sums a branch's softmax units by child (paper, Figure 4).

    Args:
        branch: float array of shape (n, c), the branch's softmax outputs.
        positions: For each child its columns in `branch`.
        ops: Module of array operations.

    Returns:
        float array of shape (n, len(positions)).
    """
    # One gather for all children, the shorter ones filled up with zeros: in
    # a graph, operations for each of many children would add up.
    longest = max(map(len, positions))
    columns = np.array([[*p, *[0] * (longest - len(p))] for p in positions])
    is_one = np.array(
        [[1.0] * len(p) + [0.0] * (longest - len(p)) for p in positions],
        dtype=np.float32,
    )
    return ops.sum(ops.take(branch, columns, axis=1) * is_one, axis=2)


def fuse(
    leaf: Array, branch: Array, exponent: float | Array, ops: Any = np
) -> Array:
    """The normalised geometric mean `l^a * c^(1-a)` of two opinions.

    Args:
        leaf: float array of shape (n, c), the child's probabilities.
        branch: float array of shape (n, c), the branch's probabilities of
            the same classes; they need not sum to 1.
        exponent: `a` in [0, 1]; 1 gives `leaf`.
        ops: Module of array operations.

    Returns:
        float array of shape (n, c), rows summing to 1.
    """
    logits = exponent * ops.log(ops.maximum(leaf, _TINY)) + (
        1.0 - exponent
    ) * ops.log(ops.maximum(branch, _TINY))
    weights = ops.exp(logits - ops.max(logits, axis=1, keepdims=True))
    return weights / ops.sum(weights, axis=1, keepdims=True)


def temper(probabilities: Array, temperature: float, ops: Any = np) -> Array:
    """Probabilities of logits that are divided by a temperature.

    They are `p^(1/T)`, normalised (Guo et al. 2017, section 4.2,
    https://arxiv.org/abs/1706.04599); what is 0 stays 0.

    Args:
        probabilities: float array of shape (n, c), rows summing to 1.
        temperature: `T`, greater than 0; above 1 the probabilities move
            towards each other, below 1 away from each other.
        ops: Module of array operations.

    Returns:
        float array of shape (n, c), rows summing to 1.
    """
    if temperature == 1.0:
        return probabilities
    largest = ops.max(probabilities, axis=1, keepdims=True)
    weights = ops.power(probabilities / largest, 1.0 / temperature)
    return weights / ops.sum(weights, axis=1, keepdims=True)


def temperature(tree: nodes.Tree, rule: RoutingRule) -> float:
    """The temperature of a tree's whole answer under a rule."""
    return getattr(tree.temperatures, rule) if tree.temperatures else 1.0


def beam(children: Array, beam_width: int, ops: Any = np) -> Array:
    """Which children of a branch run for which image.

    Args:
        children: float array of shape (n, k), the children's probabilities.
        beam_width: Most children to run for one image.
        ops: Module of array operations.

    Returns:
        bool array of shape (n, k), `min(beam_width, k)` true in each row;
        of equals, the first wins.
    """
    # Rank by how many children go before: a stable order without a sort,
    # the same in every module of operations.
    before = children[:, None, :] > children[:, :, None]
    equal = children[:, None, :] == children[:, :, None]
    count = children.shape[1]
    earlier = np.tril(np.ones((count, count), dtype=bool), k=-1)[None]
    ranks = ops.sum(
        ops.where(
            ops.logical_or(before, ops.logical_and(equal, earlier)), 1, 0
        ),
        axis=2,
    )
    return ranks < beam_width


def contended(
    branch: Array,
    positions: Sequence[Sequence[int]],
    contention: float,
    ops: Any = np,
) -> Array:
    """Which children of a branch hold classes that its answer hangs on.

    A class is a contender if it is at least `contention` times as probable as
    the most probable one. With two or more of them, children that hold one
    are to tell; else the branch is sure. Where classifiers of growing price
    answer in turn, that is when the next is asked (Teerapittayanon et al.
    2016, "BranchyNet", https://arxiv.org/abs/1709.01686, asks by entropy).

    Args:
        branch: float array of shape (n, c), the branch's softmax outputs.
        positions: For each child its columns in `branch`.
        contention: In [0, 1].
        ops: Module of array operations.

    Returns:
        bool array of shape (n, len(positions)).
    """
    least = contention * ops.max(branch, axis=1, keepdims=True)
    contends = ops.where(branch >= least, 1.0, 0.0)
    # How many contenders a child holds, as its probability is summed.
    held = child_probabilities(contends, positions, ops)
    is_open = ops.sum(contends, axis=1, keepdims=True) > 1
    return ops.logical_and(held > 0, is_open)


def children_to_run(
    branch: Array,
    children: Array,
    positions: Sequence[Sequence[int]],
    routing: Routing,
    ops: Any = np,
) -> Array:
    """Which children of a branch run for which image.

    Args:
        branch: float array of shape (n, c), the branch's softmax outputs.
        children: float array of shape (n, k), the children's probabilities.
        positions: For each child its columns in `branch`.
        routing: The rule to follow.
        ops: Module of array operations.

    Returns:
        bool array of shape (n, k).
    """
    if routing.rule == "hard":
        return beam(children, 1, ops)
    runs = beam(children, routing.beam_width, ops)
    if not routing.contention:
        return runs
    asked = contended(branch, positions, routing.contention, ops)
    return ops.logical_and(runs, asked)


def likely_leaves(
    branch: Array,
    chosen: Array,
    positions: Sequence[Sequence[int]],
    leaf_of: Sequence[int],
    ops: Any = np,
) -> Array:
    """The leaf of the most probable class in the child that is chosen.

    Args:
        branch: float array of shape (n, c), the branch's softmax outputs.
        chosen: bool array of shape (n, k), of which one is true in each row.
        positions: For each child its columns in `branch`.
        leaf_of: The leaf of each column.
        ops: Module of array operations.

    Returns:
        int array of shape (n,).
    """
    child_of = np.empty(len(leaf_of), dtype=np.int32)
    for number, columns in enumerate(positions):
        child_of[np.asarray(columns)] = number
    is_in_chosen = ops.take(chosen, child_of, axis=1)
    column = ops.argmax(ops.where(is_in_chosen, branch, -1.0), axis=1)
    return ops.take(np.asarray(leaf_of, dtype=np.int32), column)


def route(
    tree: nodes.Tree,
    probabilities: NodeProbabilities,
    rows: np.ndarray,
    routing: Routing,
) -> Routed:
    """Sends images down the tree; a node runs only on those that reach it.

    Args:
        tree: The tree.
        probabilities: Runs a node's model on some of the images.
        rows: int array of shape (n,), the images, as `probabilities` knows
            them.
        routing: The rule to follow.

    Returns:
        The answer for each of `rows`.
    """
    answers, leaves = _descend(
        tree.root, probabilities, rows, routing, tree.leaf_numbers()
    )
    return Routed(temper(answers, temperature(tree, routing.rule)), leaves)


def _descend(
    node: nodes.Node,
    probabilities: NodeProbabilities,
    rows: np.ndarray,
    routing: Routing,
    leaf_numbers: Mapping[str, int],
) -> tuple[np.ndarray, np.ndarray]:
    own = probabilities(node, rows)
    if isinstance(node, nodes.Leaf):
        return own, np.full(len(rows), leaf_numbers[node.classes[0]])
    positions = node.positions()
    mass = child_probabilities(own, positions)
    runs = children_to_run(own, mass, positions, routing)
    chosen = beam(mass, 1)
    answers = np.zeros_like(own) if routing.rule == "hard" else own.copy()
    leaf_of = [leaf_numbers[name] for name in node.classes]
    leaves = likely_leaves(own, chosen, positions, leaf_of)
    for k, child in enumerate(node.children):
        here = np.flatnonzero(runs[:, k])
        if not here.size:
            continue
        below, below_leaves = _descend(
            child, probabilities, rows[here], routing, leaf_numbers
        )
        columns = np.asarray(positions[k])
        if routing.rule == "fused":
            own_opinion = own[np.ix_(here, columns)]
            below = fuse(below, own_opinion, node.fusion_exponent)
        if routing.rule != "hard":
            below = below * mass[here, k, None]
        answers[np.ix_(here, columns)] = below
        goes = chosen[here, k]
        leaves[here[goes]] = below_leaves[goes]
    return answers, leaves
