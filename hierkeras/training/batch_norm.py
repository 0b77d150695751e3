"""Batch statistics of a network as it is at the end of its training."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


def reestimate(model: keras.Model, batches: tf.data.Dataset) -> int:
    """Replaces moving means and variances by those over some images.

    PreciseBN (Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", section
    3, https://arxiv.org/abs/2105.07576): the network no longer changes; each
    batch is normalised by its own statistics, as in training, and those of all
    batches give mean and variance of what each layer saw. A moving average
    instead remembers the last few batches, and the network before its last
    changes. Frozen layers keep theirs, and normalise by them.

    Args:
        model: The network; changed in place.
        batches: float32 images of shape (b, h, w, 3); each batch should be a
            random sample.

    Returns:
        The number of images.
    """
    # A copy of its own normalises on one device, whatever trained the model.
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    pairs = [
        (old, new)
        for old, new in zip(model.layers, twin.layers, strict=True)
        if isinstance(new, keras.layers.BatchNormalization) and new.trainable
    ]
    if not pairs:
        return 0
    for _, layer in pairs:
        layer.momentum = 0.0  # what "moves" is then the last batch's

    @tf.function(reduce_retracing=True)
    def run(images: tf.Tensor) -> None:
        twin(images, training=True)

    count = 0
    means = [np.zeros(layer.moving_mean.shape) for _, layer in pairs]
    squares = [np.zeros_like(mean) for mean in means]
    for images in batches:
        run(images)
        size = len(images)
        count += size
        # Of each layer every image has as many positions as the next.
        for k, (_, layer) in enumerate(pairs):
            mean = np.asarray(layer.moving_mean, np.float64)
            square = np.asarray(layer.moving_variance) + mean**2
            means[k] += (mean - means[k]) * size / count
            squares[k] += (square - squares[k]) * size / count
    for (layer, _), mean, square in zip(pairs, means, squares, strict=True):
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(np.maximum(square - mean**2, 0.0))
    return count
