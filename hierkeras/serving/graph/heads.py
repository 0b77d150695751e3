"""The heads of a branch's leaves above one trunk, in one loop.

Where leaves have nothing of their own but a matrix, the matrices stand below
each other in one variable, and a loop over the leaves that rows go to slices
theirs out of it. So a graph of a thousand leaves is no larger than one of
four, and what no row needs costs nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from hierkeras.training.sharing import Part
from hierkeras.tree import nodes
from hierkeras.tree.routing import Fork, Rule

# With fewer, functions of their own are as quick.
_FEWEST = 4


class Answers(NamedTuple):
    """What rows are answered so far.

    Args:
        probabilities: float32 of shape (n, c).
        leaves: int32 of shape (n,), see `tree.routing.Routed`.
    """

    probabilities: tf.Tensor
    leaves: tf.Tensor


class Heads:
    """Leaves of one branch that are a matrix above the same tensor.

    Args:
        numbers: Which of the branch's children they are.
        takes: Key of the tensor, of shape (n, f).
        dense: Their layers.

    Attributes:
        numbers: As given.
        takes: As given.
        kernel: The variable: their matrices, of shape (classes, f).
    """

    def __init__(
        self,
        numbers: Sequence[int],
        takes: str,
        dense: Sequence[keras.layers.Dense],
    ) -> None:
        self.numbers, self.takes = list(numbers), takes
        with tf.init_scope():  # out of a graph that is being traced
            kernels = [np.asarray(layer.kernel).T for layer in dense]
            biases = [np.asarray(layer.bias) for layer in dense]
        self._sizes = np.array([len(one) for one in biases], np.int32)
        self._biases = np.concatenate(biases)
        self.kernel = tf.Variable(
            np.concatenate(kernels), trainable=False, name="heads"
        )

    def answer(
        self,
        fork: Fork,
        rule: Rule,
        runs: tf.Tensor,
        features: tf.Tensor,
        leaf_numbers: Mapping[str, int],
        answers: Answers,
    ) -> Answers:
        """Has those leaves answer that rows go to.

        Args:
            fork: The branch, and what it says of n rows.
            rule: How a leaf's answer and the branch's become one.
            runs: bool of shape (n, k): which children run for which row.
            features: Of shape (n, f), of any float type.
            leaf_numbers: Class to the number of its leaf.
            answers: What is answered without them.
        """
        tables = self._tables(fork, leaf_numbers)
        # As Keras does it, where what is below runs in mixed precision.
        features = tf.cast(features, tf.float32)
        asked = tf.reduce_any(runs, axis=0)
        asked = tf.where(tf.gather(asked, tables.numbers))[:, 0]

        def one_more(
            step: tf.Tensor, found: tf.Tensor, leaves: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            head = asked[step]
            child = tables.numbers[head]
            own = slice(tables.starts[head], tables.ends[head])
            here = tf.where(tf.gather(runs, child, axis=1))[:, 0]
            kernel = self.kernel[own]
            logits = tf.matmul(tf.gather(features, here), kernel, False, True)
            columns = tables.columns[own]
            answer = rule.joined(
                fork,
                tf.gather(fork.mass, child, axis=1),
                columns,
                here,
                tf.nn.softmax(logits + tables.biases[own]),
            )
            goes = tf.gather(tf.gather(fork.chosen, child, axis=1), here)
            here = tf.cast(here, tf.int32)
            to = tf.boolean_mask(here, goes)[:, tf.newaxis]
            leaf = tf.fill([tf.shape(to)[0]], tables.leaves[head])
            return (
                step + 1,
                tf.tensor_scatter_nd_update(
                    found, places(here, columns), tf.reshape(answer, [-1])
                ),
                tf.tensor_scatter_nd_update(leaves, to, leaf),
            )

        _, found, leaves = tf.while_loop(
            lambda step, *_: step < tf.shape(asked)[0],
            one_more,
            (tf.constant(0), *answers),
            # Each goes on from what the one before has written.
            parallel_iterations=1,
        )
        return Answers(found, leaves)

    def _tables(self, fork: Fork, leaf_numbers: Mapping[str, int]) -> _Tables:
        children = [fork.branch.children[number] for number in self.numbers]
        columns = [fork.positions[number] for number in self.numbers]
        ends = np.cumsum(self._sizes)
        leaves = [leaf_numbers[child.classes[0]] for child in children]
        return _Tables(
            tf.constant(self.numbers, tf.int32),
            tf.constant(ends - self._sizes, tf.int32),
            tf.constant(ends, tf.int32),
            tf.constant(np.concatenate(columns), tf.int32),
            tf.constant(self._biases),
            tf.constant(leaves, tf.int32),
        )


class _Tables(NamedTuple):
    """What a head is looked up by, in the order of the heads.

    Args:
        numbers: The child of the branch that it is.
        starts: Where its classes begin among those of all heads, and
        ends: where they end, as rows of the kernel, of
        columns: the branch's columns of all classes, and of
        biases: theirs.
        leaves: The number of its leaf.
    """

    numbers: tf.Tensor
    starts: tf.Tensor
    ends: tf.Tensor
    columns: tf.Tensor
    biases: tf.Tensor
    leaves: tf.Tensor


def heads_of(branch: nodes.Branch, parts: Mapping[str, Part]) -> Heads | None:
    """Those children of a branch that are heads; None: there are too few.

    Args:
        branch: The branch.
        parts: Node name to what the node computes itself.
    """
    found: dict[str, list[tuple[int, keras.layers.Dense]]] = {}
    for number, child in enumerate(branch.children):
        part = parts[child.name]
        layer = _dense(part)
        if isinstance(child, nodes.Leaf) and layer is not None:
            found.setdefault(part.takes[0], []).append((number, layer))
    takes = max(found, key=lambda key: len(found[key]), default="")
    if not takes or len(found[takes]) < _FEWEST:
        return None
    numbers, dense = zip(*found[takes], strict=True)
    return Heads(numbers, takes, dense)


def _dense(part: Part) -> keras.layers.Dense | None:
    """The one layer of a part that has no other; None: it has."""
    layers = [
        layer
        for layer in part.model.layers
        if not isinstance(layer, keras.layers.InputLayer)
    ]
    if len(layers) != 1 or len(part.takes) != 1 or part.gives:
        return None
    [layer] = layers
    is_plain = (
        isinstance(layer, keras.layers.Dense)
        and layer.use_bias
        and layer.activation is keras.activations.linear
        and layer.compute_dtype == "float32"
        and len(layer.input.shape) == 2
    )
    return layer if is_plain else None


def places(rows: tf.Tensor, columns: tf.Tensor | Sequence[int]) -> tf.Tensor:
    """Row and column of each entry of a block, row by row.

    Args:
        rows: int32 of shape (r,).
        columns: int32 of shape (c,).

    Returns:
        int32 of shape (r * c, 2).
    """
    columns = tf.convert_to_tensor(columns, tf.int32)
    pairs = tf.meshgrid(rows, columns, indexing="ij")
    return tf.reshape(tf.stack(pairs, axis=-1), [-1, 2])
