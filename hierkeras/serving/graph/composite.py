"""The whole tree as one TensorFlow function, routed in the graph.

The rows of a batch are sent to the nodes that they need. Each child's part of
the graph is a function of its own, called under `tf.cond` if any row goes
there, so that a node which no row needs costs next to nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from hierkeras.serving.graph.heads import Answers, Heads, heads_of, places
from hierkeras.serving.graph.weights import Weights
from hierkeras.training import sharing
from hierkeras.tree import nodes, routing
from hierkeras.tree.routing import Fork, Routing

# Children of a branch are asked for in groups of so many, so that one among
# many is found in few steps.
_GROUP = 8


class Below(NamedTuple):
    """What some children of a branch answer for the rows sent to them.

    Args:
        places: int32 of shape (p, 2), row and column of each answer.
        answers: float32 of shape (p,), the probabilities.
        rows: int32 of shape (r, 1), rows whose leaf (see
            `tree.routing.Routed`) is among these children's.
        leaves: int32 of shape (r,), that leaf.
    """

    places: tf.Tensor
    answers: tf.Tensor
    rows: tf.Tensor
    leaves: tf.Tensor


class Composite:
    """A tree's answer as operations of a TensorFlow graph.

    Args:
        tree: The tree.
        models: Job id to network, from images in 0..255 to logits.
        how: How rows travel down the tree.
        is_inlined: Whether no part of the graph is a function of its own, of
            which LiteRT takes none.
    """

    def __init__(
        self,
        tree: nodes.Tree,
        models: Mapping[str, keras.Model],
        how: Routing,
        *,
        is_inlined: bool = False,
    ) -> None:
        self.tree = tree
        self._how = how
        self._rule = how.acting
        self._parts = sharing.parts(tree, models)
        self._heads = {} if is_inlined else self._find_heads()
        in_heads = {
            branch.children[number].name
            for branch in tree.branches
            if branch.name in self._heads
            for number in self._heads[branch.name].numbers
        }
        self.weights = Weights(
            [
                part.model
                for name, part in self._parts.items()
                if name not in in_heads
            ]
        )
        self._leaf_numbers = tree.leaf_numbers()
        self._is_inlined = is_inlined

    @property
    def variables(self) -> list[tf.Variable]:
        """What the graph reads."""
        heads = [heads.kernel for heads in self._heads.values()]
        return [*self.weights.variables, *heads]

    def _find_heads(self) -> dict[str, Heads]:
        """The heads below each branch that has some."""
        found = {
            branch.name: heads_of(branch, self._parts)
            for branch in self.tree.branches
        }
        return {name: heads for name, heads in found.items() if heads}

    def __call__(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Answers for a batch of images.

        Args:
            images: uint8 of shape (n, size, size, 3); where n is known to be
                1, no part of the graph is for other numbers of rows.

        Returns:
            As in `tree.routing.Routed`: float32 probabilities of shape (n,
            number of classes), whose rows sum to 1, and int32 leaves of
            shape (n,).
        """
        root = self.tree.root
        temperature = routing.temperature(self.tree, self._how.rule)

        def run() -> tuple[tf.Tensor, tf.Tensor]:
            answers, leaves = self._node(
                root, {sharing.IMAGES: tf.cast(images, tf.float32)}
            )
            return routing.temper(answers, temperature, keras.ops), leaves

        def nothing() -> tuple[tf.Tensor, tf.Tensor]:
            return (
                tf.zeros([0, len(root.classes)]),
                tf.zeros([0], tf.int32),
            )

        if images.shape[0] == 1:
            return run()
        return tf.cond(tf.shape(images)[0] > 0, run, nothing)

    def _node(
        self, node: nodes.Node, tensors: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        part = self._parts[node.name]
        logits, *given = self.weights.call(
            part.model, [tensors[key] for key in part.takes]
        )
        own = tf.nn.softmax(tf.cast(logits, tf.float32))
        count = tf.shape(own)[0]
        if isinstance(node, nodes.Leaf):
            return own, tf.fill([count], self._leaf_numbers[node.classes[0]])
        tensors = {**tensors, **dict(zip(part.gives, given, strict=True))}
        fork = Fork(node, own, keras.ops, tf.gather)
        runs = self._rule.runs(fork)
        leaves = tf.zeros([count], tf.int32)
        if self._rule.contention:  # else the one that is chosen always runs
            leaves = fork.likely_leaves(self._leaf_numbers)
        answers = Answers(self._rule.rest(fork), leaves)
        heads = self._heads.get(node.name)
        if heads is not None:
            answers = heads.answer(
                fork,
                self._rule,
                runs,
                tensors[heads.takes],
                self._leaf_numbers,
                answers,
            )
        others = [
            number
            for number in range(len(node.children))
            if heads is None or number not in heads.numbers
        ]
        if not others:
            return answers
        below = self._below(fork, tensors, runs, others)
        found, leaves = answers
        return (
            tf.tensor_scatter_nd_update(found, below.places, below.answers),
            tf.tensor_scatter_nd_update(leaves, below.rows, below.leaves),
        )

    def _below(
        self,
        fork: Fork,
        tensors: dict[str, tf.Tensor],
        runs: tf.Tensor,
        numbers: Sequence[int],
    ) -> Below:
        children = fork.branch.children
        is_one = fork.own.shape[0] == 1
        needed = tf.reduce_any(runs, axis=0)

        def child(k: int) -> Below:
            node = children[k]
            # A child is asked only if a row goes there: one that is alone.
            here = tf.range(1) if is_one else tf.where(runs[:, k])[:, 0]
            sent = {
                key: tf.gather(tensors[key], here)
                for key in self._parts[node.name].passes
            }
            answers, leaves = self._node(node, sent)
            answers = self._rule.joined(
                fork, fork.mass[:, k], fork.positions[k], here, answers
            )
            goes = tf.gather(fork.chosen[:, k], here)
            here = tf.cast(here, tf.int32)
            return Below(
                places(here, fork.positions[k]),
                tf.reshape(answers, [-1]),
                tf.boolean_mask(here, goes)[:, tf.newaxis],
                tf.boolean_mask(leaves, goes),
            )

        return _ask(child, numbers, needed, self._is_inlined)


def _ask(
    child: Callable[[int], Below],
    children: Sequence[int],
    needed: tf.Tensor,
    is_inlined: bool,
) -> Below:
    """Asks those children that any row goes to."""
    size = 1
    while size * _GROUP < len(children):
        size *= _GROUP
    found = []
    for start in range(0, len(children), size):
        group = children[start : start + size]
        ask: Callable[[], Below] = functools.partial(
            _ask, child, group, needed, is_inlined
        )
        if len(group) == 1:
            ask = functools.partial(child, group[0])
        # Not inlined: under a condition that is false, each operation of an
        # inlined function would still be passed over one by one.
        if not is_inlined:
            ask = tf.function(
                ask,
                autograph=False,
                experimental_attributes={"_noinline": True},
            )
        found.append(
            tf.cond(tf.reduce_any(tf.gather(needed, list(group))), ask, _nobody)
        )
    return Below(
        *(tf.concat(each, axis=0) for each in zip(*found, strict=True))
    )


def _nobody() -> Below:
    return Below(
        tf.zeros([0, 2], tf.int32),
        tf.zeros([0]),
        tf.zeros([0, 1], tf.int32),
        tf.zeros([0], tf.int32),
    )
