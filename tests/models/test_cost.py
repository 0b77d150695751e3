import keras
import pytest
from keras import layers

from hierkeras.models.cost import Cost, forward_cost
from hierkeras.models.registry import ModelConfig, build_model


def test_a_hand_counted_network():
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(images)
    x = layers.ReLU()(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Flatten()(x)
    outputs = layers.Dense(5)(x)

    cost = forward_cost(keras.Model(images, outputs))

    convolution = (4 * 4 * 4) * (3 * 3 * 3)
    depthwise = (4 * 4 * 4) * (3 * 3)
    dense = 5 * (4 * 4 * 4)
    assert cost == Cost(
        parameters=(3 * 3 * 3 * 4 + 4) + (3 * 3 * 4 + 4) + (64 * 5 + 5),
        flops=2 * (convolution + depthwise + dense),
    )


@pytest.mark.parametrize("backbone", ["small_cnn", "small_resnet"])
@pytest.mark.parametrize("image_size", [32, 64])
def test_small_networks_are_small(backbone, image_size):
    cost = forward_cost(build_model(ModelConfig(backbone, image_size), 10))
    assert 20e6 < cost.flops < 24e6
    assert 0.28e6 < cost.parameters < 0.5e6


def test_the_smallest_images_cost_next_to_nothing():
    cost = forward_cost(build_model(ModelConfig("small_cnn", 8), 10))
    assert cost.flops < 1e6
    assert cost.parameters < 20_000
