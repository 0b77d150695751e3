import keras
import pytest

from hierkeras.models.alexnet import alexnet

# Table 1 by hand, at 224 pixels. A convolution gives
# (size + 2 * padding - kernel) // stride + 1 positions, a pooling
# (size - 3) // 2 + 1.
SHAPES = """\
conv1 55 55 96
pool1 27 27 96
norm1 27 27 96
conv2 25 25 256
pool2 12 12 256
norm2 12 12 256
conv3 12 12 384
conv4 12 12 384
conv5 12 12 256
pool5 5 5 256
flat 6400
full6 4096
dropout6 4096
full7 4096
dropout 4096
logits 1000"""

PARAMETERS = sum(
    [
        11 * 11 * 3 * 96 + 96,
        5 * 5 * 96 * 256 + 256,
        3 * 3 * 256 * 384 + 384,
        3 * 3 * 384 * 384 + 384,
        3 * 3 * 384 * 256 + 256,
        5 * 5 * 256 * 4096 + 4096,
        4096 * 4096 + 4096,
        4096 * 1000 + 1000,
    ]
)


def test_the_network_is_table_1_layer_for_layer():
    model = alexnet(224, 1000)
    # The input, its rescaling and the paddings are layers of Keras's only.
    layers = [
        layer
        for layer in model.layers[2:]
        if not isinstance(layer, keras.layers.ZeroPadding2D)
    ]
    shapes = "\n".join(
        " ".join(map(str, (layer.name, *layer.output.shape[1:])))
        for layer in layers
    )
    assert shapes == SHAPES
    assert model.count_params() == PARAMETERS == 50_844_008


def test_units_are_rectified_and_full_layers_drop_half():
    model = alexnet(79, 2, width_multiplier=0.1)
    rectified = [
        layer.name
        for layer in model.layers
        if getattr(layer, "activation", None) is keras.activations.relu
    ]
    dropped = [
        (layer.name, layer.rate)
        for layer in model.layers
        if isinstance(layer, keras.layers.Dropout)
    ]
    assert " ".join(rectified) == "conv1 conv2 conv3 conv4 conv5 full6 full7"
    assert dropped == [("dropout6", 0.5), ("dropout", 0.5)]


def test_79_pixels_are_the_least_it_can_take():
    assert alexnet(79, 2, 0.1).get_layer("pool5").output.shape[1:3] == (1, 1)
    with pytest.raises(ValueError):
        alexnet(78, 2, 0.1)


def test_the_width_multiplier_scales_every_layer():
    model = alexnet(79, 2, width_multiplier=0.25)
    widths = [layer.bias.shape[0] for layer in model.layers if layer.weights]
    assert widths == [24, 64, 96, 96, 64, 1024, 1024, 2]
