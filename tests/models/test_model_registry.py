import h5py
import keras
import numpy as np
import pytest

from hierkeras._errors import UsageError, UserError
from hierkeras.models.registry import (
    BACKBONES,
    ModelConfig,
    build_model,
    check_config,
)

# At 32 pixels these take seconds to build.
SMALL = ("alexnet", "small_cnn", "small_resnet", "mobilenet_v3_small")
NAMES = ", ".join(BACKBONES)
WITH_WEIGHTS = ", ".join(n for n, b in BACKBONES.items() if b.takes_weights)


def smallest(name: str) -> ModelConfig:
    return ModelConfig(
        name,
        BACKBONES[name].min_image_size,
        width_multiplier=0.25 if BACKBONES[name].takes_width else 1.0,
    )


@pytest.fixture(params=["float32", "mixed_bfloat16"])
def dtype_policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in SMALL))
        for name in BACKBONES
    ],
)
def test_every_backbone_gives_float32_logits(name, dtype_policy):
    config = smallest(name)
    model = build_model(config, num_classes=3)
    size = config.image_size
    images = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3))

    logits = model(images.astype("float32"), training=False)

    assert model.input.dtype == "float32"
    assert logits.dtype == "float32"
    assert logits.shape == (2, 3)
    assert np.ptp(logits) > 0
    assert model.layers[-1] is model.get_layer("logits")
    assert model.layers[-1].input.shape[1:] == model.layers[-1].kernel.shape[:1]


def test_a_seed_decides_the_weights():
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return build_model(smallest("small_cnn"), 2).get_weights()

    first, second, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_training_starts_from_nearly_even_probabilities():
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig("small_resnet", 32), 10)
    images = np.random.default_rng(0).uniform(0, 255, (64, 32, 32, 3))
    losses = keras.losses.sparse_categorical_crossentropy(
        np.arange(64) % 10, model(images, training=True), from_logits=True
    )
    assert np.mean(losses) == pytest.approx(np.log(10), rel=0.05)


@pytest.mark.parametrize("dropout, layers", [(0.0, 0), (0.5, 1), (None, 0)])
def test_dropout_is_the_config_s_or_the_backbone_s_own(dropout, layers):
    model = build_model(ModelConfig("small_cnn", 8, dropout=dropout), 2)
    found = [x for x in model.layers if isinstance(x, keras.layers.Dropout)]
    assert [x.rate for x in found] == [dropout] * layers


@pytest.mark.parametrize(
    "config, message",
    [
        (
            ModelConfig("vgg", 32),
            f"Unknown backbone 'vgg': expected one of {NAMES}, or a "
            "file that ends in .keras or .h5 or .hdf5.",
        ),
        (
            ModelConfig("alexnet", 64),
            "Backbone alexnet takes images of at least 79 pixels. "
            "Received: image_size=64.",
        ),
        (
            ModelConfig("small_cnn", 8, width_multiplier=0.0),
            "The width multiplier must be greater than 0, and at most 64. "
            "Received: width_multiplier=0.0.",
        ),
        (
            ModelConfig("resnet50_v2", 32, width_multiplier=0.5),
            "Backbone resnet50_v2 comes in one width only. Received: "
            "width_multiplier=0.5; use 1, or one of alexnet, small_cnn, "
            "small_resnet, mobilenet_v3_small, mobilenet_v3_large, "
            "mobilenet_v2.",
        ),
        (
            ModelConfig("small_cnn", 8, dropout=1.0),
            "The dropout rate must be in [0, 1). Received: dropout=1.0.",
        ),
        (
            ModelConfig("small_cnn", 8, backbone_weights="w.weights.h5"),
            "Backbone small_cnn has no pretrained weights. Received: "
            "backbone_weights='w.weights.h5'; use 'none', or one of "
            f"{WITH_WEIGHTS}.",
        ),
        (
            ModelConfig("resnet50_v2", 32, backbone_weights="no/such.h5"),
            "backbone_weights must be 'none', 'imagenet' or a local file. "
            "No such file: 'no/such.h5'.",
        ),
    ],
)
def test_what_a_backbone_cannot_take_is_named(config, message):
    with pytest.raises(UsageError) as error:
        check_config(config)
    assert str(error.value) == message


def test_a_model_needs_a_class():
    with pytest.raises(ValueError, match=r"at least 1 class.*num_classes=0"):
        build_model(ModelConfig("small_cnn", 8), 0)


def test_weights_come_from_a_local_file(tmp_path):
    published = keras.applications.MobileNetV3Small(
        input_shape=(32, 32, 3),
        alpha=0.25,
        include_top=False,
        weights=None,
    )
    file = tmp_path / "published.weights.h5"
    published.save_weights(file)
    config = ModelConfig(
        "mobilenet_v3_small", 32, 0.25, backbone_weights=str(file)
    )

    loaded = build_model(config, 3).get_weights()

    *body, _kernel, _bias = loaded
    assert all(
        np.array_equal(a, b)
        for a, b in zip(published.get_weights(), body, strict=True)
    )


def link(group, name, shape, elsewhere):
    group[name] = h5py.ExternalLink(str(elsewhere / "other.h5"), "/x")


def external(group, name, shape, elsewhere):
    file = elsewhere / "raw"
    file.write_bytes(bytes(4 * int(np.prod(shape))))
    group.create_dataset(name, shape, "f4", external=[(str(file), 0, 2**20)])


def virtual(group, name, shape, elsewhere):
    layout = h5py.VirtualLayout(shape, "f4")
    layout[:] = h5py.VirtualSource(str(elsewhere / "other.h5"), "x", shape)
    group.create_virtual_dataset(name, layout)


@pytest.mark.parametrize(
    "trick",
    [
        external,
        pytest.param(link, marks=pytest.mark.slow),
        pytest.param(virtual, marks=pytest.mark.slow),
    ],
)
def test_weights_are_not_made_of_another_file(tmp_path, trick):
    published = keras.applications.MobileNetV3Small(
        input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None
    )
    file = tmp_path / "published.weights.h5"
    published.save_weights(file)
    with h5py.File(file, "a") as weights:
        names = []
        weights.visititems(
            lambda name, item: (
                names.append(name) if isinstance(item, h5py.Dataset) else None
            )
        )
        shape = weights[names[0]].shape
        with h5py.File(tmp_path / "other.h5", "w") as other:
            other["x"] = np.zeros(shape, np.float32)
        del weights[names[0]]
        trick(weights, names[0], shape, tmp_path)
    config = ModelConfig(
        "mobilenet_v3_small", 32, 0.25, backbone_weights=str(file)
    )
    with pytest.raises(UserError, match="does not hold weights"):
        build_model(config, 3)


def test_a_file_that_holds_no_weights_is_named(tmp_path):
    file = tmp_path / "notes.weights.h5"
    file.write_text("not HDF5")
    config = ModelConfig("mobilenet_v3_small", 32, backbone_weights=str(file))
    with pytest.raises(UserError) as error:
        build_model(config, 3)
    message = str(error.value)
    assert str(file) in message
    assert "mobilenet_v3_small" in message
    assert message.endswith("keras.applications with include_top=False.")
    assert "\n" not in message
