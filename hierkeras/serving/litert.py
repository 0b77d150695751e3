"""From a generation that is exported to a file that LiteRT runs on phones.

One signature: `images`, uint8 [1, size, size, 3], to `probabilities`, float32
[1, classes]; one image, since a graph for one that is known to be alone is
faster. The file beside it, of the same name with the ending `.txt`, names the
classes, one a line, in the order of the probabilities.
"""

from __future__ import annotations

import dataclasses
import os
import re
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from etils import epath

from hierkeras._errors import UserError
from hierkeras.serving.checks import sample
from hierkeras.serving.checks.sample import Sample
from hierkeras.serving.graph import signatures
from hierkeras.serving.graph.composite import Composite
from hierkeras.training.context import Context
from hierkeras.training.predictor import Predictor
from hierkeras.tree import atomic
from hierkeras.tree.generation import Generation
from hierkeras.tree.names import printable
from hierkeras.tree.routing import Routing

SUFFIX, LABELS_SUFFIX = ".tflite", ".txt"
_TOLERANCE = 1e-4
_SAMPLE_SIZE = 64
_LONGEST_REASON = 200


@dataclasses.dataclass(frozen=True)
class Converted:
    """A file that was written.

    Args:
        path: The file.
        labels: That of the classes.
        num_bytes: Size of the first.
        images: Images that it was compared on with the exported version.
        score_difference: Largest difference of a score, where the last digits
            do not decide which networks run.
    """

    path: str
    labels: str
    num_bytes: int
    images: int
    score_difference: float


def convert(
    generation: Generation,
    context: Context,
    predictor: Predictor,
    routing: Routing,
    path: str,
) -> Converted:
    """Writes a generation for LiteRT, if it answers as its version does.

    Args:
        generation: The generation; it is exported.
        context: Its work directory, and the images.
        predictor: Runs its models.
        routing: How the exported tree answers.
        path: The file, which ends in `.tflite`.

    Raises:
        UserError: If a layer cannot be converted, the answers differ, or a
            file cannot be written. No file is there then, or that from before.
    """
    tree = generation.tree
    models = {node.job: predictor.model(node.job) for node in tree.nodes()}
    composite = Composite(tree, models, routing, is_inlined=True)
    content = _content(composite, context.config.image_size)
    images = sample.draw(
        tree,
        routing,
        context,
        predictor.through_networks(),
        _SAMPLE_SIZE,
        context.config.pixels,
    )
    version = context.store.serving / str(generation.number)
    served = tf.saved_model.load(os.fspath(version)).signatures
    difference = _compare(
        _answers(content, images.images),
        served[signatures.PREDICT_IMAGES],
        images,
        tree.classes,
    )
    labels = f"{path.removesuffix(SUFFIX)}{LABELS_SUFFIX}"
    names = "".join(f"{printable(name)}\n" for name in tree.classes)
    # The model last: it is what others look for.
    _write(labels, names.encode())
    _write(path, content)
    return Converted(path, labels, len(content), len(images.images), difference)


def line(converted: Converted) -> str:
    """A conversion in words."""
    return (
        f"wrote {converted.path} ({converted.num_bytes / 1e6:.1f} MB, its "
        f"classes in {converted.labels}); answers as the exported version "
        f"does on {converted.images} images (scores within "
        f"{converted.score_difference:.1g})"
    )


def _content(composite: Composite, size: int) -> bytes:
    """The file's bytes."""
    module = tf.Module()
    module.weights = composite.variables
    answer = tf.function(
        lambda images: {"probabilities": composite(images)[0]},
        autograph=False,
        input_signature=[tf.TensorSpec([1, size, size, 3], tf.uint8, "images")],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [answer.get_concrete_function()], module
    )
    try:
        converted: bytes = converter.convert()
    except MemoryError:
        raise
    except Exception as error:  # whatever the converter meets
        raise UserError(
            f"LiteRT has no operations for the tree ({_reason(error)}); "
            "serve what is exported"
        ) from None
    return converted


def _reason(error: Exception) -> str:
    """What the converter could not do: its operations, if it names any."""
    text = str(error)
    operations = sorted(set(re.findall(r"'(tf\.\w+)' op", text)))
    if operations:
        return ", ".join(operations)
    lines = text.strip().splitlines() or [repr(error)]
    return lines[0][:_LONGEST_REASON]


def _answers(
    content: bytes, images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """What LiteRT answers: float32 array of shape (n, classes)."""
    with warnings.catch_warnings():
        # Where to find the interpreter in later versions of TensorFlow.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(model_content=content)
    run = interpreter.get_signature_runner()
    return np.concatenate(
        [run(images=image[np.newaxis])["probabilities"] for image in images]
    )


def _compare(
    probabilities: npt.NDArray[np.float32],
    served: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    images: Sample,
    classes: Sequence[str],
) -> float:
    """The largest difference from the scores of an exported version.

    Raises:
        UserError: If it is more than rounding, or a best class is another.
    """
    answer = served(tf.constant(images.images))
    named, scores = answer["classes"].numpy(), answer["scores"].numpy()
    column = {name.encode(): number for number, name in enumerate(classes)}
    # A class of score 0 is not named.
    columns = np.array([[column.get(one, -1) for one in row] for row in named])
    own = np.take_along_axis(probabilities, np.maximum(columns, 0), axis=1)
    apart = np.where(columns >= 0, np.abs(own - scores), 0.0)
    is_certain = images.margins > _TOLERANCE
    difference = float(apart[is_certain].max(initial=0.0))
    lead = images.probabilities.max(axis=1) - images.second
    is_clear = is_certain & (lead > 2 * _TOLERANCE)
    differs = probabilities.argmax(axis=1) != columns[:, 0]
    if not difference <= _TOLERANCE or differs[is_clear].any():
        raise UserError(
            "what LiteRT makes of the tree answers otherwise than the "
            f"exported version: a score differs by {difference:.2g}; serve "
            "what is exported"
        )
    return difference


def _write(path: str, content: bytes) -> None:
    try:
        atomic.write_file(epath.Path(path), content)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); give "
            "another --litert"
        ) from None
