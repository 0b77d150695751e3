"""Asks a SavedModel in this process, without TensorFlow's Python.

TensorFlow's C API loads in a fraction of the time that its Python takes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

from hierkeras import _faults
from hierkeras._errors import UserError
from hierkeras.serving.checks import c_api
from hierkeras.serving.client import answers

_SIGNATURE = "serving_default"
_INPUT = "image_bytes"
_FIELD = descriptor_pb2.FieldDescriptorProto
_OUTPUTS = ("classes", "scores", "path")


class LocalModel:
    """A SavedModel in this process.

    Args:
        path: Its folder.

    Raises:
        UserError: If it holds no SavedModel of a tree, or none that loads.
    """

    def __init__(self, path: str) -> None:
        if not (Path(path) / "saved_model.pb").is_file():
            raise UserError(
                f"{path} holds no saved_model.pb; give the folder of one "
                "version, e.g. runs/digits/serving/2"
            )
        try:
            # A few images wait longer for a faster graph than it saves them.
            self._model = c_api.SavedModel(path, optimized=False)
        except c_api.CApiError as error:
            raise UserError(f"{path} cannot be loaded: {error}") from None
        meta_graph = _meta_graph_type().FromString(self._model.meta_graph)
        signature = meta_graph.signature_def[_SIGNATURE]
        if _INPUT not in signature.inputs or not all(
            name in signature.outputs for name in _OUTPUTS
        ):
            raise UserError(
                f"{path}: signature {_SIGNATURE} does not take {_INPUT} and "
                f"answer with {', '.join(_OUTPUTS)}; it was not exported by "
                "hierkeras"
            )
        self._input = signature.inputs[_INPUT].name
        self._outputs = [signature.outputs[name].name for name in _OUTPUTS]

    def answer(self, images: Sequence[bytes]) -> list[answers.Answer]:
        """See `answers.Model`."""
        encoded = np.empty(len(images), object)
        encoded[:] = images
        try:
            classes, scores, paths = self._model.run(
                {self._input: encoded}, self._outputs
            )
        except c_api.CApiError as error:
            answers.check_bad_image(str(error))
            told = _faults.sentence(str(error))
            raise UserError(f"the model failed: {told}") from None
        return answers.to_answers(classes, scores, paths)


@functools.cache
def _meta_graph_type() -> Any:
    """MetaGraphDef as far as it is needed: names of signatures' tensors.

    The numbers are those of tensorflow/core/protobuf/meta_graph.proto.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="hierkeras/meta_graph.proto", package="hierkeras", syntax="proto3"
    )
    _add_text(file.message_type.add(name="TensorInfo"), "name", 1)
    signature = file.message_type.add(name="SignatureDef")
    _add_map(signature, "inputs", 1, "TensorInfo")
    _add_map(signature, "outputs", 2, "TensorInfo")
    meta_graph = file.message_type.add(name="MetaGraphDef")
    _add_map(meta_graph, "signature_def", 5, "SignatureDef")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("hierkeras.MetaGraphDef")
    )


def _add_text(message: Any, name: str, number: int) -> None:
    message.field.add(
        name=name,
        number=number,
        type=_FIELD.TYPE_STRING,
        label=_FIELD.LABEL_OPTIONAL,
    )


def _add_map(message: Any, name: str, number: int, to: str) -> None:
    """Adds a field `map<string, to>`, as protoc would."""
    entry = message.nested_type.add(
        name=f"{name.title().replace('_', '')}Entry"
    )
    entry.options.map_entry = True
    _add_text(entry, "key", 1)
    type_name = f".hierkeras.{to}"
    entry.field.add(
        name="value",
        number=2,
        type=_FIELD.TYPE_MESSAGE,
        type_name=type_name,
        label=_FIELD.LABEL_OPTIONAL,
    )
    type_name = f".hierkeras.{message.name}.{entry.name}"
    message.field.add(
        name=name,
        number=number,
        type=_FIELD.TYPE_MESSAGE,
        type_name=type_name,
        label=_FIELD.LABEL_REPEATED,
    )
