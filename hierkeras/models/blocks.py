"""What the networks share: their input, their convolutions, their head."""

from __future__ import annotations

import keras
from keras import layers

# Keras's default of 0.99 needs several hundred batches before validation sees
# sensible statistics, and a small node's whole training may be shorter.
BATCH_NORM_MOMENTUM = 0.9

# Of red, green and blue in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

# The small networks: their width, and the maps they start and end with.
STEM_CHANNELS = 16
_STRIDED_STEM_FROM = 48  # pixels
_LAST_MAP_AT_MOST = 6  # positions on a side


def scale_channels(channels: int, width_multiplier: float) -> int:
    """Scales a number of channels to the nearest multiple of 8, at least 8.

    Args:
        channels: Number of channels at width 1.
        width_multiplier: Factor, greater than 0.

    Returns:
        The scaled number.
    """
    return max(8, 8 * round(channels * width_multiplier / 8))


def image_input(image_size: int) -> keras.KerasTensor:
    """Returns the input of every network.

    Args:
        image_size: Height and width in pixels.

    Returns:
        Float32 images of shape (n, image_size, image_size, 3) in 0..255.
    """
    return keras.Input((image_size, image_size, 3), dtype="float32")


def centred(images: keras.KerasTensor) -> keras.KerasTensor:
    """Maps images from 0..255 to [-1, 1].

    In float32 under any dtype policy: neighbouring grey values would fall
    together in bfloat16.

    Args:
        images: Float32 images of shape (n, h, w, 3).

    Returns:
        A float32 tensor of the same shape.
    """
    return layers.Rescaling(
        1 / 127.5, offset=-1.0, dtype="float32", name="centred"
    )(images)


def standardised(images: keras.KerasTensor) -> keras.KerasTensor:
    """Maps images from 0..255 to ImageNet's channels at mean 0, variance 1.

    Args:
        images: Float32 images of shape (n, h, w, 3).

    Returns:
        A float32 tensor of the same shape.
    """
    channels = zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)
    return layers.Rescaling(
        [1 / (255 * deviation) for deviation in IMAGENET_DEVIATION],
        offset=[-mean / deviation for mean, deviation in channels],
        dtype="float32",
        name="standardised",
    )(images)


def stem_strides(image_size: int) -> int:
    """Returns the stride of the first convolution of the small networks.

    Args:
        image_size: Height and width of the images in pixels.

    Returns:
        2 from 48 pixels up, so that 64 pixels cost what 32 do; else 1.
    """
    return 2 if image_size >= _STRIDED_STEM_FROM else 1


def num_stages(image_size: int) -> int:
    """Counts the halvings from the stem's map to one of 4 to 6 positions.

    Args:
        image_size: Height and width of the images in pixels.

    Returns:
        Number of stages, each of which halves the map and doubles the channels:
        1 at 8 pixels, 3 at 32, 64 and 96.
    """
    side = -(-image_size // stem_strides(image_size))
    stages = 0
    while side > _LAST_MAP_AT_MOST:
        side = -(-side // 2)
        stages += 1
    return stages


def conv_batch_norm(
    x: keras.KerasTensor,
    channels: int,
    *,
    name: str,
    kernel_size: int = 3,
    strides: int = 1,
) -> keras.KerasTensor:
    """Applies a convolution without bias, then batch normalisation.

    Args:
        x: Feature maps of shape (n, h, w, c).
        channels: Number of output channels.
        name: Prefix of the layers' names.
        kernel_size: Side of the kernel.
        strides: Stride in both directions.

    Returns:
        Feature maps of shape (n, ceil(h / strides), ceil(w / strides),
        channels).
    """
    x = layers.Conv2D(
        channels,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM, name=f"{name}_norm"
    )(x)


def pooled_features(x: keras.KerasTensor) -> keras.KerasTensor:
    """Averages feature maps over their positions, in float32.

    Args:
        x: Feature maps of shape (n, h, w, c).

    Returns:
        Float32 features of shape (n, c).
    """
    return layers.GlobalAveragePooling2D(dtype="float32", name="pooled")(x)


def classifier(
    images: keras.KerasTensor,
    features: keras.KerasTensor,
    num_classes: int,
    dropout: float,
    name: str,
) -> keras.Model:
    """Closes a network with dropout and the layer "logits".

    The kernel starts at a standard deviation of 0.01 (Krizhevsky et al. 2012),
    so training starts from nearly even probabilities.

    Args:
        images: The network's input.
        features: Its features, of shape (n, f).
        num_classes: Number of classes.
        dropout: Rate of dropout on the features; 0 for no such layer.
        name: The model's name.

    Returns:
        The model from images to float32 logits of shape (n, num_classes).
    """
    if dropout:
        features = layers.Dropout(dropout, dtype="float32", name="dropout")(
            features
        )
    logits = layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        dtype="float32",
        name="logits",
    )(features)
    return keras.Model(images, logits, name=name)
