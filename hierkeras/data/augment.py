"""Random shifts and mirror images of whole batches."""

from __future__ import annotations

import tensorflow as tf

from hierkeras.data.pipeline import ALGORITHM
from hierkeras.data.source import Augmentation

# He et al. 2016 shift CIFAR's images of 32 pixels by up to 4.
_SHIFT_DIVISOR = 8


def random_augmented(
    images: tf.Tensor, kind: Augmentation, seed: tf.Tensor
) -> tf.Tensor:
    """Shifts every image at random and mirrors half of them, or either.

    The standard augmentation of small photos (He et al. 2016, "Deep Residual
    Learning for Image Recognition", section 4.2): a random crop of the padded
    image or of its mirror image; here the padding reflects the image, so that
    it needs no assumption on the background.

    Args:
        images: shape [b, s, s, c], any dtype.
        kind: what is done; shifts are of up to an eighth of s.
        seed: integers of shape [2]; the result depends on nothing else.

    Returns:
        Tensor of the shape and dtype of `images`.

    Raises:
        ValueError: if the kind is left open.
    """
    if kind == "auto":
        raise ValueError("Expected a kind of augmentation. Received: auto")
    if kind == "none":
        return images
    max_shift = images.shape[1] // _SHIFT_DIVISOR if "shift" in kind else 0
    batch = tf.shape(images)[0]
    shift_seed, flip_seed = tf.unstack(tf.random.split(seed, 2, alg=ALGORITHM))
    shifts = tf.random.stateless_uniform(
        [2, batch], shift_seed, -max_shift, max_shift + 1, tf.int32, ALGORITHM
    )
    flips = tf.random.stateless_uniform(
        [batch], flip_seed, 0, 2, tf.int32, ALGORITHM
    )
    flip = tf.equal(flips, 1) & ("mirror" in kind)
    return shift_and_flip(images, shifts[0], shifts[1], flip)


def shift_and_flip(
    images: tf.Tensor, down: tf.Tensor, right: tf.Tensor, flip: tf.Tensor
) -> tf.Tensor:
    """Shifts images with reflection at the border, then mirrors some.

    Args:
        images: shape [b, s, s, c], any dtype.
        down: int32 of shape [b]: an image's row i is row i + down of the
            original, reflected at the border without repeating it.
        right: int32 of shape [b]: the same for columns.
        flip: bool of shape [b]: whether to reverse the columns then.

    Returns:
        Tensor of the shape and dtype of `images`.
    """
    size, channels = images.shape[1], images.shape[3]
    places = tf.range(size)
    columns = tf.where(flip[:, tf.newaxis], size - 1 - places, places)
    rows = _reflect(places + down[:, tf.newaxis], size)
    columns = _reflect(columns + right[:, tf.newaxis], size)
    # One gather of pixels is faster than one of rows and one of columns.
    rows += tf.range(tf.shape(images)[0])[:, tf.newaxis] * size
    pixels = rows[:, :, tf.newaxis] * size + columns[:, tf.newaxis, :]
    return tf.gather(tf.reshape(images, [-1, channels]), pixels)


def _reflect(index: tf.Tensor, size: int) -> tf.Tensor:
    """Maps indices from -(size - 1) to 2 (size - 1) into the image."""
    index = tf.abs(index)
    return (size - 1) - tf.abs((size - 1) - index)
