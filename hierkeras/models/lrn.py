"""Local response normalisation as a Keras layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="hierkeras")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each activation by what its neighbouring channels respond.

    Krizhevsky et al. 2012, section 3.3, with its constants as defaults: channel
    i of the output is

        a_i / (bias + alpha * sum over |j - i| <= depth_radius of a_j^2)^beta

    It computes in float32 under any dtype policy, as squares of bfloat16 or
    float16 activations lose too much, and returns the policy's dtype.

    Args:
        depth_radius: Number of channels on either side that take part.
        bias: The constant k of the paper, greater than 0.
        alpha: Weight of the sum of squares; it is not divided by the number of
            channels summed, as some libraries do.
        beta: Exponent.
        **kwargs: Keras's own arguments of a layer.
    """

    def __init__(
        self,
        depth_radius: int = 2,
        bias: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        **kwargs: Any,
    ) -> None:
        """Keeps the constants; the layer has no weights."""
        super().__init__(**kwargs)
        self.depth_radius = depth_radius
        self.bias = bias
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalises feature maps.

        Args:
            inputs: Tensor of shape (n, h, w, c).

        Returns:
            A tensor of the same shape and dtype.
        """
        normalised = tf.nn.local_response_normalization(
            tf.cast(inputs, tf.float32),
            depth_radius=self.depth_radius,
            bias=self.bias,
            alpha=self.alpha,
            beta=self.beta,
        )
        return tf.cast(normalised, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "depth_radius": self.depth_radius,
            "bias": self.bias,
            "alpha": self.alpha,
            "beta": self.beta,
        }
