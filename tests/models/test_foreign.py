import io
import json
import pickle
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from hierkeras._errors import UserError
from hierkeras.models import foreign

PIXELS = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3))
PIXELS = PIXELS.astype("float32")


def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 255)(images)
    x = layers.Conv2D(4, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(3, activation="softmax")(x))


def refusal(path) -> str:
    with pytest.raises(UserError) as error:
        foreign.load(str(path))
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.filterwarnings("ignore:You are saving")
@pytest.mark.parametrize("name", ["it.keras", "it.h5", "it.hdf5"])
def test_what_keras_saved_answers_as_before(tmp_path, name):
    model = small()
    model.compile("adam", "categorical_crossentropy")
    model.save(tmp_path / name)

    loaded = foreign.load(str(tmp_path / name))

    np.testing.assert_array_equal(loaded(PIXELS), model(PIXELS))
    assert not loaded.compiled


def test_a_sequential_model_is_loaded(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten()])
    model.save(tmp_path / "it.keras")
    loaded = foreign.load(str(tmp_path / "it.keras"))
    np.testing.assert_array_equal(loaded(PIXELS), model(PIXELS))


def keras_2_layer(kind, name, below=None, call=0, arguments=None, **config):
    return {
        "class_name": kind,
        "config": {"name": name, "trainable": True, "dtype": "float32"}
        | config,
        "name": name,
        "inbound_nodes": [[[below, call, 0, arguments or {}]]] if below else [],
    }


def keras_2_model(name, layers, output):
    return {
        "class_name": "Functional",
        "config": {
            "name": name,
            "trainable": True,
            "layers": layers,
            "input_layers": [[layers[0]["name"], 0, 0]],
            "output_layers": [[output, 0, 0]],
        },
        "name": name,
        "inbound_nodes": [],
    }


def arithmetic(name, function, below, number):
    layer = keras_2_layer("TFOpLambda", name, function=function)
    layer["inbound_nodes"] = [[below, 0, 0, {"y": number, "name": None}]]
    return layer


# As Keras 2.15 describes what its tutorial on transfer learning builds.
BODY = keras_2_model(
    "body",
    [
        keras_2_layer("InputLayer", "in", batch_input_shape=[None, 8, 8, 3]),
        keras_2_layer(
            "DepthwiseConv2D",
            "a/depthwise",
            "in",
            kernel_size=[3, 3],
            groups=1,
            activation="linear",
        ),
        keras_2_layer("BatchNormalization", "a/norm", "a/depthwise", axis=[3]),
        keras_2_layer(
            "SeparableConv2D",
            "b",
            "a/norm",
            filters=4,
            kernel_size=[3, 3],
            groups=1,
            kernel_initializer={"class_name": "GlorotUniform", "config": {}},
            kernel_regularizer=None,
            kernel_constraint=None,
        ),
    ],
    "b",
)
KERAS_2 = keras_2_model(
    "tutorial",
    [
        keras_2_layer("InputLayer", "top", batch_input_shape=[None, 8, 8, 3]),
        arithmetic("tf.math.truediv", "math.truediv", "top", 127.5),
        arithmetic("tf.math.subtract", "math.subtract", "tf.math.truediv", 1),
        BODY
        | {
            "inbound_nodes": [[["tf.math.subtract", 0, 0, {"training": False}]]]
        },
        keras_2_layer("GlobalAveragePooling2D", "pool", "body", call=1),
        keras_2_layer(
            "Dense",
            "dense",
            "pool",
            units=2,
            dtype={"class_name": "Policy", "config": {"name": "float32"}},
        ),
    ],
    "dense",
)


def same_in_keras_3() -> keras.Model:
    keras.utils.set_random_seed(0)
    inner = keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3)(inner)
    x = layers.BatchNormalization()(x)
    body = keras.Model(inner, layers.SeparableConv2D(4, 3)(x))
    images = keras.Input((8, 8, 3))
    x = body(images / 127.5 - 1, training=False)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(2)(x))


def with_config(path, config) -> str:
    """Writes a file with these layers and weights of `same_in_keras_3`."""
    same_in_keras_3().save(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["model_config"]
        file.attrs["model_config"] = json.dumps(config).encode()
    return str(path)


@pytest.mark.filterwarnings("ignore:You are saving")
@pytest.mark.filterwarnings("ignore:The structure of")
def test_a_network_of_keras_2_computes_what_it_did(tmp_path):
    path = with_config(tmp_path / "it.h5", KERAS_2)
    before = (tmp_path / "it.h5").read_bytes()

    loaded = foreign.load(path)

    (found,) = keras.tree.flatten(loaded(PIXELS))
    np.testing.assert_allclose(found, same_in_keras_3()(PIXELS), atol=1e-5)
    assert (tmp_path / "it.h5").read_bytes() == before


@pytest.mark.filterwarnings("ignore:You are saving")
@pytest.mark.parametrize("kind", ["TFOpLambda", "MyAttention"])
def test_what_keras_3_has_not_is_named(tmp_path, kind):
    path = tmp_path / "it.h5"
    other = keras_2_layer(kind, "other", "top", function="math.erfinv")
    config = keras_2_model("m", [KERAS_2["config"]["layers"][0], other], "x")
    assert f"({kind})" in refusal(with_config(path, config))


@pytest.mark.filterwarnings("ignore:You are saving")
@pytest.mark.parametrize("name", ["it.keras", "it.h5"])
def test_code_in_a_file_is_not_run(tmp_path, name):
    images = keras.Input((8, 8, 3))
    canary = tmp_path / "canary"
    place = str(canary)
    code = layers.Lambda(lambda x: (Path(place).touch(), x)[1], (8, 8, 3))
    keras.Model(images, code(images)).save(tmp_path / name)
    code(PIXELS)
    canary.unlink()  # what it does if it is run

    assert refusal(tmp_path / name).endswith(
        "needs code that is not Keras's (Lambda), which is not run: save the "
        "network with layers of Keras alone."
    )
    assert not canary.exists()


class Mine(layers.Layer):
    def call(self, x):
        return x


def my_activation(x):
    return x


@pytest.mark.filterwarnings("ignore:You are saving")
@pytest.mark.parametrize("name", ["it.keras", "it.h5"])
def test_classes_of_others_are_named(tmp_path, name):
    images = keras.Input((8, 8, 3))
    keras.Model(images, Mine()(images)).save(tmp_path / name)
    assert "(Mine)" in refusal(tmp_path / name)


def test_functions_of_others_are_named(tmp_path):
    images = keras.Input((8, 8, 3))
    x = layers.Activation(my_activation)(images)
    keras.Model(images, x).save(tmp_path / "it.keras")
    assert "(my_activation)" in refusal(tmp_path / "it.keras")


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_unpickled(tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "it.keras"
    small().save(path)
    weights = io.BytesIO()
    np.savez(weights, a=np.array([Canary(canary)], object))
    with zipfile.ZipFile(path) as whole:
        config = whole.read("config.json")
        metadata = whole.read("metadata.json")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("metadata.json", metadata)
        archive.writestr("model.weights.npz", weights.getvalue())
    assert "Keras cannot load" in refusal(path)
    for name in ("it.pkl", "it.h5", "other.keras"):
        (tmp_path / name).write_bytes(pickle.dumps(Canary(canary)))
        assert "is no network that Keras saved" in refusal(tmp_path / name)
    assert not canary.exists()


def test_weights_alone_are_no_network(tmp_path):
    small().save_weights(tmp_path / "it.weights.h5")
    assert "holds weights only" in refusal(tmp_path / "it.weights.h5")


def test_a_saved_model_is_to_be_saved_anew(tmp_path):
    small().export(tmp_path / "it", verbose=False)
    message = refusal(tmp_path / "it")
    assert "is a SavedModel" in message
    assert "model.save('NAME.keras')" in message


def test_a_model_without_a_graph_is_named(tmp_path):
    keras.Sequential([layers.Flatten()]).save(tmp_path / "it.keras")
    assert "class Sequential" in refusal(tmp_path / "it.keras")


def test_what_is_not_there_is_named(tmp_path):
    assert refusal(tmp_path / "it.keras").startswith("No such file")
    assert "is a folder" in refusal(tmp_path)


def test_damage_is_one_line(tmp_path):
    path = tmp_path / "it.keras"
    small().save(path)
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
    assert "Keras cannot load" in refusal(path)
