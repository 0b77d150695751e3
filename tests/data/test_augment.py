import numpy as np
import pytest
import tensorflow as tf

from hierkeras.data.augment import random_augmented, shift_and_flip

# One image of 3x3 pixels, whose two channels are equal up to a sign.
IMAGE = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def shifted(down, right, flip, image=IMAGE):
    pixels = tf.constant(image)[tf.newaxis, :, :, tf.newaxis]
    pixels = tf.concat([pixels, -pixels], axis=-1)
    result = shift_and_flip(
        pixels, tf.constant([down]), tf.constant([right]), tf.constant([flip])
    )
    assert result.dtype == pixels.dtype
    np.testing.assert_array_equal(result[..., 0], -result[..., 1])
    return result[0, :, :, 0].numpy().tolist()


@pytest.mark.parametrize(
    ("down", "right", "flip", "expected"),
    [
        (0, 0, False, IMAGE),
        (0, 0, True, [[3, 2, 1], [6, 5, 4], [9, 8, 7]]),
        # Row 3 does not exist; reflected at row 2 it is row 1.
        (1, 0, False, [[4, 5, 6], [7, 8, 9], [4, 5, 6]]),
        (-1, 0, False, [[4, 5, 6], [1, 2, 3], [4, 5, 6]]),
        (2, 0, False, [[7, 8, 9], [4, 5, 6], [1, 2, 3]]),
        (0, 1, False, [[2, 3, 2], [5, 6, 5], [8, 9, 8]]),
        (0, -2, False, [[3, 2, 1], [6, 5, 4], [9, 8, 7]]),
        # First the shift, [[5, 6, 5], [8, 9, 8], [5, 6, 5]] and 4 moved out,
        # then the flip.
        (1, -1, False, [[5, 4, 5], [8, 7, 8], [5, 4, 5]]),
        (0, 1, True, [[2, 3, 2], [5, 6, 5], [8, 9, 8]]),
    ],
)
def test_shift_reflects_and_flip_reverses(down, right, flip, expected):
    assert shifted(down, right, flip) == expected


def test_the_flip_comes_after_the_shift():
    image = [[1, 2, 3, 4]] * 4

    # Shifted: 2 3 4 3.
    assert shifted(0, 1, True, image)[0] == [3, 4, 3, 2]


def test_agrees_with_a_crop_of_the_padded_image():
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    down, right = np.array([-3, -1, 0, 2, 3]), np.array([3, 0, -2, 1, -3])
    flip = np.array([False, True, False, True, False])

    result = shift_and_flip(
        tf.constant(images),
        tf.constant(down, tf.int32),
        tf.constant(right, tf.int32),
        tf.constant(flip),
    )

    padded = np.pad(images, [(0, 0), (3, 3), (3, 3), (0, 0)], mode="reflect")
    for i in range(5):
        crop = padded[i, 3 + down[i] :, 3 + right[i] :][:8, :8]
        crop = crop[:, ::-1] if flip[i] else crop
        np.testing.assert_array_equal(result[i], crop)


def test_depends_on_the_seed_alone():
    images = tf.random.stateless_uniform([9, 8, 8, 3], [1, 2])

    first = random_augmented(images, "shift_mirror", tf.constant([1, 2]))
    tf.random.set_seed(5)
    again = random_augmented(images, "shift_mirror", tf.constant([1, 2]))
    other = random_augmented(images, "shift_mirror", tf.constant([1, 3]))

    np.testing.assert_array_equal(first, again)
    assert (first.numpy() != other.numpy()).any()


def test_every_shift_and_flip_occurs_equally_often():
    size, count = 9, 3600
    image = tf.reshape(tf.range(size * size), [1, size, size, 1])
    images = tf.repeat(image, count, axis=0)
    results = random_augmented(images, "shift_mirror", [0, 0]).numpy()

    # The pixel in the middle, and whether the row runs backwards.
    middle = results[:, 4, 4, 0]
    backwards = results[:, 4, 4, 0] > results[:, 4, 5, 0]
    pairs, counts = np.unique(
        np.stack([middle, backwards]), axis=1, return_counts=True
    )

    assert set(pairs[0]) == {y * size + x for y in (3, 4, 5) for x in (3, 4, 5)}
    assert len(counts) == 18  # Each 200 times, standard deviation 13.7.
    assert counts.min() > 140 and counts.max() < 260


def test_no_pixels_beyond_the_image():
    images = tf.ones([4, 8, 8, 3], tf.uint8)

    assert (random_augmented(images, "shift", [0, 0]).numpy() == 1).all()


@pytest.mark.parametrize(
    ("kind", "moves", "mirrors"),
    [("none", 0, 0), ("shift", 1, 0), ("mirror", 0, 1), ("shift_mirror", 1, 1)],
)
def test_a_kind_does_what_it_says_and_no_more(kind, moves, mirrors):
    image = tf.reshape(tf.range(81), [1, 9, 9, 1])
    images = random_augmented(tf.repeat(image, 99, axis=0), kind, [0, 0])

    middle = images[:, 4, 4, 0].numpy()
    steps = np.unique(images[:, 4, 5, 0].numpy() - middle)
    assert len(set(middle)) == (9 if moves else 1)
    assert set(steps) == ({1, -1} if mirrors else {1})


def test_a_kind_that_is_left_open_is_refused():
    with pytest.raises(ValueError, match="auto"):
        random_augmented(tf.ones([1, 8, 8, 3]), "auto", [0, 0])
