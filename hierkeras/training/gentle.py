"""Optimizers that are gentle to what was learnt before.

The layers below the softmax layer learn at a part of the rate, and not at all
in the first steps, in which a new softmax layer has nothing sensible to tell
them (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features",
https://arxiv.org/abs/2202.10054).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
from keras import ops

from hierkeras.training.muon import Muon


class _Gentle(keras.Optimizer):
    """Mixed into an optimizer, before it.

    Args:
        head: Ids of the variables that learn at the full rate at once.
        head_steps: Steps in which the others learn nothing.
        body_rate: Factor on the others' rate afterwards.
    """

    def __init__(
        self,
        *arguments: Any,
        head: Collection[int],
        head_steps: int,
        body_rate: float,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._head = frozenset(head)
        self._head_steps = head_steps
        self._body_rate = body_rate
        self._is_head: list[bool] = []

    def build(self, variables: list[keras.Variable]) -> None:
        """Notes which of the variables are the softmax layer's."""
        self._is_head = [id(variable) in self._head for variable in variables]
        super().build(variables)

    def update_step(
        self, gradient: Any, variable: Any, learning_rate: Any
    ) -> None:
        """Changes a variable by its gradient."""
        if not self._is_head[self._get_variable_index(variable)]:
            factor = ops.where(
                ops.less(self.iterations, self._head_steps),
                0.0,
                self._body_rate,
            )
            learning_rate = learning_rate * ops.cast(
                factor, learning_rate.dtype
            )
        super().update_step(gradient, variable, learning_rate)


class GentleSGD(_Gentle, keras.optimizers.SGD):
    """`keras.optimizers.SGD`, gentle."""


class GentleAdamW(_Gentle, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, gentle."""


class _Waiting(Muon):
    """`Muon` that gathers no momentum while its rate is 0.

    Keras's SGD multiplies a gradient by the rate before it gathers it.
    """

    def update_step(
        self, gradient: Any, variable: Any, learning_rate: Any
    ) -> None:
        """Changes a variable by its gradient."""
        learns = ops.cast(ops.greater(learning_rate, 0), gradient.dtype)
        super().update_step(gradient * learns, variable, learning_rate)


class GentleMuon(_Gentle, _Waiting):
    """`Muon`, gentle."""
