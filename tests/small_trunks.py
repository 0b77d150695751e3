"""Small networks that somebody saved, and photos to embed with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 16


def network(size: int = SIZE, seed: int = 0) -> Any:
    """A network with its preprocessing inside, from images to 12 features.

    Its maps come in two sizes, of a half and a quarter of the images' side.
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    images = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    for channels in (8, 12):
        x = layers.Conv2D(
            channels, 3, strides=2, padding="same", activation="relu"
        )(x)
    return keras.Model(images, layers.GlobalAveragePooling2D()(x))


def write(path: Path, size: int = SIZE, seed: int = 0) -> Path:
    """Saves such a network."""
    network(size, seed).save(path)
    return path


def write_photos(
    folder: Path, classes: Sequence[str], each: int = 16, side: int = 20
) -> None:
    """Writes a folder of photos for each class, of a pattern and noise."""
    from PIL import Image

    for name in classes:
        (folder / name).mkdir(parents=True)
        seed = list(name.encode())
        pattern = np.random.default_rng(seed).uniform(0, 255, (4, 4, 3))
        large = np.kron(pattern, np.ones((side // 4, side // 4, 1)))
        for number in range(each):
            noise = np.random.default_rng([*seed, number]).normal(
                0, 60, large.shape
            )
            pixels = np.clip(large + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
