"""Takes a trained network over into a wider or a narrower one.

The channels of a tensor are spread in one way, which depends only on how many
there were and are, so that what is added to each other stays in step.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
from keras import layers

# What each of these gives for a channel it computes from that channel alone.
_CHANNELWISE = (
    layers.Rescaling,
    layers.BatchNormalization,
    layers.ReLU,
    layers.MaxPooling2D,
    layers.GlobalAveragePooling2D,
    layers.Dropout,
    layers.Add,
)
_MIXING = (layers.Conv2D, layers.Dense)


def resize_weights(
    source: keras.Model, target: keras.Model, noise: float = 0.0, seed: int = 0
) -> None:
    """Writes a network's weights into one of another width.

    Where the target has more channels they are replicated, and what reads
    them is divided by the number of replicas, so that without noise it
    computes what the source does in inference: Net2WiderNet (Chen, Goodfellow
    & Shlens 2016, section 2, https://arxiv.org/abs/1511.05641). Replicas
    would learn the same for ever; the noise that the section advises, on what
    leads to all but the first of them, parts them.

    Where it has fewer, those stay whose scale in batch normalisation is the
    largest (Liu et al. 2017, section 3, https://arxiv.org/abs/1708.06519; in
    a sum the scales of the summands add up). What the others said is lost, so
    it has to be trained again.

    Args:
        source: The network to copy from.
        target: One of the same builder, image size and number of classes;
            changed in place.
        noise: Standard deviation of the noise, as a part of that of the
            kernel that it is added to; at least 0.
        seed: Of the noise.

    Raises:
        ValueError: If the networks differ in more than their widths, or have
            a layer that is not known to keep channels apart.
    """
    random = np.random.default_rng(seed)
    for old, new, inputs, outputs in _matched(source, target):
        weights = old.get_weights()
        if isinstance(old, _MIXING):
            kernel, *bias = weights
            replicas = np.bincount(inputs)[inputs]
            kernel = kernel[..., inputs, :] / replicas[:, np.newaxis]
            kernel = kernel[..., outputs]
            if noise:
                first = np.unique(outputs, return_index=True)[1]
                drawn = random.normal(0, noise * kernel.std(), kernel.shape)
                drawn[..., first] = 0
                kernel = kernel + drawn
            weights = [kernel, *(vector[outputs] for vector in bias)]
        else:
            weights = [vector[outputs] for vector in weights]
        new.set_weights(weights)


@dataclasses.dataclass
class _Channels:
    """The channels that several tensors have in common.

    Args:
        old: How many there are in the source.
        new: How many in the target.
        scales: Of shape (old,), how much each matters.
    """

    old: int
    new: int
    scales: np.ndarray

    def taken(self) -> np.ndarray:
        """The old channel that each new one is taken from."""
        if self.new >= self.old:
            return np.arange(self.new) % self.old
        largest = np.argsort(-self.scales, kind="stable")[: self.new]
        return np.sort(largest)


def _matched(
    source: keras.Model, target: keras.Model
) -> list[tuple[keras.Layer, keras.Layer, np.ndarray, np.ndarray]]:
    """Layers with weights, and which old channels go in and come out."""
    if len(source.layers) != len(target.layers):
        raise ValueError(
            f"Cannot resize: the source has {len(source.layers)} layers, the "
            f"target {len(target.layers)}."
        )
    channels: dict[int, _Channels] = {}  # of each tensor of the source
    pairs = list(zip(source.layers, target.layers, strict=True))
    for old, new in pairs:
        _check(old, new)
        if isinstance(old, _CHANNELWISE):
            given = keras.tree.flatten(old.input)
            own = _merged([channels[id(tensor)] for tensor in given], channels)
        else:
            sizes = old.output.shape[-1], new.output.shape[-1]
            own = _Channels(*sizes, np.zeros(sizes[0]))
        if isinstance(old, layers.BatchNormalization):
            own.scales += np.abs(old.gamma)
        channels[id(old.output)] = own
    return [
        (
            old,
            new,
            channels[id(old.input)].taken(),
            channels[id(old.output)].taken(),
        )
        for old, new in pairs
        if old.weights
    ]


def _check(old: keras.Layer, new: keras.Layer) -> None:
    known = layers.InputLayer, *_CHANNELWISE, *_MIXING
    if type(old) is not type(new) or type(old) not in known:
        raise ValueError(
            "Cannot resize: the source has a layer "
            f"{type(old).__name__} {old.name!r} where the target has "
            f"{type(new).__name__} {new.name!r}; expected two of one kind, "
            f"one of {', '.join(kind.__name__ for kind in known)}."
        )


def _merged(
    summands: list[_Channels], channels: dict[int, _Channels]
) -> _Channels:
    """Makes one of the channels of tensors that are added to each other."""
    first, *others = summands
    for other in others:
        if other is not first:
            first.scales += other.scales
            for tensor, found in channels.items():
                if found is other:
                    channels[tensor] = first
    return first
