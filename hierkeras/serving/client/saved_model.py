"""Asks a SavedModel in this process, without TensorFlow's Python.

TensorFlow's C API loads in a fraction of the time that its Python takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hierkeras import _faults
from hierkeras._errors import UserError
from hierkeras.serving.checks import c_api
from hierkeras.serving.client import answers, outputs
from hierkeras.serving.trust import graphs
from hierkeras.serving.trust.messages import message_type

_SIGNATURE = "serving_default"
_INPUT = "image_bytes"


class LocalModel:
    """A SavedModel in this process.

    Args:
        path: Its folder.
        trust: Whether it may do more than an export can.

    Raises:
        UserError: If it holds no SavedModel of a tree, none that loads, or
            one that is not trusted.
    """

    def __init__(self, path: str, trust: bool = False) -> None:
        if not (Path(path) / "saved_model.pb").is_file():
            raise UserError(
                f"{path} holds no saved_model.pb; give the folder of one "
                "version, e.g. runs/digits/serving/2"
            )
        try:
            if not trust:
                graphs.check(path)
            # A few images wait longer for a faster graph than it saves them.
            self._model = c_api.SavedModel(path, optimized=False)
        except (c_api.CApiError, OSError) as error:
            raise UserError(f"{path} cannot be loaded: {error}") from None
        meta_graph = message_type("MetaGraphDef").FromString(
            self._model.meta_graph
        )
        signature = meta_graph.signature_def[_SIGNATURE]
        if _INPUT not in signature.inputs or not all(
            name in signature.outputs for name in outputs.NAMES
        ):
            raise UserError(
                f"{path}: signature {_SIGNATURE} does not take {_INPUT} and "
                f"answer with {', '.join(outputs.NAMES)}; it was not exported "
                "by hierkeras"
            )
        self._input = signature.inputs[_INPUT].name
        self._outputs = [signature.outputs[name].name for name in outputs.NAMES]
        self._path = path

    def answer(self, images: Sequence[bytes]) -> list[answers.Answer]:
        """See `answers.Model`."""
        encoded = np.empty(len(images), object)
        encoded[:] = images
        try:
            arrays = self._model.run({self._input: encoded}, self._outputs)
        except c_api.CApiError as error:
            answers.check_bad_image(str(error))
            told = _faults.sentence(str(error))
            raise UserError(f"the model failed: {told}") from None
        answered = dict(zip(outputs.NAMES, arrays, strict=True))
        try:
            return outputs.to_answers(answered, len(images))
        except outputs.BadOutput as error:
            raise UserError(
                f"{self._path} answers with what no export does: {error}; "
                "export the tree again"
            ) from None
