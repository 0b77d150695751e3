"""Small images and sources that several tests of the data package use."""

import io
import pathlib
import zlib

import numpy as np
import pytest
from PIL import Image

from hierkeras.data.arrays import ArraySource, checksums
from hierkeras.data.catalogue import Catalogue

RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.fixture
def encode():
    """A function from PIL's mode and format to a 6x4 image's bytes."""

    def encode(mode="RGB", image_format="PNG", colour=RED, size=(6, 4)):
        buffer = io.BytesIO()
        image = Image.new("RGB", size, colour).convert(mode)
        image.save(buffer, image_format)
        return buffer.getvalue()

    return encode


@pytest.fixture
def write_photos(tmp_path, encode):
    """A function that writes PNGs, given as {folder: number}."""

    def write(counts, root=tmp_path) -> pathlib.Path:
        for folder, count in counts.items():
            path = root / folder
            path.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                colour = (number, *zlib.crc32(folder.encode()).to_bytes(4)[:2])
                (path / f"{number:03d}.png").write_bytes(encode(colour=colour))
        return root

    return write


@pytest.fixture
def catalogue():
    """A function from columns to a catalogue with keys k0, k1, ..."""

    def make(class_names, labels, splits, digests=None):
        size = len(labels)
        return Catalogue(
            tuple(class_names),
            np.array([f"k{index}" for index in range(size)], np.str_),
            np.array(labels, np.int32),
            np.array(splits, np.int8),
            np.array(digests or [0] * size),
        )

    return make


@pytest.fixture
def numbered_source():
    """A function from n to a source whose image i is filled with i."""

    def make(size, side=8):
        images = np.zeros((size, side, side, 3), np.uint8)
        images += np.arange(size, dtype=np.uint8)[:, None, None, None]
        keys = np.array([f"n/{index}" for index in range(size)])
        zeros = np.zeros(size, np.int32)
        catalogue = Catalogue(
            ("n",), keys, zeros, zeros.astype(np.int8), checksums(images)
        )
        return ArraySource("numbers", "npz", catalogue, images)

    return make
