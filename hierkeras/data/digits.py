"""scikit-learn's handwritten digits, which need no network."""

from __future__ import annotations

import numpy as np

from hierkeras.data.arrays import ArraySource, checksums
from hierkeras.data.catalogue import Catalogue
from hierkeras.data.source import DataConfig
from hierkeras.data.splits import assign_splits, places

_MAX_INK = 16


def open_digits(
    place: str, config: DataConfig, kept: bytes = b""
) -> ArraySource:
    """Opens the 1,797 digits of 8x8 pixels that scikit-learn ships.

    They are the test set of Alpaydin and Kaynak's "Optical Recognition of
    Handwritten Digits", https://archive.ics.uci.edu/dataset/80.

    Args:
        place: unused; the digits have none.
        config: the fractions of validation and test.
        kept: unused; there are no files.

    Returns:
        A source with classes "0" to "9".

    Raises:
        UsageError: if the fractions make no sense.
    """
    # The import takes a second, which other sources need not wait for.
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / _MAX_INK)).astype(np.uint8)
    labels = digits.target.astype(np.int32)
    class_names = tuple(str(name) for name in digits.target_names)
    keys = np.array([f"digits/{index:05d}" for index in range(len(labels))])
    splits = assign_splits(
        places(keys.tolist()),
        labels,
        None,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        num_classes=len(class_names),
    )
    catalogue = Catalogue(class_names, keys, labels, splits, checksums(images))
    return ArraySource(
        config.dataset, "digits", catalogue, images, is_photos=False
    )
