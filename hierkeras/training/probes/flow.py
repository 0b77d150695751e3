"""What flows through a network and back, as norms: Figures 7, 8 and 9.

Back-propagation makes the gradient of a layer's weights of what the layer
takes in, x, and of the error derivatives of what it puts out, e (Xiao et al.
2014, section 5.2.1): g = e x^T. All three are measured at every layer with a
kernel, so that where a gradient is large it can be told why.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from hierkeras.training.losses import Objective


@dataclasses.dataclass(frozen=True)
class Norms:
    """What a batch of images makes of a network; a value for each layer.

    Args:
        loss: What is minimised, in nats; the mean over the images.
        gradients: l2 norm of the gradient of the loss by the kernel; None
            where the kernel is not trained (Figure 7).
        activations: l1 norm of what enters the layer: the activations of the
            one below. The mean over the images (Figure 8).
        derivatives: l1 norm of the derivative of an image's loss by what the
            kernel makes of it, before any activation function (the paper's e).
            The mean over the images (Figure 9).
    """

    loss: float
    gradients: tuple[float | None, ...]
    activations: tuple[float, ...]
    derivatives: tuple[float, ...]


class Flow:
    """Measures norms, on the same images each time; changes nothing.

    The network is run as in training, with batch statistics and dropout, but
    neither moving averages nor random states go on.

    An activation function that is part of a layer with a kernel can be ReLU or
    none; of any other, derivatives are by its output.

    Args:
        objective: What is minimised.
        images: float32 tensor of shape (n, ...), what the network takes.
        labels: int32 tensor of shape (n,).

    Attributes:
        layers: Names of the layers with a kernel, the lowest first.
    """

    def __init__(
        self, objective: Objective, images: tf.Tensor, labels: tf.Tensor
    ) -> None:
        found = layers_with_kernels(objective.student)
        self.layers = tuple(layer.name for layer in found)
        self._found = found
        self._network = objective.network_with(
            [
                *(layer.input for layer in found),
                *(layer.output for layer in found),
            ]
        )
        self._loss = objective.loss()
        self._batch = images, labels
        self._measure = tf.function(self._norms)

    def __call__(self) -> Norms:
        """Measures the norms as they are now."""
        loss, table = self._measure(*self._batch)
        gradients, activations, derivatives = np.asarray(table).tolist()
        places = self._places()
        return Norms(
            float(loss),
            tuple(
                None if place is None else value
                for place, value in zip(places, gradients, strict=True)
            ),
            tuple(activations),
            tuple(derivatives),
        )

    def _places(self) -> list[int | None]:
        """Of each kernel its place among what is trained; None: it is not."""
        trained = self._network.trainable_variables
        place = {id(v): number for number, v in enumerate(trained)}
        return [place.get(id(layer.kernel)) for layer in self._found]

    def _norms(
        self, images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss; and float32 of shape [3, layers]."""
        network, count = self._network, len(self.layers)
        trained = [tf.convert_to_tensor(v) for v in network.trainable_variables]
        others = [
            tf.convert_to_tensor(v) for v in network.non_trainable_variables
        ]
        with tf.GradientTape() as tape:
            tape.watch([images, *trained])
            # What it would assign to its variables is left where it is.
            (*tapped, answers), _ = network.stateless_call(
                trained, others, images, training=True
            )
            loss = self._loss(labels, answers)
        entering, leaving = tapped[:count], tapped[count:]
        of_kernels, of_outputs = tape.gradient(
            loss,
            (trained, leaving),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        rows = (
            [
                tf.zeros([]) if place is None else _l2(of_kernels[place])
                for place in self._places()
            ],
            # Each image's own part of the mean loss is an n-th of its loss.
            [_l1(x) / tf.cast(tf.shape(x)[0], tf.float32) for x in entering],
            [
                _l1(_before_activation(layer, x, by_output))
                for layer, x, by_output in zip(
                    self._found, leaving, of_outputs, strict=True
                )
            ],
        )
        return loss, tf.stack([tf.stack(row) for row in rows])


def layers_with_kernels(model: keras.Model) -> list[keras.Layer]:
    """The layers of a network that multiply by a kernel, the lowest first."""
    return [
        layer
        for layer in model.layers
        if getattr(layer, "kernel", None) is not None
    ]


def _before_activation(
    layer: keras.Layer, output: tf.Tensor, by_output: tf.Tensor
) -> tf.Tensor:
    """The derivative by what a layer's kernel makes, of that by its output."""
    if getattr(layer, "activation", None) is not keras.activations.relu:
        return by_output
    return tf.where(output > 0, by_output, tf.zeros_like(by_output))


def _l1(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.abs(tf.cast(values, tf.float32)))


def _l2(values: tf.Tensor) -> tf.Tensor:
    return tf.norm(tf.cast(values, tf.float32))
