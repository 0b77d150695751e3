"""Checks that a SavedModel answers as the tree it was made from does.

Once in this process, once through TensorFlow's C API in a process that has
neither TensorFlow's Python nor Keras nor a tree: the loader that TensorFlow
Serving uses sees differences that Python's does not.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import numpy as np
import tensorflow as tf
from etils import epath
from tensorflow.core.framework import function_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from hierkeras._errors import UserError
from hierkeras.data.decoding.graph import decode_and_resize
from hierkeras.serving.checks import c_api
from hierkeras.serving.checks.sample import Sample
from hierkeras.serving.graph import signatures

# Inputs by tensor name, and the tensors to return.
Run = tuple[dict[str, np.ndarray], list[str]]
# Outputs of a signature by name.
Answer = dict[str, np.ndarray]

_SECONDS = 600
_RESIZED = 16
_FORBIDDEN = ("Random", "Assign", "StatelessRandom")


@dataclasses.dataclass(frozen=True)
class Verified:
    """How a SavedModel compared.

    Args:
        images: Images that it answered for.
        compared: Those whose best class was compared, of every signature: the
            last digits decide neither it nor the nodes that run.
        score_difference: Largest difference of a score from the tree's.
        c_api_difference: Largest difference of a score between this process
            and the one without TensorFlow's Python.
        files: Images that were sent as the files that they are.
        refused: Why files of others are refused, to their keys.
    """

    images: int
    compared: int
    score_difference: float
    c_api_difference: float
    files: int = 0
    refused: Mapping[str, Sequence[str]] = dataclasses.field(
        default_factory=dict
    )


class Mismatch(UserError):
    """A SavedModel is not what it should be."""


def verify(folder: epath.Path, sample: Sample, tolerance: float) -> Verified:
    """Runs every check.

    Args:
        folder: The SavedModel.
        sample: Images, and what the tree answers for them.
        tolerance: Largest difference of a score that counts as none.

    Raises:
        Mismatch: If one fails.
    """
    meta_graph = read_meta_graph(folder)
    _check_operations(meta_graph)
    requests, signatures_ = _requests(sample), meta_graph.signature_def
    with _Elsewhere(folder, _runs(meta_graph, requests)) as elsewhere:
        served = tf.saved_model.load(os.fspath(folder)).signatures
        _check_resizing(served, sample, tolerance)
        answers = {
            name: _ask(served[name], requests[name]) for name in requests
        }
        comparison = _Comparison(sample, tolerance)
        difference = max(map(comparison.with_tree, answers, answers.values()))
        others = {
            name: dict(zip(signatures_[name].outputs, answer, strict=True))
            for name, answer in zip(requests, elsewhere.answers(), strict=True)
        }
    return Verified(
        images=len(sample.images),
        compared=int(comparison.is_clear.sum()),
        score_difference=difference,
        c_api_difference=max(
            comparison.with_other(name, answer, others[name])
            for name, answer in answers.items()
        ),
        files=len(sample.files),
        refused=sample.refused,
    )


def read_meta_graph(folder: epath.Path) -> meta_graph_pb2.MetaGraphDef:
    """Reads the graph and the signatures of a SavedModel."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    return saved.meta_graphs[0]


def serving_operations(
    meta_graph: meta_graph_pb2.MetaGraphDef,
) -> collections.Counter[str]:
    """Counts, by type, the operations that answering a request may run."""
    graph = meta_graph.graph_def
    functions = {f.signature.name: f for f in graph.library.function}
    nodes = {node.name: node for node in graph.node}
    waiting = [
        nodes[tensor.name.partition(":")[0]]
        for name, signature in meta_graph.signature_def.items()
        if not name.startswith("__")
        for tensor in signature.outputs.values()
    ]
    seen: set[str] = set()
    counted: collections.Counter[str] = collections.Counter()
    while waiting:
        node = waiting.pop()
        if node.name in seen:
            continue
        seen.add(node.name)
        counted[node.op] += 1
        for source in node.input:
            waiting.append(nodes[source.lstrip("^").partition(":")[0]])
        counted.update(_below(node, functions, seen))
    return counted


def _below(
    node: node_def_pb2.NodeDef,
    functions: dict[str, function_pb2.FunctionDef],
    seen: set[str],
) -> Iterator[str]:
    called = [
        name
        for value in node.attr.values()
        for name in (value.func.name, *(f.name for f in value.list.func))
        if name in functions and f"function {name}" not in seen
    ]
    for name in called:
        seen.add(f"function {name}")
        for inner in functions[name].node_def:
            yield inner.op
            yield from _below(inner, functions, seen)


def _check_operations(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
    wrong = [
        operation
        for operation in serving_operations(meta_graph)
        if operation.startswith(_FORBIDDEN)
    ]
    if wrong:
        raise Mismatch(
            f"the graph holds operations of type {', '.join(sorted(wrong))}, "
            "which a served model may not"
        )


def _check_resizing(
    served: Mapping[str, Callable], sample: Sample, tolerance: float
) -> None:
    """Compares images of another size with what training makes of them."""
    size = sample.images.shape[1]
    images = sample.images[:_RESIZED].repeat(3, axis=1).repeat(2, axis=2)
    encoded = [tf.io.encode_png(image).numpy() for image in images]
    resized = [
        decode_and_resize(image, size, sample.pixels) for image in images
    ]
    pixels = served[signatures.PREDICT_IMAGES]
    expected = _ask(pixels, np.stack(resized))["scores"][:, 0]
    for answer in (
        _ask(served[signatures.SERVING_DEFAULT], np.array(encoded, object)),
        _ask(pixels, images),
    ):
        # Of some images the last digits decide where they go.
        apart = np.abs(answer["scores"][:, 0] - expected)
        if np.median(apart) > tolerance:
            raise Mismatch(
                "images of another size are not resized as in training"
            )


def _requests(sample: Sample) -> dict[str, np.ndarray]:
    """What each signature is asked, all about the same images."""
    sent = sample.encoded.copy()
    for place, content in sample.files.items():
        sent[place] = content
    return {
        signatures.SERVING_DEFAULT: sent,
        signatures.PREDICT_IMAGES: sample.images,
        signatures.CLASSIFY: np.array(
            [signatures.to_example(image) for image in sent], object
        ),
    }


def _ask(signature: Callable, request: np.ndarray) -> Answer:
    answer = signature(tf.constant(request))
    return {output: value.numpy() for output, value in answer.items()}


def _runs(
    meta_graph: meta_graph_pb2.MetaGraphDef,
    requests: Mapping[str, np.ndarray],
) -> list[Run]:
    """What to run of each signature: every output, in its order."""
    runs: list[Run] = []
    for name, request in requests.items():
        signature = meta_graph.signature_def[name]
        (given,) = signature.inputs.values()
        wanted = [output.name for output in signature.outputs.values()]
        runs.append(({given.name: request}, wanted))
    return runs


def run_elsewhere(
    folder: epath.Path, runs: Sequence[Run]
) -> list[list[np.ndarray]]:
    """Runs a SavedModel through the C API, in a process of its own.

    Args:
        folder: The SavedModel.
        runs: For each run the inputs by tensor name and the tensors to
            return.

    Raises:
        Mismatch: If it cannot be loaded or run.
    """
    with _Elsewhere(folder, runs) as elsewhere:
        return elsewhere.answers()


class _Elsewhere:
    """A process that works while this one does; see `run_elsewhere`.

    Whoever leaves the block before it asked for the answers ends it.
    """

    def __init__(self, folder: epath.Path, runs: Sequence[Run]) -> None:
        packed = [
            (
                {name: c_api.Tensor.of(each) for name, each in inputs.items()},
                names,
            )
            for inputs, names in runs
        ]
        request = c_api.Request(os.fspath(folder), packed)
        with tempfile.TemporaryFile() as file:
            file.write(msgspec.msgpack.encode(request))
            file.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", c_api.__name__],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )

    def __enter__(self) -> _Elsewhere:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def answers(self) -> list[list[np.ndarray]]:
        """The tensors of each run."""
        told, errors = self._process.communicate(timeout=_SECONDS)
        if status := self._process.returncode:
            lines = errors.decode(errors="replace").strip().splitlines()
            raise Mismatch(
                "TensorFlow's C API, as TensorFlow Serving uses it, fails on "
                f"it: {lines[-1] if lines else f'exit status {status}'}"
            )
        answers = msgspec.msgpack.decode(told, type=list[list[c_api.Tensor]])
        return [[tensor.array() for tensor in answer] for answer in answers]


class _Comparison:
    """Compares what signatures answer for a sample.

    Args:
        sample: The images.
        tolerance: Largest difference of a score that counts as none.

    Attributes:
        is_certain: bool array of shape (n,): whether the nodes that run do not
            hang on the last digits, as they do where two children are as good
            as equal.
        is_clear: bool array of shape (n,): whether the best class does not,
            either.
    """

    def __init__(self, sample: Sample, tolerance: float) -> None:
        self._sample = sample
        self._tolerance = tolerance
        self.is_certain = sample.margins > tolerance
        lead = sample.probabilities.max(axis=1) - sample.second
        self.is_clear = self.is_certain & (lead > 2 * tolerance)

    def with_tree(self, name: str, answer: Answer) -> float:
        """Compares a signature's answer with the tree's.

        Returns:
            The largest difference of a score.

        Raises:
            Mismatch: If they differ.
        """
        scores, best = answer["scores"], answer["classes"][:, 0]
        if not np.isfinite(scores).all():
            raise Mismatch(f"signature {name}: a score is no number")
        ordered = -np.sort(-self._sample.probabilities, axis=1)
        apart = np.abs(scores - ordered[:, : scores.shape[1]])
        difference = float(apart[self.is_certain].max(initial=0.0))
        if difference > self._tolerance:
            raise Mismatch(
                f"signature {name}: a score differs by {difference:.2g} from "
                "the tree's"
            )
        paths = answer.get("path", self._sample.paths)
        if (paths != self._sample.paths)[self.is_certain].any():
            raise Mismatch(f"signature {name}: an image takes another path")
        if (best != self._sample.named)[self.is_clear].any():
            raise Mismatch(f"signature {name}: an image is named differently")
        return difference

    def with_other(self, name: str, answer: Answer, other: Answer) -> float:
        """Compares a signature's answer with that of the other process.

        Returns:
            The largest difference of a score.

        Raises:
            Mismatch: If they differ.
        """
        difference = float(np.abs(answer["scores"] - other["scores"]).max())
        if not difference <= self._tolerance:  # nor a number
            raise Mismatch(
                f"signature {name}: a score differs by {difference:.2g} in a "
                "process without Keras"
            )
        for output in answer.keys() - {"scores"}:
            differs = answer[output] != other[output]
            if differs.reshape(len(differs), -1)[self.is_certain, 0].any():
                raise Mismatch(
                    f"signature {name}: output {output} differs in a process "
                    "without Keras"
                )
        return difference
