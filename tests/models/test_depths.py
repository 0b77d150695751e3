"""Features of several depths of a trunk, side by side."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from etils import epath
from keras import layers

from hierkeras.models import depths, trunks
from tests import small_trunks
from tests.conftest import ROOT

SIZE = small_trunks.SIZE


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (3, SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def trunk():
    return trunks.cut(small_trunks.network(), input_range=None).network


def signed_power(values):
    return np.sign(values) * np.abs(values) ** 0.7


def test_no_depths_leave_the_trunk_as_it_is(trunk):
    assert depths.with_depths(trunk, 0) is trunk


@pytest.mark.parametrize("count", [1, 2])
def test_maps_are_averaged_beside_the_features(trunk, images, count):
    found = depths.with_depths(trunk, count)
    convolutions = [
        layer.output
        for layer in trunk.layers
        if isinstance(layer, layers.Conv2D)
    ]
    inside = keras.Model(trunk.input, [*convolutions, trunk.output])
    large, small, features = (
        np.asarray(each) for each in inside(images, training=False)
    )
    parts = [small.mean(axis=(1, 2)), large.mean(axis=(1, 2))][:count]
    expected = signed_power(np.concatenate([*parts, features], axis=1))

    output = found(images, training=False)

    assert output.dtype == "float32"
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)
    assert not found.trainable_weights
    assert trunks.identity(found) != trunks.identity(trunk)


def test_of_more_depths_than_there_are_all_are_taken(trunk):
    found, all_of_them = (depths.with_depths(trunk, n) for n in (9, 2))
    assert trunks.identity(found) == trunks.identity(all_of_them)


def test_of_a_network_with_shortcuts_the_sums_count(images):
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(x)
    x = layers.Add(name="sum")([x, layers.Conv2D(4, 3, padding="same")(x)])
    after = layers.Conv2D(8, 1, name="after")(x)
    features = layers.GlobalAveragePooling2D()(after)
    found = depths.with_depths(keras.Model(inputs, features), 1)
    summed = keras.Model(inputs, x)(images, training=False)
    np.testing.assert_allclose(
        found(images, training=False)[:, :4],
        signed_power(np.asarray(summed).mean(axis=(1, 2))),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_layer_that_is_called_twice_is_no_trouble(images):
    shared = layers.ReLU()
    x = inputs = keras.Input((SIZE, SIZE, 3))
    for channels in (4, 6):
        x = layers.Conv2D(channels, 3, strides=2, padding="same")(x)
        x = shared(x)
    features = layers.GlobalAveragePooling2D()(x)
    cut = trunks.cut(keras.Model(inputs, features), input_range="unit")
    found = depths.with_depths(cut.network, 2)
    output = np.asarray(found(images, training=False))
    assert output.shape == (3, 6 + 4 + 6)
    # What is averaged has been through the activation, as the features have.
    np.testing.assert_allclose(output[:, :6], output[:, -6:], rtol=1e-5)


def test_a_map_that_is_padded_is_no_other_size(images):
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="first")(x)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.Conv2D(6, 3, strides=2)(x)
    network = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    assert depths.with_depths(network, 3).output_shape == (None, 6 + 4 + 6)


@pytest.mark.slow
def test_a_fresh_process_reads_it(trunk, tmp_path):
    found = depths.with_depths(trunk, 2)
    folder = epath.Path(tmp_path) / "trunk"
    folder.mkdir()
    name = trunks.write(folder, found)
    code = (
        "import sys\n"
        "from etils import epath\n"
        "from hierkeras.models import trunks\n"
        "read = trunks.read(epath.Path(sys.argv[1]), sys.argv[2])\n"
        "assert trunks.identity(read) == sys.argv[2]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), name],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
