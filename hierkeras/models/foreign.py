"""Loads networks that other people saved with Keras.

A file can name any class and hold code. Here as everywhere Keras runs in safe
mode, on its own classes only, and what the file would need besides is named
before Keras sees any of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py
import keras

from hierkeras._errors import UserError
from hierkeras.models import convnext, depths, keras2, lrn  # noqa: F401

# Layers that run what a file brings, or what lies beside it.
_CODE = (
    "__lambda__",
    "FlaxLayer",
    "JaxLayer",
    "Lambda",
    "TFSMLayer",
    "TorchModuleWrapper",
)
# Where Keras has the functions that a layer can name.
_FUNCTIONS = (
    keras.activations,
    keras.constraints,
    keras.initializers,
    keras.losses,
    keras.metrics,
    keras.regularizers,
)
_MODELS = ("Functional", "Model", "Sequential")
_HDF5 = (".h5", ".hdf5")
_LONGEST_REASON = 200
_MAX_CONFIG_BYTES = 64 * 2**20


def load(path: str) -> keras.Model:
    """Loads a network that somebody saved, not compiled.

    Args:
        path: A file that Keras 3 wrote, `.keras` or `.h5`, or one in the HDF5
            format of Keras 2.

    Returns:
        The network, `Sequential` or functional, with its weights.

    Raises:
        UserError: It is no such file, is damaged, holds weights without a
            network, or needs code of its own: `Lambda` layers and custom
            classes are not run.
    """
    _check_kind(path)
    with _naming_damage(path), tempfile.TemporaryDirectory() as scratch:
        if path.endswith(_HDF5):
            path = _in_keras_3(path, scratch)
        else:
            _check_classes(path, _zipped_config(path))
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    _check_layers(path, model)
    return model


def is_graph(layer: Any) -> bool:
    """Whether something is a model whose layers and their order are known."""
    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and hasattr(layer, "operations")
    )


def _check_kind(path: str) -> None:
    if os.path.isdir(path):
        kind = (
            "a SavedModel, whose layers Keras 3 cannot take apart"
            if os.path.exists(os.path.join(path, "saved_model.pb"))
            else "a folder"
        )
        raise UserError(
            f"{path!r} is {kind}: save the network as one file, with "
            "model.save('NAME.keras')."
        )
    if not os.path.isfile(path):
        raise UserError(f"No such file: {path!r}.")
    if path.endswith(_HDF5):
        is_one = h5py.is_hdf5(path)
    else:
        is_one = path.endswith(".keras") and zipfile.is_zipfile(path)
    if not is_one:
        raise UserError(
            f"{path!r} is no network that Keras saved: expected a file "
            "'.keras', or '.h5' in the HDF5 format."
        )


def _zipped_config(path: str) -> Any:
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
            raise ValueError("its config.json is too large")
        config = json.loads(archive.read("config.json"))
    config.pop("compile_config", None)  # not compiled, so nothing is missing
    return config


def _in_keras_3(path: str, scratch: str) -> str:
    """The path of an HDF5 file, or of a copy that Keras 3 can read."""
    with h5py.File(path) as file:
        raw = file.attrs.get("model_config")
    if raw is None:
        raise UserError(
            f"{path!r} holds weights only: build its network, load them into "
            "it, and save both with model.save('NAME.keras')."
        )
    config = json.loads(raw)
    readable = keras2.converted(config)
    _check_classes(path, readable)
    for layer in _listed_layers(readable):
        if not _is_known(layer["class_name"]):
            raise _needs_code(path, [layer["class_name"]])
    if readable == config:
        return path
    copy = os.path.join(scratch, "readable.h5")
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        del file.attrs["model_config"]
        file.attrs["model_config"] = json.dumps(readable).encode()
    return copy


def _is_known(name: str) -> bool:
    return (
        name in _MODELS
        or hasattr(keras.layers, name)
        or keras.saving.get_registered_object(name) is not None
    )


def _check_classes(path: str, config: Any) -> None:
    """Refuses what is no part of Keras, or runs what a file brings."""
    names = {
        name
        for found in _dictionaries(config)
        if (name := _foreign_name(found)) is not None
    }
    if names:
        raise _needs_code(path, sorted(names))


def _needs_code(path: str, names: list[str]) -> UserError:
    return UserError(
        f"{path!r} needs code that is not Keras's ({', '.join(names)}), which "
        "is not run: save the network with layers of Keras alone."
    )


def _foreign_name(found: dict[str, Any]) -> str | None:
    name = found.get("class_name")
    if not isinstance(name, str) or "config" not in found:
        return None
    if name in _CODE:
        return "Lambda" if name == "__lambda__" else name
    if name.startswith("__"):  # values: tensors, arrays, slices
        return None
    if name == "function":
        name = str(found["config"])
        return None if _is_known_function(name) else name
    registered = found.get("registered_name") or name
    # Keras 2 names no module, and what has none is looked up among the
    # registered.
    module = found.get("module", "keras")
    is_own = str(module).split(".")[0] in ("keras", "builtins")
    if is_own or keras.saving.get_registered_object(registered) is not None:
        return None
    return name


def _is_known_function(name: str) -> bool:
    known = keras.saving.get_registered_object(name) is not None
    return known or any(hasattr(place, name) for place in _FUNCTIONS)


def _dictionaries(config: Any) -> Iterator[dict[str, Any]]:
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _listed_layers(config: Any) -> Iterator[dict[str, Any]]:
    for found in _dictionaries(config):
        for layer in found.get("layers", ()):
            if isinstance(layer, dict) and "class_name" in layer:
                yield layer


def _check_layers(path: str, model: Any) -> None:
    if not is_graph(model) or not model.built:
        raise UserError(
            f"{path!r} is a network of class {type(model).__name__} whose "
            "layers cannot be followed from an input: save it as a functional "
            "model, keras.Model(inputs, outputs)."
        )


@contextlib.contextmanager
def _naming_damage(path: str) -> Iterator[None]:
    try:
        yield
    except (MemoryError, UserError):
        raise
    except Exception as error:  # whatever the file makes Keras do
        lines = str(error).strip().splitlines() or [repr(error)]
        raise UserError(
            f"Keras cannot load {path!r} ({lines[0][:_LONGEST_REASON]}): save "
            "it anew with Keras 3, or give another file."
        ) from None
