"""The graph of an export, in the run of its step in TensorBoard."""

from __future__ import annotations

import contextlib

import tensorflow as tf
from etils import epath
from tensorflow.core.protobuf import saved_model_pb2

from hierkeras.training.tensorboard import RunWriter

# A browser draws no more: it would be the graph of some hundred nodes.
_MOST_BYTES = 5_000_000


def write(version: epath.Path, run: epath.Path, number: int) -> None:
    """Writes the graph of a SavedModel, which holds no weights.

    Args:
        version: The SavedModel.
        run: The folder of the run.
        number: Of the generation. A graph that is too large is left out.
    """
    raw = (version / "saved_model.pb").read_bytes()
    if len(raw) > _MOST_BYTES:
        return
    model = saved_model_pb2.SavedModel.FromString(raw)
    with (
        contextlib.closing(RunWriter(run)) as writer,
        writer.as_default(step=number),
    ):
        tf.summary.graph(model.meta_graphs[0].graph_def)
