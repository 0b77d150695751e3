"""The confusion matrix as a picture."""

import io

import numpy as np
import pytest
from PIL import Image

from hierkeras.analysis.plots import confusion_png


def picture(rates, classes, borders=()):
    return Image.open(io.BytesIO(confusion_png(rates, classes, borders)))


@pytest.mark.parametrize(
    ("num_classes", "side"), [(2, 500), (50, 800), (100, 1400)]
)
def test_the_picture_grows_with_the_classes(num_classes, side):
    names = [f"class {index}" for index in range(num_classes)]

    found = picture(np.eye(num_classes), names)

    assert found.format == "PNG"
    assert found.size == (side, side)


def test_colours_are_rates():
    # viridis: yellow for 1, dark violet for 0.
    found = picture(np.array([[1.0, 0.0], [1.0, 0.0]]), "ab").convert("RGB")

    pixels = np.asarray(found)
    yellow = (pixels == (253, 231, 36)).all(axis=2)
    violet = (pixels == (68, 1, 84)).all(axis=2)
    assert yellow.sum() == pytest.approx(violet.sum(), rel=0.1)
    assert yellow.sum() > 0.2 * yellow.size
    # The left column, but for the letters of the numbers, is yellow.
    left, right = (np.median(np.nonzero(c)[1]) for c in (yellow, violet))
    assert left < 200 < 300 < right


def test_borders_are_drawn():
    rates = np.eye(4)

    plain, bordered = (
        confusion_png(rates, "abcd", borders) for borders in ((), (2,))
    )

    assert plain != bordered
