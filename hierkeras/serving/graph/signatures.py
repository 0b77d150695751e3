"""The signatures of a served tree.

    serving_default   image_bytes: string [n], JPEG, PNG, GIF, BMP or WebP
    predict_images    images: uint8 [n, height, width, 3]
    classify          inputs: string [n], tf.Example with `image/encoded`

The first two answer with `classes` string [n, top], `scores` float32 [n, top],
best first, and `path` string [n], the superclasses that hard routing takes,
as in `root/root.2`; below a branch that contention keeps from running, the
likely ones. `classify` answers with `classes` and `scores`, as
TensorFlow Serving's Classification API wants.

A class of score 0 is not named: hard routing gives one to every class that is
not in the leaf taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from hierkeras.data.decoding import problems
from hierkeras.data.decoding.pixels import DEFAULT, Pixels
from hierkeras.data.decoding.squares import to_square
from hierkeras.recipe.serving import Serving
from hierkeras.serving.graph import decoding
from hierkeras.serving.graph.composite import Composite
from hierkeras.serving.graph.decoding import Decoded
from hierkeras.tree import nodes

SERVING_DEFAULT = "serving_default"
PREDICT_IMAGES = "predict_images"
CLASSIFY = "classify"
# What TensorFlow Serving looks for (its servables/tensorflow/classifier.cc).
CLASSIFY_METHOD = "tensorflow/serving/classify"
EXAMPLE_IMAGE = "image/encoded"


def save(
    folder: str,
    composite: Composite,
    image_size: int,
    config: Serving,
    pixels: Pixels = DEFAULT,
) -> None:
    """Writes a tree as a SavedModel.

    Args:
        folder: Where; it must not exist or be empty.
        composite: The tree.
        image_size: Height and width, in pixels, that its networks take.
        config: What it answers.
        pixels: How images become squares of that size; how large they may be
            `config` says.
    """
    pixels = dataclasses.replace(pixels, max_pixels=config.max_pixels)
    module = tf.Module()
    module.weights = composite.variables
    tf.saved_model.save(
        module,
        folder,
        signatures=_Signatures(composite, image_size, config, pixels).traced(),
        options=tf.saved_model.SaveOptions(save_debug_info=False),
    )
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(
        folder
    )
    updater.replace_method_name(
        signature_key=CLASSIFY, method_name=CLASSIFY_METHOD
    )
    updater.save()


class _Signatures:
    """What is asked for by name.

    Args:
        composite: The tree.
        image_size: Height and width, in pixels, that its networks take.
        config: What it answers.
        pixels: How images become squares of that size.
    """

    def __init__(
        self,
        composite: Composite,
        image_size: int,
        config: Serving,
        pixels: Pixels,
    ) -> None:
        self._size = image_size
        self._pixels = pixels
        self._config = config
        self._answer = tf.function(
            lambda images: _answer(composite, images, config.top),
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, image_size, image_size, 3], tf.uint8)
            ],
        )

    def traced(self) -> dict[str, Callable]:
        """The functions, by the signature's name."""
        strings = [None], tf.string
        pixels = [None, None, None, 3], tf.uint8
        return {
            SERVING_DEFAULT: _traced(self.predict, *strings, "image_bytes"),
            PREDICT_IMAGES: _traced(self.predict_images, *pixels, "images"),
            CLASSIFY: _traced(self.classify, *strings, "inputs"),
        }

    def predict(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        decoded = decoding.decode_rows(image_bytes, self._size, self._pixels)
        if self._config.bad_images == "empty":
            return _without_bad(self._answer(decoded.images), decoded)
        with tf.control_dependencies([_refuse_bad(decoded, self._pixels)]):
            images = tf.identity(decoded.images)
        return self._answer(images)

    def predict_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._answer(to_square(images, self._size, self._pixels))

    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        # An Example without an image is a bad row, not a bad request.
        features = {EXAMPLE_IMAGE: tf.io.FixedLenFeature([], tf.string, "")}
        encoded = tf.io.parse_example(inputs, features)[EXAMPLE_IMAGE]
        answered = self.predict(encoded)
        return {name: answered[name] for name in ("classes", "scores")}


def _traced(
    function: Callable, shape: list, dtype: tf.DType, name: str
) -> Callable:
    spec = tf.TensorSpec(shape, dtype, name)
    return tf.function(
        function, autograph=False, input_signature=[spec]
    ).get_concrete_function()


def _answer(
    composite: Composite, images: tf.Tensor, top: int
) -> dict[str, tf.Tensor]:
    probabilities, leaves = composite(images)
    tree = composite.tree
    scores, columns = tf.math.top_k(
        probabilities, k=min(top, len(tree.classes))
    )
    classes = tf.gather(tf.constant(tree.classes), columns)
    return {
        "classes": tf.where(scores > 0, classes, ""),
        "scores": scores,
        "path": tf.gather(tf.constant(paths(tree)), leaves),
    }


def to_example(encoded: bytes) -> bytes:
    """A serialised tf.Example of an encoded image, as `classify` takes."""
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    features = tf.train.Features(feature={EXAMPLE_IMAGE: feature})
    return tf.train.Example(features=features).SerializeToString()


def paths(tree: nodes.Tree) -> list[str]:
    """For each leaf the superclasses that lead to it, itself included."""
    return [
        "/".join(node.name for node in tree.path(leaf.name))
        for leaf in tree.leaves
    ]


def _without_bad(
    answer: dict[str, tf.Tensor], decoded: Decoded
) -> dict[str, tf.Tensor]:
    fine = tf.equal(decoded.problems, problems.FINE)
    return {
        "classes": tf.where(fine[:, tf.newaxis], answer["classes"], ""),
        "scores": tf.where(fine[:, tf.newaxis], answer["scores"], 0.0),
        "path": tf.where(fine, answer["path"], ""),
    }


def _refuse_bad(decoded: Decoded, pixels: Pixels) -> tf.Operation:
    bad = tf.where(tf.not_equal(decoded.problems, problems.FINE))[:, 0]
    reasons = problems.reasons(pixels)

    def refuse() -> tf.Operation:
        row = bad[0]
        reason = tf.gather(tf.constant(reasons), decoded.problems[row])
        number = tf.strings.as_string(row)
        message = tf.strings.join(["row ", number, " of the request ", reason])
        return tf.debugging.Assert(False, [message])

    return tf.cond(tf.size(bad) > 0, refuse, tf.no_op)
