"""Measures what a tree costs to serve, compared with a flat network.

    python tools/bench_serving.py

Exports trees of the network of flags/tiny_imagenet_animal.flags, over 128
classes and with random weights, which cost as much as any others:

  flat            one network, as a flat increment leaves it
  tree            a branch and 2 leaves
  shared trunk    the same; all but the last convolution and the logits of a
                  leaf are the branch's
  64 leaves       a branch and 64 leaves

All answer by --routing and are run in turns through TensorFlow's C API, which
TensorFlow Serving uses, in one process without TensorFlow's Python. Exporting
happens in another. What matters is the ratio of two runs of one round.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from absl import flags

from hierkeras import _main
from hierkeras.recipe import serving
from hierkeras.serving.checks import c_api
from hierkeras.tree import nodes
from hierkeras.tree.routing import ROUTING_RULES, Routing, RoutingRule

_ROUTING = flags.DEFINE_enum(
    "routing", "hard", list(ROUTING_RULES), "How the trees answer."
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 300, "Measured rounds at batch 1; a fifth of them at 32."
)

_IMAGE_SIZE = 64
_CLASSES = tuple(f"class {number}" for number in range(128))
_KINDS = {"flat": 0, "tree": 2, "shared trunk": 2, "64 leaves": 64}
# What the last convolution of `small_cnn` at 64 pixels begins with.
_OWN = ("stage3_2", "logits")
_PAIRS = (("tree", "flat"), ("shared trunk", "flat"), ("64 leaves", "tree"))


def main() -> None:
    """Exports, runs the rounds and prints the table."""
    # TensorFlow's library would find the settings of this process.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rule = msgspec.convert(_ROUTING.value, RoutingRule)
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
            tensors = {
                kind: pool.submit(
                    export, f"{folder}/{kind}", kind, rule
                ).result()
                for kind in _KINDS
            }
        models = {kind: c_api.SavedModel(f"{folder}/{kind}") for kind in _KINDS}
        for images in requests(batch=32, count=100):
            for kind, model in models.items():  # reaches every leaf once
                model.run({tensors[kind][0]: images}, tensors[kind][1])
        for batch, rounds in ((1, _ROUNDS.value), (32, _ROUNDS.value // 5)):
            report(batch, *measure(models, tensors, batch, rounds))


def export(folder: str, kind: str, rule: RoutingRule) -> tuple[str, list[str]]:
    """Exports a tree of a kind; returns its input's and outputs' tensors."""
    from hierkeras.training import startup

    startup.start_tensorflow()
    from etils import epath

    from hierkeras.serving.checks import verification
    from hierkeras.serving.graph import signatures
    from hierkeras.serving.graph.composite import Composite

    tree = make_tree(_KINDS[kind])
    networks = make_networks(tree, kind == "shared trunk")
    composite = Composite(tree, networks, Routing(rule))
    signatures.save(folder, composite, _IMAGE_SIZE, serving.Serving())
    signature = verification.read_meta_graph(epath.Path(folder)).signature_def[
        signatures.PREDICT_IMAGES
    ]
    outputs = [signature.outputs[name].name for name in ("path", "scores")]
    return signature.inputs["images"].name, outputs


def make_tree(num_leaves: int) -> nodes.Tree:
    """A leaf, or a branch with leaves of equal size."""
    if not num_leaves:
        return nodes.Tree(nodes.Leaf("root", _CLASSES, "root"))
    size = len(_CLASSES) // num_leaves
    leaves = tuple(
        nodes.Leaf(f"root.{k}", _CLASSES[k * size : (k + 1) * size], f"leaf{k}")
        for k in range(num_leaves)
    )
    return nodes.Tree(nodes.Branch("root", _CLASSES, "root", leaves))


def make_networks(tree: nodes.Tree, shared: bool) -> dict:
    """A network for each node, with random weights."""
    import keras

    from hierkeras.models.registry import ModelConfig, build_model

    keras.utils.set_random_seed(0)
    config = ModelConfig("small_cnn", _IMAGE_SIZE)
    networks = {
        n.job: build_model(config, len(n.classes)) for n in tree.nodes()
    }
    spread(networks[tree.root.job])
    if shared:
        for leaf in tree.leaves:
            for layer in networks[leaf.job].layers:
                if layer.weights and not layer.name.startswith(_OWN):
                    trunk = networks[tree.root.job].get_layer(layer.name)
                    layer.set_weights(trunk.get_weights())
    return networks


def spread(network: Any) -> None:
    """Makes a network's answers differ from image to image."""
    from hierkeras.models import surgery

    images = np.concatenate([*requests(batch=32, count=8)]).astype(np.float32)
    features = surgery.feature_extractor(network).predict(images, verbose=0)
    kernel, _ = network.get_layer(surgery.HEAD).get_weights()
    kernel = kernel * 10 / (features.std(axis=0) + 1e-6)[:, np.newaxis]
    bias = -features.mean(axis=0) @ kernel
    network.get_layer(surgery.HEAD).set_weights([kernel, bias])


def requests(batch: int, count: int) -> Iterator[np.ndarray]:
    """Yields batches of images, each with a colour and a noise of its own."""
    generator = np.random.default_rng(0)
    size = (_IMAGE_SIZE, _IMAGE_SIZE, 3)
    for _ in range(count):
        colours = generator.integers(0, 200, (batch, 1, 1, 3))
        noise = generator.integers(0, 56, (batch, *size))
        yield (colours + noise).astype(np.uint8)


def measure(
    models: dict[str, c_api.SavedModel],
    tensors: dict[str, tuple[str, list[str]]],
    batch: int,
    rounds: int,
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Runs requests in turns.

    Returns:
        For each round, by kind, the seconds of a request; and by kind the
        mean number of leaves that a request reaches.
    """
    kinds = list(models)
    measured = []
    leaves = dict.fromkeys(kinds, 0.0)
    for number, images in enumerate(requests(batch, rounds)):
        seconds = {}
        turn = number % len(kinds)
        for kind in (*kinds[turn:], *kinds[:turn]):
            given, wanted = tensors[kind]
            start = time.perf_counter()
            paths, _ = models[kind].run({given: images}, wanted)
            seconds[kind] = time.perf_counter() - start
            leaves[kind] += len(set(paths)) / rounds
        measured.append(seconds)
    return measured, leaves


def report(
    batch: int, measured: list[dict[str, float]], leaves: dict[str, float]
) -> None:
    """Prints medians, and ratios of one round's runs."""
    print(
        f"batch {batch}, {_ROUTING.value} routing, {len(measured)} rounds, "
        f"{len(os.sched_getaffinity(0))} cores"
    )
    for kind in _KINDS:
        times = sorted(seconds[kind] for seconds in measured)
        p50, p95 = statistics.median(times), times[len(times) * 95 // 100]
        print(
            f"  {kind:13} p50 {p50 * 1e3:6.2f} ms  p95 {p95 * 1e3:6.2f} ms  "
            f"{batch / p50:7,.0f} images/s  {leaves[kind]:4.1f} leaves reached"
        )
    for kind, other in _PAIRS:
        ratios = [seconds[kind] / seconds[other] for seconds in measured]
        print(f"  {kind} / {other}: median {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    _main.run(main)
