"""Routing: from the models' softmax outputs to the tree's answer.

A rule says which children of a branch run for an image, and how a child's
answer and the branch's own become one: `Hard`, `Soft` and `Fused`. With
`b(k|x)` a branch's probability of its child `k`, `l(y|x)` the child's
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

A tree has a temperature of the whole answer for each rule.

Formulas and rules take the module of array operations to use, `numpy` or one
with its names such as `keras.ops`: what goes down the tree in `route` and in a
served graph asks the same objects.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Protocol, get_args

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
    """How images travel down a tree.

    Raises:
        ValueError: If a field is out of its bounds.
    """

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
            "Most children that run for an image at one branch, with soft and "
            "fused routing.",
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
            flag="contention",
        ),
    ] = 0.0

    def __post_init__(self) -> None:
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            try:
                msgspec.convert(value, field.type)
            except msgspec.ValidationError as error:
                why = str(error)
                if field.name == "rule":
                    why = f"Expected one of {', '.join(ROUTING_RULES)}"
                raise ValueError(
                    f"{field.name}: {why}. Received: {field.name}={value!r}"
                ) from None

    @property
    def acting(self) -> Rule:
        """The rule, with what it goes by."""
        return _RULES[self.rule](self)


class NodeProbabilities(Protocol):
    """Gives the softmax outputs of a node's model for some images."""

    def __call__(self, node: nodes.Node, rows: np.ndarray) -> np.ndarray:
        """Runs the node's model.

        Args:
            node: The node.
            rows: int array of shape (n,), the images.

        Returns:
            float array of shape (n, len(node.classes)), rows summing to 1.
        """
        ...  # pragma: no cover - a protocol


class Routed(NamedTuple):
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
    count = children.shape[1]
    if beam_width >= count:
        return children >= 0
    numbers = np.arange(count)[None, :]
    # One after the other: a rank of all is an array of k by k for each row.
    runs = numbers == _most(children, ops)[:, None]
    for _ in range(beam_width - 1):
        left = ops.where(runs, -1.0, children)
        runs = ops.logical_or(runs, numbers == _most(left, ops)[:, None])
    return runs


def _most(values: Array, ops: Any) -> Array:
    """The column of the largest of each row, the first of equals."""
    # Of whole numbers: that of floats has an operation that LiteRT lacks.
    is_most = values >= ops.max(values, axis=1, keepdims=True)
    return ops.argmax(ops.where(is_most, 1, 0), axis=1)


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
    inside = ops.where(is_in_chosen, branch, -1.0)
    leaves = np.asarray(leaf_of, dtype=np.int32)
    return ops.take(leaves, _most(inside, ops))


class Fork:
    """Rows at a branch, and what the branch says of them.

    Args:
        branch: The branch.
        own: float array of shape (n, c), its softmax outputs.
        ops: Module of array operations.
        take: As `numpy.take`, for indices that are not negative.

    Attributes:
        positions: For each child its columns in `own`.
        mass: float array of shape (n, k), the children's probabilities.
        chosen: bool array of shape (n, k), where the most probable child is.
    """

    def __init__(
        self,
        branch: nodes.Branch,
        own: Array,
        ops: Any = np,
        take: Callable[..., Array] = np.take,
    ) -> None:
        self.branch = branch
        self.own = own
        self.ops = ops
        self.take = take
        self.positions = branch.positions()
        self.mass = child_probabilities(own, self.positions, ops)
        self.chosen = beam(self.mass, 1, ops)

    def likely_leaves(self, leaf_numbers: Mapping[str, int]) -> Array:
        """For each row the leaf it goes to as far as the branch can tell."""
        leaf_of = [leaf_numbers[name] for name in self.branch.classes]
        return likely_leaves(
            self.own, self.chosen, self.positions, leaf_of, self.ops
        )


class Rule(abc.ABC):
    """What happens at a branch.

    Attributes:
        uses: The fields of `Routing` that it goes by.
        beam_width: Most children that run for one row.
        contention: See `contended`; 0: all in the beam run.
    """

    uses: tuple[str, ...] = ("beam_width", "contention")

    def __init__(self, routing: Routing) -> None:
        self.beam_width = routing.beam_width
        self.contention = routing.contention

    def __str__(self) -> str:
        settings = (f"{name} {getattr(self, name):g}" for name in self.uses)
        called = type(self).__name__.lower()
        return ", ".join([f"{called} routing", *settings])

    def runs(self, fork: Fork) -> Array:
        """Which children run for which row: bool array of shape (n, k)."""
        runs = fork.chosen
        if self.beam_width > 1:
            runs = beam(fork.mass, self.beam_width, fork.ops)
        if not self.contention:
            return runs
        asked = contended(fork.own, fork.positions, self.contention, fork.ops)
        return fork.ops.logical_and(runs, asked)

    @abc.abstractmethod
    def rest(self, fork: Fork) -> Array:
        """What stands where no child runs: float array of shape (n, c)."""

    @abc.abstractmethod
    def joined(
        self, fork: Fork, mass: Array, columns: Array, rows: Array, below: Array
    ) -> Array:
        """The answer of a child, seen from the branch.

        Args:
            fork: The branch.
            mass: float array of shape (n,), the child's probabilities.
            columns: int array of shape (classes of the child,), the child's
                columns in what the branch says.
            rows: int array of shape (m,), the rows that the child ran for.
            below: float array of shape (m, classes of the child), what the
                child answers; its rows sum to 1.

        Returns:
            float array of the shape of `below`.
        """


class Hard(Rule):
    """The most probable child answers alone."""

    uses = ()

    def __init__(self, routing: Routing) -> None:
        self.beam_width = 1
        self.contention = 0.0

    def rest(self, fork: Fork) -> Array:
        """Nothing."""
        return fork.ops.zeros_like(fork.own)

    def joined(
        self, fork: Fork, mass: Array, columns: Array, rows: Array, below: Array
    ) -> Array:
        """What the child answers."""
        return below


class Soft(Rule):
    """`P(y|x) = b(k|x) * l(y|x)`."""

    def rest(self, fork: Fork) -> Array:
        """The branch's own probabilities."""
        return fork.own

    def joined(
        self, fork: Fork, mass: Array, columns: Array, rows: Array, below: Array
    ) -> Array:
        """The child's answer times the child's probability."""
        return below * fork.take(mass, rows, axis=0)[:, None]


class Fused(Soft):
    """As `Soft`, with the normalised geometric mean of both for `l`."""

    def joined(
        self, fork: Fork, mass: Array, columns: Array, rows: Array, below: Array
    ) -> Array:
        """The mean of both opinions times the child's probability."""
        own = fork.take(fork.own, rows, axis=0)
        opinion = fork.take(own, columns, axis=1)
        fused = fuse(below, opinion, fork.branch.fusion_exponent, fork.ops)
        return super().joined(fork, mass, columns, rows, fused)


_RULES: Mapping[RoutingRule, type[Rule]] = {
    "hard": Hard,
    "soft": Soft,
    "fused": Fused,
}


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
    walk = _Walk(probabilities, routing.acting, tree.leaf_numbers())
    answers, leaves = walk.down(tree.root, rows)
    return Routed(temper(answers, temperature(tree, routing.rule)), leaves)


class _Walk(NamedTuple):
    """Sends rows down a tree."""

    probabilities: NodeProbabilities
    rule: Rule
    leaf_numbers: Mapping[str, int]

    def down(
        self, node: nodes.Node, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Answers, and leaves as in `Routed`, of a node and those below it."""
        own = self.probabilities(node, rows)
        if isinstance(node, nodes.Leaf):
            return own, np.full(len(rows), self.leaf_numbers[node.classes[0]])
        fork = Fork(node, own)
        runs = self.rule.runs(fork)
        answers = np.array(self.rule.rest(fork))
        leaves = fork.likely_leaves(self.leaf_numbers)
        for k, child in enumerate(node.children):
            here = np.flatnonzero(runs[:, k])
            if not here.size:
                continue
            below, below_leaves = self.down(child, rows[here])
            columns = np.asarray(fork.positions[k])
            answers[np.ix_(here, columns)] = self.rule.joined(
                fork, fork.mass[:, k], columns, here, below
            )
            goes = fork.chosen[here, k]
            leaves[here[goes]] = below_leaves[goes]
        return answers, leaves
