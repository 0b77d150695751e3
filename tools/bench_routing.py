"""Measures how routing's cost and memory go with the number of children.

    python tools/bench_routing.py [--sizes=16x1024,256x5000,1000x22000]

A branch over leaves, whose outputs are made up, answers for --num_images by
soft routing of the two most probable leaves, as `hierkeras.evaluate` asks it.
Each size runs in a process of its own, whose peak memory is told.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from typing import Any

import numpy as np
from absl import flags

from hierkeras import _main
from hierkeras.tree.nodes import Branch, Leaf, Node, Tree
from hierkeras.tree.routing import Routing

_SIZES = flags.DEFINE_list(
    "sizes",
    ["16x1024", "256x5000", "1000x22000"],
    "Numbers of children, and of classes.",
)
_IMAGES = flags.DEFINE_integer("num_images", 10_000, "Images.", lower_bound=1)


class Outputs:
    """Softmax outputs of any node, made up anew whenever they are asked for."""

    def node_probabilities(self, node: Node, rows: np.ndarray) -> np.ndarray:
        """See `hierkeras.training.predictor.Predictor`."""
        random = np.random.default_rng(len(node.name))
        shape = (len(rows), len(node.classes))
        found = random.random(shape, np.float32)
        found /= found.sum(axis=1, keepdims=True)
        return found

    def forget_outputs(self) -> None:
        """Nothing is remembered."""


def main() -> None:
    """Prints a table."""
    print("| children | classes | images | s | GB |")
    print("|---|---|---|---|---|")
    for size in _SIZES.value:
        children, classes = map(int, size.split("x"))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            asked = (children, classes, _IMAGES.value)
            seconds, gigabytes = pool.apply(measured, asked)
        print(
            f"| {children:,} | {classes:,} | {_IMAGES.value:,} "
            f"| {seconds:.1f} | {gigabytes:.2f} |",
            flush=True,
        )


def measured(children: int, classes: int, images: int) -> tuple[float, float]:
    """Seconds that answering takes, and GB beyond those of the libraries."""
    from hierkeras.analysis.answers import answer  # brings TensorFlow

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    names = [f"class {number}" for number in range(classes)]
    parts = np.array_split(np.array(names, dtype=object), children)
    leaves = tuple(
        Leaf(f"root.{k}", tuple(part), f"leaf{k}")
        for k, part in enumerate(parts, start=1)
    )
    tree = Tree(Branch("root", tuple(names), "root", leaves))
    outputs: Any = Outputs()
    labels = np.arange(images) % classes
    begun = time.perf_counter()
    answer(tree, np.arange(images), labels, outputs, Routing("soft"), ("soft",))
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds, (after - before) / 1e6


if __name__ == "__main__":
    _main.run(main)
