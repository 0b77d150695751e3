import keras
import numpy as np
import pytest
from keras import layers

from hierkeras._errors import UserError
from hierkeras.models import applications, foreign
from hierkeras.models.registry import BACKBONES, ModelConfig, build_model

NAMES = [
    name
    for name, backbone in BACKBONES.items()
    if backbone.builder.startswith("hierkeras.models.applications:")
]
ALL = [
    pytest.param(name, marks=[pytest.mark.slow] * (name != "mobilenet_v2"))
    for name in NAMES
]
PIXELS = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
PIXELS = PIXELS.astype("float32")
MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])

# As each module of `keras.applications` has it. In the others it is a part of
# the network, which the tests switch on there.
PREPROCESS = {
    "densenet121": keras.applications.densenet.preprocess_input,
    "mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,
    "resnet50": keras.applications.resnet50.preprocess_input,
    "resnet50_v2": keras.applications.resnet_v2.preprocess_input,
}


def published(name: str, **options) -> keras.Model:
    """What Keras publishes: prepares images itself, or after the above."""
    application = getattr(applications, name)
    if application.takes_width:
        options |= {"alpha": 0.35}
    return application.constructor(
        include_top=False, weights=None, input_shape=(32, 32, 3), **options
    )


def ours(name: str, weights="none") -> keras.Model:
    width = 0.35 if BACKBONES[name].takes_width else 1.0
    return build_model(
        ModelConfig(name, 32, width, backbone_weights=str(weights)), 3
    )


def test_a_backbone_has_its_name():
    for name in NAMES:
        assert getattr(applications, name).name == name


@pytest.mark.parametrize("name", ALL)
def test_images_are_prepared_as_they_were_for_the_published_weights(
    name, tmp_path
):
    keras.utils.set_random_seed(0)
    reference = published(name)
    for layer in reference.layers:  # as in the file of ImageNet
        if isinstance(layer, layers.Normalization) and layer.weights:
            _, _, *rest = layer.get_weights()
            layer.set_weights([MEAN, DEVIATION, *rest])
            layer.finalize_state()
    file = tmp_path / "it.weights.h5"
    reference.save_weights(file)

    network = ours(name, file)

    images = PREPROCESS.get(name, lambda x: x)(PIXELS.copy())
    if name == "efficientnet_b0":
        images = corrected(images)
    expected = np.asarray(reference(images, training=False)).mean(axis=(1, 2))
    features = keras.Model(network.input, network.get_layer("pooled").output)
    np.testing.assert_allclose(
        features(PIXELS, training=False),
        expected,
        rtol=1e-3,
        atol=1e-4 * np.abs(expected).max(),
    )


def corrected(images: np.ndarray) -> np.ndarray:
    """What the network adds for its published weights, put before it."""
    scaled = (images / 255 - MEAN) / np.sqrt(DEVIATION) + MEAN
    return (255 * scaled).astype("float32")


@pytest.mark.slow
def test_published_weights_are_taken_from_keras_s_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path)
    )
    keras.utils.set_random_seed(0)
    reference = published("mobilenet_v2")
    file = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    (tmp_path / "models").mkdir()
    reference.save(tmp_path / "models" / file)  # as Keras 2 wrote them

    *body, _, _ = ours("mobilenet_v2", "imagenet").get_weights()

    for found, expected in zip(body, reference.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_weights_that_cannot_be_downloaded_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path)
    )
    # No machine listens there, whatever network there is.
    monkeypatch.setattr(
        "keras.src.applications.mobilenet_v2.BASE_WEIGHT_PATH",
        "https://127.0.0.1:9/",
    )
    with pytest.raises(UserError) as error:
        ours("mobilenet_v2", "imagenet")
    assert str(error.value) == (
        "The weights of mobilenet_v2 can be neither found nor downloaded: "
        "download https://127.0.0.1:9/mobilenet_v2_weights_tf_dim_ordering_"
        "tf_kernels_0.35_224_no_top.h5 on a machine with network, and give it "
        "as --backbone_weights=FILE."
    )


def test_a_width_without_published_weights_is_named():
    config = ModelConfig("mobilenet_v2", 32, 0.3, backbone_weights="imagenet")
    with pytest.raises(UserError) as error:
        build_model(config, 3)
    message = str(error.value)
    assert message.startswith("There are no weights of ImageNet for this")
    assert "alpha" in message
    assert "\n" not in message


@pytest.mark.slow
def test_a_convnext_is_loaded_again(tmp_path):
    model = ours("convnext_tiny")
    model.save(tmp_path / "it.keras")
    loaded = foreign.load(str(tmp_path / "it.keras"))
    np.testing.assert_allclose(loaded(PIXELS), model(PIXELS), atol=1e-5)
