import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from etils import epath
from keras import layers

from hierkeras._errors import UserError
from hierkeras.models import foreign, ranges, surgery, trunks
from hierkeras.training import sharing
from hierkeras.tree.nodes import Branch, Leaf, Tree

ROOT = Path(__file__).parents[2]
LITE0 = ROOT.parent / "shared" / "models" / "efficientnet_lite0.keras"


def pixels(size: int) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (2, size, size, 3)).astype("float32")


def answers(model: keras.Model, images: np.ndarray) -> np.ndarray:
    (found,) = keras.tree.flatten(model(images, training=False))
    return np.asarray(found)


def logits(found: trunks.Cut, images: np.ndarray) -> np.ndarray:
    features = answers(found.network, images)
    assert features.dtype == "float32"
    return features @ found.head.kernel + found.head.bias


def softmax(scores: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.softmax(scores))


def shaken(model: keras.Model) -> keras.Model:
    """Moves all weights, so that none is what a fresh network has."""
    random = np.random.default_rng(0)
    model.set_weights(
        [
            weight + random.uniform(0, 0.1, weight.shape).astype(weight.dtype)
            for weight in model.get_weights()
        ]
    )
    return model


def convolved(images: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Conv2D(4, 3, strides=2, name="first")(images)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x)


def small(*top: keras.Layer, size: int | None = 8) -> keras.Model:
    """A network that wants 0 to 255, up to pooled features, and a top."""
    keras.utils.set_random_seed(0)
    images = keras.Input((size, size, 3))
    x = convolved(layers.Rescaling(1 / 255)(images))
    x = layers.GlobalAveragePooling2D()(x)
    for layer in top:
        x = layer(x)
    return shaken(keras.Model(images, x))


def refusal(model: keras.Model, **options) -> str:
    with pytest.raises(UserError) as error:
        trunks.cut(model, **({"input_range": None} | options))
    assert "\n" not in str(error.value)
    return str(error.value)


# The network and its head.


def dense(units, activation=None, **options):
    return lambda: [layers.Dense(units, activation, **options)]


@pytest.mark.parametrize(
    "top",
    [
        dense(3, "softmax"),
        dense(3, "softmax", use_bias=False),
        lambda: [
            layers.Dropout(0.5),
            layers.Dense(3),
            layers.Activation("softmax"),
        ],
        lambda: [layers.Dense(3), layers.Dropout(0.5), layers.Softmax()],
        lambda: [layers.Dense(5, "relu"), layers.Dense(3, "softmax")],
        lambda: [
            layers.Reshape((1, 1, 4)),
            layers.Dropout(0.5),
            layers.Conv2D(3, 1),
            layers.Flatten(),
            layers.Softmax(),
        ],
        lambda: [
            layers.Reshape((1, 1, 4)),
            layers.Conv2D(3, 1, activation="softmax"),
            layers.GlobalAveragePooling2D(),
        ],
    ],
)
def test_features_and_head_answer_as_the_network_did(top):
    model = small(*top())
    found = trunks.cut(model, input_range=None)
    np.testing.assert_allclose(
        softmax(logits(found, pixels(8))), answers(model, pixels(8)), atol=1e-6
    )
    assert not any(
        isinstance(layer, layers.Dropout) for layer in found.network.layers
    )


def test_a_head_without_softmax_gives_its_logits():
    model = small(layers.Dense(3))
    found = trunks.cut(model, input_range=None)
    np.testing.assert_allclose(
        logits(found, pixels(8)), answers(model, pixels(8)), atol=1e-6
    )


def test_a_sigmoid_of_one_class_becomes_two_columns():
    model = small(layers.Dense(1, "sigmoid"))
    found = trunks.cut(model, input_range=None)
    scores = softmax(logits(found, pixels(8)))
    np.testing.assert_allclose(
        scores[:, 1:], answers(model, pixels(8)), atol=1e-6
    )
    assert scores.shape == (2, 2)


def test_one_number_is_cut_off_and_no_head():
    found = trunks.cut(small(layers.Dense(1)), input_range=None)
    assert found.head is None
    assert found.network.output_shape == (None, 4)


def test_several_sigmoids_are_refused():
    message = refusal(small(layers.Dense(3, "sigmoid")))
    assert message.startswith("The network ends in 3 sigmoids")


@pytest.mark.parametrize("top", [dense(3, "relu"), list])
def test_a_vector_that_is_no_answer_is_the_features(top):
    model = small(*top())
    found = trunks.cut(model, input_range=None)
    assert found.head is None
    np.testing.assert_allclose(
        answers(found.network, pixels(8)), answers(model, pixels(8)), atol=1e-6
    )


def test_maps_are_averaged():
    images = keras.Input((8, 8, 3))
    model = shaken(keras.Model(images, convolved(images)))
    found = trunks.cut(model, input_range="inside")
    np.testing.assert_allclose(
        answers(found.network, pixels(8)),
        answers(model, pixels(8)).mean(axis=(1, 2)),
        rtol=1e-5,
    )


def test_a_trunk_is_frozen_and_apart_from_what_it_came_from():
    model = small(layers.Dense(3))
    before = answers(model, pixels(8))
    network = trunks.cut(model, input_range=None).network
    assert network.trainable_weights == []
    assert model.trainable_weights
    shaken(network)
    np.testing.assert_array_equal(answers(model, pixels(8)), before)


def test_augmentation_is_left_out():
    images = keras.Input((8, 8, 3))
    x = layers.RandomFlip()(layers.Rescaling(1 / 255)(images))
    x = layers.RandomRotation(0.1)(x)
    model = keras.Model(images, layers.Flatten()(convolved(x)))
    network = trunks.cut(model, input_range=None).network
    assert "RandomFlip" not in [type(x).__name__ for x in network.layers]
    np.testing.assert_allclose(
        network(pixels(8), training=True), answers(model, pixels(8)), atol=1e-5
    )


# Models inside models.


def nested() -> keras.Model:
    """A model in a Sequential in a model, with names that come twice."""
    keras.utils.set_random_seed(0)
    inner = keras.Input((8, 8, 3))
    body = keras.Model({"image": inner}, [convolved(inner)])
    middle = keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(0.01)])
    images = keras.Input((8, 8, 3))
    one = body({"image": middle(images)}, training=False)
    two = convolved2(images)
    x = layers.Concatenate()([*keras.tree.flatten(one), two])
    x = layers.GlobalAveragePooling2D()(x)
    return shaken(keras.Model(images, layers.Dense(3, name="logits")(x)))


def convolved2(images):
    """A layer of the name of one in `convolved`, used twice."""
    layer = layers.Conv2D(3, 3, padding="same", name="first_1")
    x = layer(layer(images))
    return layers.Conv2D(4, 3, strides=2)(x)


def test_models_inside_are_taken_apart():
    model = nested()
    found = trunks.cut(model, input_range="inside")
    np.testing.assert_allclose(
        logits(found, pixels(8)), answers(model, pixels(8)), rtol=1e-5
    )
    kinds = [type(layer).__name__ for layer in found.network.layers]
    assert kinds.count("Conv2D") == 3
    assert not any(foreign.is_graph(layer) for layer in found.network.layers)


def test_surgery_and_sharing_work_on_a_trunk_with_a_head():
    network = trunks.cut(small(layers.Dense(3)), input_range=None).network
    model = trunks.with_head(network, 3, dropout=0.5)
    other = trunks.with_head(network, 2)
    assert len(model.trainable_weights) == 2
    assert model.layers[-1].name == "logits"
    assert surgery.cut(model, 2) == model.layers.index(model.get_layer("first"))
    features = answers(surgery.feature_extractor(model), pixels(8))
    np.testing.assert_array_equal(features, answers(network, pixels(8)))

    shaken(other)
    assert (
        surgery.transfer_weights(model, other, ("a", "b", "c"), ("c", "a"))
        == ()
    )

    np.testing.assert_allclose(
        answers(other, pixels(8)),
        answers(model, pixels(8))[:, [2, 0]],
        atol=1e-6,
    )
    tree = Tree(
        Branch(
            "root",
            ("a", "b", "c"),
            "top",
            (Leaf("one", ("c", "a"), "leaf"), Leaf("two", ("b",), "top")),
        )
    )
    parts = sharing.parts(tree, {"top": model, "leaf": other})
    assert [type(x).__name__ for x in parts["one"].model.layers] == [
        "InputLayer",
        "Dense",
    ]


def test_a_nested_network_is_given_a_head():
    inner = small()
    images = keras.Input((8, 8, 3))
    outer = keras.Model(images, inner(images))
    model = trunks.with_head(outer, 3)
    assert model.get_layer("first") in model.layers
    np.testing.assert_allclose(
        answers(surgery.feature_extractor(model), pixels(8)),
        answers(inner, pixels(8)),
        atol=1e-6,
    )


# What images it takes.


def test_a_network_of_any_size_is_given_224_pixels_or_what_is_asked(caplog):
    model = small(layers.Dense(3), size=None)
    with caplog.at_level("INFO", logger="absl"):
        network = trunks.cut(model, input_range=None).network
    assert network.input.shape[1] == 224
    assert "it is given 224 pixels" in caplog.text
    found = trunks.cut(model, image_size=12, input_range=None)
    np.testing.assert_allclose(
        logits(found, pixels(12)), answers(model, pixels(12)), rtol=1e-5
    )


def test_convolutions_take_another_size():
    model = small(layers.Dense(3))
    found = trunks.cut(model, image_size=14, input_range=None)
    same = small(layers.Dense(3), size=14)
    same.set_weights(model.get_weights())
    np.testing.assert_allclose(
        logits(found, pixels(14)), answers(same, pixels(14)), rtol=1e-5
    )


@pytest.mark.parametrize("size", [2, 16])
def test_a_size_that_the_weights_are_not_for_is_refused(size):
    images = keras.Input((8, 8, 3))
    x = layers.Flatten()(convolved(images))
    model = keras.Model(images, layers.Dense(3)(x))
    message = refusal(model, image_size=size, input_range="unit")
    assert message.startswith(f"The network cannot take images of {size} pix")
    assert message.endswith("give image_size=8.")


@pytest.mark.parametrize(
    "shapes, words",
    [
        ([(8, 8, 1)], "(None, 8, 8, 1)"),
        ([(8, 8, 4)], "(None, 8, 8, 4)"),
        ([(3, 8, 8)], "channels last"),
        ([(8, 8, 3), (8, 8, 3)], "(None, 8, 8, 3), (None, 8, 8, 3)"),
        ([(20,)], "(None, 20)"),
        ([(8, 6, 3)], "8 x 6 pixels"),
    ],
)
def test_what_is_not_one_rgb_image_is_refused(shapes, words):
    inputs = [keras.Input(shape) for shape in shapes]
    flat = [layers.Flatten()(x) for x in inputs]
    x = layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    assert words in refusal(keras.Model(inputs, layers.Dense(3)(x)))


def test_several_answers_are_refused():
    images = keras.Input((8, 8, 3))
    x = layers.Flatten()(images)
    model = keras.Model(images, [layers.Dense(3)(x), layers.Dense(2)(x)])
    assert "one output. Received: 2" in refusal(model)


def test_tokens_are_refused():
    images = keras.Input((8, 8, 3))
    tokens = layers.Reshape((64, 3))(images)
    message = refusal(keras.Model(images, tokens), input_range="unit")
    assert "Received: (None, 64, 3)" in message


# What values it wants.


def preprocessed(images: np.ndarray, mode: str) -> np.ndarray:
    return keras.applications.imagenet_utils.preprocess_input(
        images.copy(), mode=mode
    )


@pytest.mark.parametrize(
    "input_range, expected",
    [
        ("inside", lambda x: x),
        ("unit", lambda x: x / 255),
        ("symmetric", lambda x: preprocessed(x, "tf")),
        ("imagenet", lambda x: preprocessed(x, "torch")),
        ("caffe", lambda x: preprocessed(x, "caffe")),
    ],
)
def test_every_range_is_what_keras_applications_calls_so(input_range, expected):
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, layers.Flatten()(images))
    network = trunks.cut(model, input_range=input_range).network
    np.testing.assert_allclose(
        answers(network, pixels(8)),
        expected(pixels(8)).reshape(2, -1),
        rtol=1e-4,
        atol=1e-4,
    )


CAFFE = [103.939, 116.779, 123.68]


@pytest.mark.parametrize(
    "prepare",
    [
        lambda x: layers.Rescaling(1 / 127.5, -1)(x),
        lambda x: layers.Normalization(mean=[120] * 3, variance=[3600] * 3)(x),
        lambda x: layers.ZeroPadding2D()(x / 255),
        lambda x: x[..., ::-1] - np.array(CAFFE, "float32"),
    ],
)
def test_a_preprocessing_inside_is_found(prepare):
    images = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(convolved(prepare(images)))
    model = keras.Model(images, x)
    network = trunks.cut(model, input_range=None).network
    np.testing.assert_allclose(
        answers(network, pixels(8)), answers(model, pixels(8)), atol=1e-4
    )


def test_an_adapted_normalization_is_kept():
    normalization = layers.Normalization()
    normalization.adapt(pixels(8))
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, convolved(normalization(images)))
    network = trunks.cut(model, input_range=None).network
    np.testing.assert_allclose(
        answers(network, pixels(8)),
        answers(model, pixels(8)).mean(axis=(1, 2)),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "prepare, words",
    [
        (lambda x: x, "does not tell which values"),
        (lambda x: layers.BatchNormalization()(x), "does not tell which"),
        (lambda x: x + layers.Conv2D(3, 1)(x), "does not tell which"),
        (lambda x: layers.Rescaling(2, -1)(x), "maps 0 to 255 to -1 to 509"),
    ],
)
def test_nothing_is_guessed(prepare, words):
    images = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(convolved(prepare(images)))
    message = refusal(keras.Model(images, x))
    assert words in message
    for name in ranges.PREPARATIONS:
        assert f"'{name}'" in message


def test_an_unknown_range_is_named():
    message = refusal(small(), input_range="tf")
    assert message.startswith("Unknown input range 'tf': expected 'inside'")


# Its id and its folder.


def identity(model: keras.Model, **options) -> str:
    options = {"input_range": "unit"} | options
    return trunks.identity(trunks.cut(model, **options).network)


def test_the_id_is_of_what_is_computed():
    model = small(layers.Dense(3))
    first = identity(model)
    assert len(first) == 16
    assert int(first, 16)
    assert identity(model) == first
    assert identity(model, input_range="symmetric") != first
    assert identity(model, image_size=10) != first
    shifted = keras.models.clone_model(model)
    shifted.set_weights(model.get_weights())
    assert identity(shifted) == first
    bias = shifted.get_layer("first").bias
    bias.assign(bias + 1e-6)
    assert identity(shifted) != first


def test_constants_of_a_graph_are_part_of_the_id():
    images = keras.Input((8, 8, 3))
    halved, doubled = (
        keras.Model(images, layers.Flatten()(images * factor))
        for factor in (0.5, 2.0)
    )
    assert identity(halved) != identity(doubled)


def test_a_folder_keeps_a_trunk(tmp_path):
    found = trunks.cut(nested(), input_range="symmetric")
    before = answers(found.network, pixels(8))
    folder = epath.Path(tmp_path)
    name = trunks.write(folder, found.network)
    assert name == trunks.identity(found.network)
    read = trunks.read(folder, name)
    assert trunks.identity(read) == name
    np.testing.assert_allclose(answers(read, pixels(8)), before, rtol=1e-5)
    assert read.trainable_weights == []
    assert {path.name for path in folder.iterdir()} == {
        *("trunk.keras", "trunk.id", "SHA256SUMS")
    }


@pytest.mark.slow
def test_the_id_is_the_same_in_another_process(tmp_path):
    network = trunks.cut(nested(), input_range="symmetric").network
    name = trunks.write(epath.Path(tmp_path), network)
    code = (
        "import sys\n"
        "from etils import epath\n"
        "from hierkeras.models import trunks\n"
        "folder, name = epath.Path(sys.argv[1]), sys.argv[2]\n"
        "print(trunks.identity(trunks.read(folder, name)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), name],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [name], done.stderr


def test_another_trunk_or_a_damaged_one_is_refused(tmp_path):
    folder = epath.Path(tmp_path)
    network = trunks.cut(small(), input_range=None).network
    name = trunks.write(folder, network)
    with pytest.raises(UserError, match=f"'{name}', not '{'0' * 16}'"):
        trunks.read(folder, "0" * 16)
    model = folder / trunks.MODEL_FILE
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(UserError, match="missing or damaged"):
        trunks.read(folder, name)


# Networks that this project did not make.


def check_exact(model: keras.Model, size: int, **options) -> trunks.Cut:
    found = trunks.cut(model, **options)
    prepare = ranges.PREPARATIONS[options["input_range"] or "inside"]
    prepared = prepare(keras.ops.convert_to_tensor(pixels(size)))
    np.testing.assert_allclose(
        softmax(logits(found, pixels(size))),
        answers(model, np.asarray(prepared)),
        atol=1e-5,
    )
    return found


def built(name: str, size: int, **options) -> keras.Model:
    keras.utils.set_random_seed(0)
    constructor = getattr(keras.applications, name)
    return shaken(
        constructor(
            input_shape=(size, size, 3), weights=None, classes=5, **options
        )
    )


@pytest.mark.slow
def test_mobilenet_v2():
    model = built("MobileNetV2", 32, alpha=0.35)
    found = check_exact(model, 32, input_range="symmetric")
    assert found.network.output_shape == (None, 1280)
    larger = trunks.cut(model, image_size=64, input_range="symmetric")
    same = built("MobileNetV2", 64, alpha=0.35)
    same.set_weights(model.get_weights())
    images = pixels(64)
    np.testing.assert_allclose(
        softmax(logits(larger, images)),
        answers(same, images / 127.5 - 1),
        atol=1e-5,
    )


def test_mobilenet_with_its_head_of_convolutions():
    model = built("MobileNet", 32, alpha=0.25)
    assert check_exact(model, 32, input_range="symmetric").head is not None
    assert "does not tell" in refusal(model)


@pytest.mark.slow
def test_mobilenet_v3_with_its_head_of_convolutions():
    model = built("MobileNetV3Small", 32)
    found = check_exact(model, 32, input_range=None)
    assert found.network.output_shape == (None, 1024)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, size, input_range",
    [
        ("ResNet50V2", 64, "symmetric"),
        ("ResNet50", 64, "caffe"),
        ("DenseNet121", 64, "imagenet"),
        ("EfficientNetB0", 64, "inside"),
        ("EfficientNetV2B0", 64, None),
        ("ConvNeXtTiny", 64, None),
        ("VGG16", 64, "caffe"),
        ("Xception", 96, "symmetric"),
    ],
)
def test_others_of_keras_applications(name, size, input_range, tmp_path):
    model = built(name, size)
    found = check_exact(model, size, input_range=input_range)
    model.save(tmp_path / "it.keras")
    loaded = foreign.load(str(tmp_path / "it.keras"))
    again = trunks.cut(loaded, input_range=input_range)
    assert trunks.identity(again.network) == trunks.identity(found.network)


@pytest.mark.slow
def test_a_network_inside_a_sequential(tmp_path):
    body = keras.applications.EfficientNetV2B0(
        input_shape=(64, 64, 3),
        weights=None,
        include_top=False,
        include_preprocessing=False,
    )
    model = keras.Sequential(
        [
            keras.Input((64, 64, 3)),
            layers.RandomFlip("horizontal"),
            layers.Rescaling(1 / 255),
            body,
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(5, activation="softmax"),
        ]
    )
    found = check_exact(model, 64, input_range=None)
    model.save(tmp_path / "it.keras")
    loaded = foreign.load(str(tmp_path / "it.keras"))
    assert trunks.identity(
        trunks.cut(loaded, input_range=None).network
    ) == trunks.identity(found.network)


@pytest.mark.slow
@pytest.mark.skipif(not LITE0.exists(), reason="the network is not there")
def test_efficientnet_lite0():
    found = check_exact(foreign.load(str(LITE0)), 224, input_range=None)
    assert found.head.kernel.shape == (1280, 1000)
