"""Classes without an image: what there is of a model that was imported."""

from __future__ import annotations

import numpy as np

from hierkeras._errors import UsageError
from hierkeras.data.arrays import ArraySource, checksums
from hierkeras.data.catalogue import EXCLUDED, Catalogue
from hierkeras.data.source import DataConfig

KIND = "none"
# Of no class: only that something can be sent through the model.
_NUM_IMAGES, _SIDE = 16, 64


def open_nothing(
    place: str, config: DataConfig, kept: bytes = b""
) -> ArraySource:
    """Opens a data set that has classes and no photo of them.

    It has a few images of noise, which belong to no class and no split, so
    that an export can be compared with the model that it was made from.

    Args:
        place: unused.
        config: names the classes.
        kept: unused; there are no files.

    Raises:
        UsageError: if no class is named.
    """
    if not config.class_list:
        raise UsageError(
            "--dataset=none is of an imported model alone; give "
            "--import_model and --import_classes, or a data set"
        )
    noise = np.random.default_rng(0).integers(
        0, 256, (_NUM_IMAGES, _SIDE, _SIDE, 3), np.uint8
    )
    return ArraySource(
        config.dataset, KIND, catalogue(config.class_list, noise), noise
    )


def catalogue(
    classes: tuple[str, ...], images: np.ndarray | None = None
) -> Catalogue:
    """A catalogue of classes that have no example.

    Args:
        classes: their names.
        images: uint8 array of shape (n, side, side, 3) of what is of no
            class; None: there is none.
    """
    digests = checksums(images) if images is not None else np.zeros(0, "u4")
    number = len(digests)
    return Catalogue(
        class_names=classes,
        keys=np.array([f"noise/{k:02d}" for k in range(number)], np.str_),
        labels=np.full(number, -1, np.int32),
        splits=np.full(number, EXCLUDED, np.int8),
        digests=digests,
    )
