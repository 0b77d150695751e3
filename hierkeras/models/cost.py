"""What one image costs: parameters and floating-point operations."""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a network.

    Attributes:
        parameters: Number of weights, batch statistics included.
        flops: Floating-point operations for one image.
    """

    parameters: int
    flops: int


def forward_cost(model: keras.Model) -> Cost:
    """Counts a network's parameters and its operations in inference.

    Operations are those of the convolutions and matrix products in the graph
    that TensorFlow traces for one image, a multiply-add being two: the
    convention of the literature, which leaves out elementwise work.

    Args:
        model: A network, or a part of one; its inputs have fixed sizes.

    Returns:
        The cost for one image.
    """
    inputs = keras.tree.map_structure(
        lambda tensor: tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype),
        model.input,
    )
    trace = tf.function(lambda x: model(x, training=False), autograph=False)
    operations = trace.get_concrete_function(inputs).graph.get_operations()
    return Cost(
        parameters=model.count_params(),
        flops=2 * sum(_multiply_adds(operation) for operation in operations),
    )


def _multiply_adds(operation: tf.Operation) -> int:
    """Multiplies the number of outputs by the terms that each one sums."""
    if operation.type == "Conv2D":
        height, width, channels, _ = operation.inputs[1].shape
        terms = height * width * channels
    elif operation.type == "DepthwiseConv2dNative":
        height, width, _, _ = operation.inputs[1].shape
        terms = height * width
    elif operation.type == "MatMul":
        rows, columns = operation.inputs[0].shape
        terms = rows if operation.get_attr("transpose_a") else columns
    else:
        return 0
    return operation.outputs[0].shape.num_elements() * terms
