"""What the last hidden layer makes of images, for the embedding projector.

tensorboard/step-000002/
  projector_config.pbtxt   names the others
  embedding.tsv            a line of features for each image
  embedding_labels.tsv     its class, its superclass, and what it is taken for
  embedding_images.png     the images, in a square of squares
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from etils import epath
from tensorboard.plugins import projector

from hierkeras.training.context import Context
from hierkeras.training.predictor import Predictor
from hierkeras.training.probes.seen import some_of_each
from hierkeras.tree.names import shown
from hierkeras.tree.nodes import Tree

# A few MB at most, and what a browser turns smoothly.
_MOST_IMAGES = 500
_SIDE = 32
_HEADER = ("class", "superclass", "taken for")


@dataclasses.dataclass(frozen=True)
class Points:
    """Images to show.

    Args:
        job: The job whose model is at the root.
        indices: int64 array of shape (m,), sorted.
        labels: For each its class, its superclass, and what it is taken for.
    """

    job: str
    indices: npt.NDArray[np.int64]
    labels: Sequence[tuple[str, str, str]]


def some_points(
    tree: Tree,
    indices: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int32],
    named: npt.NDArray[np.int64],
) -> Points:
    """Chooses images, as many of each class as of another.

    Args:
        tree: The tree.
        indices: int64 array of shape (n,), sorted: examples of the catalogue.
        labels: int32 array of shape (n,): their classes, leaf by leaf.
        named: int64 array of shape (n,): what they are taken for.
    """
    classes = [
        (name, leaf.name) for leaf in tree.leaves for name in leaf.classes
    ]
    rows = some_of_each(labels, np.arange(len(classes)), _MOST_IMAGES)
    return Points(
        tree.root.job,
        indices[rows],
        [(*classes[labels[row]], classes[named[row]][0]) for row in rows],
    )


def write(
    run: epath.Path, points: Points, context: Context, predictor: Predictor
) -> None:
    """Writes the files of the projector into a run's folder.

    Args:
        run: The folder.
        points: The images to show.
        context: The images.
        predictor: Runs the model.
    """
    config = projector.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = "last hidden layer"
    embedding.tensor_path = "embedding.tsv"
    embedding.metadata_path = "embedding_labels.tsv"
    embedding.sprite.image_path = "embedding_images.png"
    embedding.sprite.single_image_dim.extend([_SIDE, _SIDE])
    features = predictor.features(points.job, points.indices)
    files = {
        embedding.tensor_path: _tsv(
            [f"{value:.4g}" for value in row] for row in features.tolist()
        ),
        embedding.metadata_path: _tsv(
            [shown(word) for word in words]
            for words in (_HEADER, *points.labels)
        ),
        embedding.sprite.image_path: sprite(context, points.indices),
    }
    for name, content in files.items():
        with tf.io.gfile.GFile(os.fspath(run / name), "wb") as file:
            file.write(content)
    projector.visualize_embeddings(os.fspath(run), config)


def sprite(context: Context, indices: npt.NDArray[np.int64]) -> bytes:
    """Images side by side, as many in a row as there are rows.

    Args:
        context: The images.
        indices: int64 array of shape (n,), sorted: examples of the catalogue.

    Returns:
        A PNG file.
    """
    batches = context.images.evaluation_batches(indices, _MOST_IMAGES)
    squares = np.concatenate(
        [tf.image.resize(batch, (_SIDE, _SIDE), "area") for batch in batches]
    )
    across = math.ceil(math.sqrt(len(squares)))
    field = np.zeros((across**2, _SIDE, _SIDE, 3), np.uint8)
    field[: len(squares)] = squares.round()
    field = field.reshape(across, across, _SIDE, _SIDE, 3)
    whole = field.swapaxes(1, 2).reshape(across * _SIDE, across * _SIDE, 3)
    png: bytes = tf.io.encode_png(whole).numpy()
    return png


def _tsv(rows: Iterable[Sequence[str]]) -> bytes:
    lines = ["\t".join(row) for row in rows]
    return ("\n".join(lines) + "\n").encode()
