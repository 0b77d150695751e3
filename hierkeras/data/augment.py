"""Random shifts, crops and mirror images of whole batches."""

from __future__ import annotations

import tensorflow as tf

from hierkeras.data.pipeline import ALGORITHM
from hierkeras.data.source import Augmentation

# He et al. 2016 shift CIFAR's images of 32 pixels by up to 4.
_SHIFT_DIVISOR = 8
# Szegedy et al. 2015 crop 8 to 100 % of ImageNet's images: photos of products
# show little else, and a quarter tells them yet.
_LEAST_AREA = 0.25
_MOST_STRETCHED = 1.25


def random_augmented(
    images: tf.Tensor, kind: Augmentation, seed: tf.Tensor
) -> tf.Tensor:
    """Shifts or crops every image at random, and mirrors half of them.

    The standard augmentation of small photos (He et al. 2016, "Deep Residual
    Learning for Image Recognition", section 4.2): a random crop of the padded
    image or of its mirror image; here the padding reflects the image, so that
    it needs no assumption on the background. That of large ones crops a part
    of the image and brings it to its size (Szegedy et al. 2015, "Going Deeper
    with Convolutions", section 6).

    Args:
        images: shape [b, s, s, c], any dtype; of crops, float32 or integers.
        kind: what is done; shifts are of up to an eighth of s, crops are of a
            quarter to all of the area.
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
    if "crop" in kind:
        return _cropped(images, "mirror" in kind, seed)
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


def _cropped(
    images: tf.Tensor, is_mirrored: bool, seed: tf.Tensor
) -> tf.Tensor:
    """A random part of each image, half of them mirrored, at its size."""
    batch = tf.shape(images)[0]
    draws = tf.random.stateless_uniform([5, batch], seed, alg=ALGORITHM)
    boxes = random_boxes(draws, is_mirrored)
    size = images.shape[1:3]
    cropped = tf.image.crop_and_resize(images, boxes, tf.range(batch), size)
    if images.dtype.is_integer:
        cropped = tf.round(cropped)
    return tf.ensure_shape(tf.cast(cropped, images.dtype), images.shape)


def random_boxes(draws: tf.Tensor, is_mirrored: bool) -> tf.Tensor:
    """Boxes of parts of an image.

    Args:
        draws: float32 of shape [5, b] in [0, 1): for the area, the
            proportions, the place down and right, and whether it is mirrored.
        is_mirrored: whether half of them are.

    Returns:
        float32 of shape [b, 4]: top, left, bottom and right from 0 to 1; of
        mirrored ones, left is greater than right.
    """
    area, stretch, down, right, flip = tf.unstack(draws)
    side = tf.sqrt(_LEAST_AREA + (1 - _LEAST_AREA) * area)
    stretched = tf.pow(_MOST_STRETCHED, stretch - 0.5)
    height = tf.minimum(side * stretched, 1.0)
    width = tf.minimum(side / stretched, 1.0)
    top, left = down * (1 - height), right * (1 - width)
    edges = left, left + width
    flipped = (flip < 0.5) & is_mirrored
    starts, ends = (tf.where(flipped, edges[1 - k], edges[k]) for k in range(2))
    return tf.stack([top, starts, top + height, ends], axis=1)


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
