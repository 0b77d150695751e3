"""Muon: steps on kernels that change every direction by as much."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from hierkeras.models.surgery import HEAD

# A kernel's step as a part of its length, by the learning rate. With the rate
# of 0.1 that suits gradient descent a step is 1 % (docs/results.md).
_RELATIVE_RATE = 0.1


class Muon(keras.optimizers.Muon):
    """Gradient descent whose steps on kernels are orthogonal matrices.

    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
    networks", https://kellerjordan.github.io/posts/muon/. The momentum of a
    kernel, as a matrix with a column for each output channel, is replaced by
    the nearest semi-orthogonal matrix, by Keras's Newton-Schulz iteration; so
    directions that most images agree on do not drown out the others.

    As in You et al. 2017, "Large Batch Training of Convolutional Networks",
    https://arxiv.org/abs/1708.03888, a step is as long as a part of the kernel
    that it changes: below a batch normalisation only a kernel's direction
    matters, and the rate needs no tuning to its size.

    The softmax layer, vectors and depthwise kernels, which are no matrices,
    learn by gradient descent with Nesterov momentum; Keras's own has Adam
    there. The momentum gathers gradients; that of `keras.optimizers.SGD`
    gathers steps, which is the same where the rate is constant.

    Args:
        learning_rate: As for `keras.optimizers.SGD`; a step on a kernel is a
            tenth of it, as a part of the kernel's length.
        momentum: In [0, 1).
        weight_decay: As for `keras.optimizers.SGD`; None: none.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        momentum: float,
        weight_decay: float | None,
        **options: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            **options,
        )
        self._is_matrix: list[bool] = []

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes a momentum for each of the variables."""
        if self.built:
            return
        keras.Optimizer.build(self, variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")
        # Later TensorFlow's variables are handed over, which have no path.
        self._is_matrix = [is_matrix(variable) for variable in variables]

    def _apply_weight_decay(self, variables: list[keras.Variable]) -> None:
        # Keras's Muon has one for Adam, and none for several replicas.
        keras.Optimizer._apply_weight_decay(self, variables)

    def update_step(
        self, gradient: Any, variable: Any, learning_rate: Any
    ) -> None:
        """Changes a variable by its gradient."""
        index = self._get_variable_index(variable)
        momentum = self.momentums[index]
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        self.assign(momentum, self.momentum * momentum + gradient)
        direction = self.momentum * momentum + gradient
        if self._is_matrix[index]:
            direction = self._orthogonal(direction, variable)
            rate = rate * _RELATIVE_RATE
        self.assign_sub(variable, rate * direction)

    def _orthogonal(self, direction: Any, variable: Any) -> Any:
        """The nearest semi-orthogonal matrix, as long as the variable."""
        matrix = ops.reshape(direction, (-1, variable.shape[-1]))
        nearest = self.zeropower_via_newtonschulz5(matrix, self.ns_steps)
        # The length of a matrix whose singular values are all 1.
        length = math.sqrt(min(matrix.shape))
        scale = ops.norm(ops.reshape(variable, (-1,))) / length
        return ops.reshape(nearest * scale, variable.shape)


def is_matrix(variable: keras.Variable) -> bool:
    """Whether a variable is a kernel that Muon makes orthogonal steps on.

    Args:
        variable: Of a network.
    """
    return (
        variable.path.endswith("/kernel")
        and len(variable.shape) in (2, 4)
        and variable.shape[-1] > 1
        and HEAD not in variable.path.split("/")
    )
