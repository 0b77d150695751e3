"""Features of several depths of a trunk, side by side.

What is told apart by colour and texture is gone from the last layer of a
network that was trained to name objects. So the trunk's last maps of some
larger sizes are averaged over their positions too, and stand beside its
features; then a power of everything is taken, with its sign, which brings what
is rare and strong nearer to a Gaussian (the power normalisation of Perronnin
et al. 2010, https://doi.org/10.1007/978-3-642-15561-1_11, section 3.1), as
which shrinkage LDA takes each class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras import layers

# Of 0.3, 0.5, 0.7 and 1 the best on groups of groceries that were held out
# (docs/pretrained.md).
_POWER = 0.7
# What they make is no size of maps, only the way to the next.
_PADDING = (layers.ZeroPadding2D, layers.Cropping2D)


def with_depths(trunk: keras.Model, depths: int) -> keras.Model:
    """A trunk whose features come from several depths.

    Args:
        trunk: A functional model from images to features of shape (n, f).
        depths: How many sizes of maps there are to be features of, at most,
            beside the features, the smallest first; 0: none, and no power.

    Returns:
        The model from the same images to float32 features of shape (n, f + …);
        weights are shared.
    """
    if not depths:
        return trunk
    pooled = [
        layers.GlobalAveragePooling2D(dtype="float32", name=f"depth_{k}")(each)
        for k, each in enumerate(_last_maps(trunk)[:depths])
    ]
    together = layers.Concatenate(dtype="float32", name="depths")(
        [*pooled, trunk.output]
    )
    # Operations of Keras: a file that needs them needs nothing of ours.
    size = keras.ops.power(keras.ops.absolute(together), _POWER)
    features = keras.ops.sign(together) * size
    network = keras.Model(trunk.input, features, name="trunk")
    network.trainable = False
    return network


def _last_maps(trunk: keras.Model) -> list[keras.KerasTensor]:
    """The last maps of each size, the smallest size first.

    In networks with shortcuts these are the last sums: what follows until the
    next size is half a block.
    """
    found: dict[int, keras.KerasTensor] = {}
    sums: dict[int, keras.KerasTensor] = {}
    for operation, output in _computed(trunk):
        if len(output.shape) != 4 or isinstance(operation, _PADDING):
            continue
        side = output.shape[1]
        if side is None or side == trunk.input_shape[1] or side < 2:
            continue
        found[side] = output
        if isinstance(operation, layers.Add | layers.Concatenate):
            sums[side] = output
    return [sums.get(side, found[side]) for side in sorted(found)]


def _computed(trunk: keras.Model) -> Iterator[tuple[Any, keras.KerasTensor]]:
    """What a network computes and with what, in the order of doing so.

    Not its layers' outputs: a layer that is called twice has two.
    """
    by_depth = trunk._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            for output in node.output_tensors:
                yield node.operation, output
