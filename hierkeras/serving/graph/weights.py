"""The weights of all networks in one variable, each content stored once.

A variable is handed from function to function by operations of its own at
every request, also on behalf of networks that do not run. So there is one for
all: networks slice theirs out of it, which copies nothing, and what several
hold alike is the same slice. Biases and statistics are part of the graph.

The variables belong to no Keras object, so that a module which holds them can
be read by TensorFlow's C++ loader.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

# Most numbers of a weight that is part of the graph.
_LARGEST_CONSTANT = 4096
# TensorFlow aligns tensors to 64 bytes, and slices a variable without copying
# it where its rows fill as many.
_ROW_BYTES = 64


class _Place(NamedTuple):
    """Where a content stands in the variable of its dtype."""

    first_row: int
    num_rows: int


class Weights:
    """Gives networks TensorFlow variables instead of their own.

    Args:
        models: The networks that will be called.
    """

    def __init__(self, models: Sequence[keras.Model]) -> None:
        self._places: dict[str, _Place] = {}
        blocks: dict[np.dtype, list[np.ndarray]] = {}
        for model in models:
            for content in map(_Content, model.variables):
                if content.is_large and content.digest not in self._places:
                    before = blocks.setdefault(content.array.dtype, [])
                    rows = content.rows()
                    self._places[content.digest] = _Place(
                        sum(map(len, before)), len(rows)
                    )
                    before.append(rows)
        self._packed = {
            dtype: tf.Variable(
                np.concatenate(rows), trainable=False, name=f"weights_{dtype}"
            )
            for dtype, rows in blocks.items()
        }

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables, one for each dtype."""
        return list(self._packed.values())

    def call(
        self, model: keras.Model, inputs: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Runs a network for inference.

        Args:
            model: One of the networks; a state of random numbers that it
                holds is not used.
            inputs: One tensor for each of its inputs.

        Returns:
            One tensor for each of its outputs.
        """
        outputs, _ = model.stateless_call(
            [self._tensor(v) for v in model.trainable_variables],
            [self._tensor(v) for v in model.non_trainable_variables],
            list(inputs),
            training=False,
        )
        return keras.tree.flatten(outputs)

    def _tensor(self, variable: keras.Variable) -> tf.Tensor:
        content = _Content(variable)
        array = content.array
        if not content.is_large:
            return tf.constant(array)
        first_row, num_rows = self._places[content.digest]
        packed = self._packed[array.dtype]
        rows = packed[first_row : first_row + num_rows]
        flat = tf.reshape(rows, [-1])
        if array.size < rows.shape.num_elements():
            flat = flat[: array.size]
        return tf.reshape(flat, array.shape)


class _Content:
    """What a Keras variable holds."""

    def __init__(self, variable: keras.Variable) -> None:
        with tf.init_scope():  # out of a graph that is being traced
            self.array = np.asarray(variable)
        self.is_large = self.array.size > _LARGEST_CONSTANT
        described = f"{self.array.dtype}{self.array.shape}".encode()
        self.digest = hashlib.sha256(
            described + self.array.tobytes()
        ).hexdigest()

    def rows(self) -> np.ndarray:
        """The content in rows, the last one filled up with zeros."""
        length = _ROW_BYTES // self.array.itemsize
        missing = -self.array.size % length
        return np.pad(self.array.ravel(), (0, missing)).reshape(-1, length)
