import numpy as np
import pytest
import tensorflow as tf

from hierkeras.data.decoding.pixels import Pixels
from hierkeras.data.decoding.squares import to_square

WIDE = np.full((4, 8, 3), 100, np.uint8)
WIDE[:, :2] = 200


def squares(image, size, **pixels):
    return to_square(image, size, Pixels(**pixels)).numpy()[..., 0]


def test_crop_takes_the_central_square():
    assert (squares(WIDE, 4) == 100).all()


def test_stretch_keeps_all_of_it():
    stretched = squares(WIDE, 4, resize="stretch")
    assert (stretched[:, 0] > 150).all() and (stretched[:, 2:] == 100).all()


@pytest.mark.parametrize(
    ("background", "level"), [("white", 255), ("grey", 128)]
)
def test_pad_adds_background_evenly(background, level):
    padded = squares(WIDE, 8, resize="pad", background=background)
    assert (padded[[0, 1, 6, 7]] == level).all()
    assert (padded[2:6, :2] == 200).all() and (padded[2:6, 2:] == 100).all()


def test_a_line_of_a_pixel_stays_one():
    padded = squares(np.zeros((1, 100, 3), np.uint8), 8, resize="pad")
    assert (padded == 0).sum() == 8


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(9, 5, 3), (2, 9, 5, 3), (2, 6, 6, 3)])
def test_a_graph_that_knows_no_size_gives_the_same(resize, shape):
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    pixels = Pixels(resize=resize)
    unknown = [*([None] * (len(shape) - 1)), 3]
    traced = tf.function(
        lambda image: to_square(image, 6, pixels),
        input_signature=[tf.TensorSpec(unknown, tf.uint8)],
    )
    expected = to_square(images, 6, pixels)
    np.testing.assert_array_equal(traced(images), expected)
    assert expected.shape[-3:] == (6, 6, 3)
