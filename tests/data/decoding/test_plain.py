"""What is fast shows the same as what decodes everything."""

import numpy as np
import pytest
import tensorflow as tf

from hierkeras.data.decoding import graph, plain, problems
from hierkeras.data.decoding.pixels import DEFAULT, RESIZES, Pixels
from hierkeras.data.decoding.squares import to_square

from . import zoo

SIDE = 16


def jpeg(orientation, width=41, height=24):
    encoded = zoo.encoded(zoo.picture(width, height), "JPEG", quality=95)
    app1 = zoo.segment(0xE1, b"Exif\0\0" + zoo.exif(orientation))
    return zoo.with_segments(encoded, app1)


def square(encoded, pixels=DEFAULT):
    return plain.square(tf.constant(encoded), SIDE, pixels)


def slow_square(encoded, pixels):
    decoded = graph.decode(tf.constant(encoded), pixels)
    return to_square(decoded.image, SIDE, pixels)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("orientation", zoo.ORIENTATIONS)
@pytest.mark.parametrize("size", [(41, 24), (24, 41), (16, 16), (1, 7)])
def test_a_square_that_is_turned_is_the_square_of_the_image_turned(
    orientation, size, resize
):
    pixels = Pixels(resize=resize)
    encoded = jpeg(orientation, *size)
    fast = square(encoded, pixels)
    assert fast.problem == problems.FINE
    assert bool(fast.is_upright) == (orientation == 1)
    expected = slow_square(encoded, pixels).numpy().astype(int)
    # Sums in another order are rounded otherwise.
    assert np.abs(fast.image.numpy() - expected).max() <= 1


def test_a_plain_file_shows_what_any_decoding_shows():
    pixels, seen = Pixels(), set()
    paths = [animal.encoded for animal in zoo.all_files()]
    rows = tf.data.Dataset.from_tensor_slices(paths).map(
        lambda encoded: plain.square(encoded, SIDE, pixels),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    for animal, fast in zip(zoo.all_files(), rows, strict=True):
        if fast.problem == problems.NOT_PLAIN:
            assert not bool(fast.is_upright), animal.name
            continue
        assert fast.problem == problems.FINE
        seen.add(animal.name.split()[0])
        expected = to_square(tf.constant(animal.expected), SIDE, pixels)
        difference = fast.image.numpy().astype(int) - expected.numpy()
        assert np.abs(difference).mean() <= 3, animal.name
    assert seen == {"jpeg", "png", "apng"}


def test_what_it_does_not_decode_is_left_to_others():
    for kind in "BMP", "GIF", "WEBP", "TIFF":
        encoded = zoo.encoded(zoo.picture(9, 9), kind)
        assert square(encoded).problem == problems.NOT_PLAIN, kind
    small = Pixels(max_pixels=80)
    for kind in "JPEG", "PNG":
        encoded = zoo.encoded(zoo.picture(9, 9), kind)
        assert square(encoded).problem == problems.FINE
        assert square(encoded, small).problem == problems.NOT_PLAIN, kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_what_was_upright_is_decoded_to_the_same_again(kind):
    encoded = zoo.encoded(zoo.picture(30, 20), kind)
    again = plain.upright_square(tf.constant(encoded), SIDE, Pixels())
    np.testing.assert_array_equal(again, square(encoded).image)


def test_another_format_than_it_was_is_said():
    encoded = tf.constant(zoo.encoded(zoo.picture(9, 9), "BMP"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="is another one"):
        plain.upright_square(encoded, SIDE, Pixels())
