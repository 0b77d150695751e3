"""A network that somebody saved becomes the trunk of a work directory."""

import keras
import msgspec
import numpy as np
import pytest

from hierkeras._errors import UsageError, UserError
from hierkeras.models import registry, trunks
from hierkeras.models.registry import ModelConfig
from hierkeras.training import trunk_files
from hierkeras.tree.store import Store
from tests import builders, small_trunks


def parts(opened):
    return opened.recipe, opened.trunk


def recipe(**fields):
    return builders.recipe(**{"image_size": 0, "heads": "solved"} | fields)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return str(small_trunks.write(tmp_path_factory.mktemp("net") / "net.keras"))


def test_what_names_a_network(file):
    named = trunk_files.is_named
    assert named(recipe(backbone=file))
    assert named(recipe(backbone=file, heads="trained"))
    assert named(recipe(backbone="resnet50", backbone_weights="imagenet"))
    assert not named(recipe(backbone="trunk:0123"))
    assert not named(recipe(heads="trained"))
    # They start from weights, and are trained, as they were.
    assert not named(recipe(heads="trained", backbone_weights="imagenet"))


def test_a_file_is_named_by_what_it_computes(file, tmp_path):
    found, trunk = parts(
        trunk_files.opened(recipe(backbone=file, feature_depths=1))
    )
    network = found.network
    assert network.backbone == f"trunk:{trunks.identity(trunk)}"
    assert (network.image_size, network.input_range) == (16, "inside")
    assert network.backbone_weights == "none"
    assert trunk.output_shape == (None, 12 + 12)
    # What is remembered of it names the same, wherever the file lies now.
    moved = small_trunks.write(tmp_path / "moved.h5")
    again = msgspec.structs.replace(network, backbone=str(moved))
    again = msgspec.structs.replace(found, network=again)
    assert trunk_files.opened(again).recipe == found
    other = small_trunks.write(tmp_path / "other.keras", seed=1)
    other, _ = parts(trunk_files.opened(recipe(backbone=str(other))))
    assert other.network.trunk != network.trunk


def test_a_trunk_is_kept_once(file, tmp_path):
    found, trunk = parts(trunk_files.opened(recipe(backbone=file)))
    store = Store(tmp_path)
    trunk_files.keep(store, trunk, found.network)
    folder = store.trunk(found.network.trunk)
    inode = folder.stat()
    trunk_files.keep(store, trunk, found.network)
    assert folder.stat() == inode
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3))
    context = builders.open_context(tmp_path, image_size=16)
    read = context.trunk(found.network)
    assert read is context.trunk(found.network)
    np.testing.assert_array_equal(read(images), trunk(images))
    assert not read.trainable_weights


def test_a_trunk_that_is_missing_or_damaged_is_one_line(file, tmp_path):
    found, trunk = parts(trunk_files.opened(recipe(backbone=file)))
    store = Store(tmp_path)

    def refused():
        with pytest.raises(UserError, match="missing or damaged") as told:
            builders.open_context(tmp_path).trunk(found.network)
        assert "--backbone" in str(told.value) and "\n" not in str(told.value)
        assert str(store.trunk(found.network.trunk)) in str(told.value)

    refused()
    trunk_files.keep(store, trunk, found.network)
    (store.trunk(found.network.trunk) / "trunk.keras").write_bytes(b"PK")
    refused()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"backbone": "missing.keras"}, "No such file: 'missing.keras'"),
        ({"backbone": "hierkeras/__init__.h5"}, "No such file"),
        ({}, "backbone_weights=none"),
        (
            {"backbone": "own.keras", "backbone_weights": "imagenet"},
            "does not apply to a network of a file",
        ),
        ({"backbone_weights": "imagenet"}, "small_cnn has no pretrained"),
        (
            {
                "backbone": "mobilenet_v3_small",
                "backbone_weights": "imagenet",
                "input_range": "unit",
            },
            "published ones have their preprocessing inside",
        ),
        (
            {"backbone": "mobilenet_v3_small", "backbone_weights": "no.h5"},
            "No such file: 'no.h5'",
        ),
    ],
)
def test_what_is_no_trunk_is_one_line(fields, said):
    with pytest.raises((UserError, UsageError), match=said) as told:
        trunk_files.opened(recipe(**fields))
    assert "\n" not in str(told.value)


def test_a_network_that_does_not_tell_its_range_is_refused(tmp_path):
    images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=2)(images)
    features = keras.layers.GlobalAveragePooling2D()(x)
    path = tmp_path / "raw.keras"
    keras.Model(images, features).save(path)
    with pytest.raises((UserError, UsageError), match="input_range"):
        trunk_files.opened(recipe(backbone=str(path)))
    found, _ = parts(
        trunk_files.opened(recipe(backbone=str(path), input_range="unit"))
    )
    assert found.network.input_range == "unit"


def test_published_weights_make_a_trunk(tmp_path):
    config = ModelConfig("mobilenet_v3_small", 32, 0.25)
    model = registry.build_model(config, 1)
    path = tmp_path / "some.weights.h5"
    bare = model.get_layer("logits")
    keras.Model(model.input, bare.input).save_weights(path)
    given = {
        "backbone": "mobilenet_v3_small",
        "backbone_weights": str(path),
        "width_multiplier": 0.25,
    }
    found, trunk = parts(trunk_files.opened(recipe(image_size=32, **given)))
    assert found.network.image_size == 32
    assert found.network.trunk == trunks.identity(trunk)
    assert not trunk.trainable_weights
