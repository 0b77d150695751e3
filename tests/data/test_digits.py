import numpy as np
import pytest
from sklearn.datasets import load_digits

from hierkeras.data.registry import open_source
from hierkeras.data.source import DataConfig
from hierkeras.data.splits import check_enough


@pytest.fixture(scope="module")
def source():
    return open_source(DataConfig("digits"))


def test_holds_scikit_learns_digits(source):
    catalogue = source.catalogue

    assert catalogue.class_names == tuple("0123456789")
    assert len(catalogue.keys) == 1797
    assert catalogue.keys[12] == "digits/00012"
    assert catalogue.labels.tolist() == load_digits().target.tolist()
    check_enough(catalogue, catalogue.class_names)


def test_ink_from_0_to_16_becomes_grey_from_0_to_255(source):
    image = next(source.read(np.array([5])).as_numpy_iterator())

    ink = load_digits().images[5]
    assert image.shape == (8, 8, 3)
    assert image.dtype == np.uint8
    for channel in range(3):
        np.testing.assert_allclose(image[:, :, channel], ink / 16 * 255, atol=1)
    assert {0, 16} <= set(ink.ravel()) and {0, 255} <= set(image.ravel())


def test_a_mirrored_digit_is_no_digit(source):
    assert not source.is_photos


def test_fractions_are_used():
    catalogue = open_source(DataConfig("digits", 0.2, 0.3)).catalogue

    tested = catalogue.indices("test", catalogue.class_names)
    assert len(tested) == pytest.approx(0.3 * 1797, abs=78)
