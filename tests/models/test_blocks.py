import keras
import numpy as np
import pytest

from hierkeras.models.blocks import (
    centred,
    num_stages,
    scale_channels,
    standardised,
    stem_strides,
)


@pytest.mark.parametrize(
    "channels, width_multiplier, expected",
    [(96, 1.0, 96), (96, 0.25, 24), (16, 0.1, 8), (256, 1.5, 384), (16, 3, 48)],
)
def test_channels_scale_to_multiples_of_8(channels, width_multiplier, expected):
    assert scale_channels(channels, width_multiplier) == expected


@pytest.mark.parametrize(
    "image_size, strides, stages",
    [
        (8, 1, 1),
        (16, 1, 2),
        (28, 1, 3),
        (32, 1, 3),
        (48, 2, 2),
        (64, 2, 3),
        (96, 2, 3),
    ],
)
def test_small_networks_end_with_maps_of_4_to_6(image_size, strides, stages):
    assert stem_strides(image_size) == strides
    assert num_stages(image_size) == stages
    assert 4 <= -(-image_size // (strides * 2**stages)) <= 6


def test_centred_maps_to_plus_and_minus_one():
    images = np.array([0, 127.5, 255], "float32").reshape(1, 1, 1, 3)
    np.testing.assert_allclose(np.ravel(centred(images)), [-1, 0, 1], atol=1e-6)


def test_standardised_is_what_imagenet_s_networks_were_trained_with():
    images = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3))
    expected = keras.applications.imagenet_utils.preprocess_input(
        images.copy(), mode="torch", data_format="channels_last"
    )
    np.testing.assert_allclose(
        standardised(images.astype("float32")), expected, atol=1e-5
    )


def test_grey_values_stay_apart_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        values = np.arange(256, dtype="float32").reshape(1, 256, 1, 1)
        assert len(np.unique(centred(values))) == 256
    finally:
        keras.config.set_dtype_policy(before)
