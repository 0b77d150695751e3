"""What leaves above a trunk cost to serve, against one flat head.

    python tools/bench_leaves.py efficientnet_lite0.keras --leaves=4,64,256

Trees of random heads over the same classes, one branch and its leaves, answer
in graph ops as an export does; flat model and tree take turns.
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

from hierkeras.models import blocks, foreign, trunks
from hierkeras.serving.graph.composite import Composite
from hierkeras.tree.nodes import Branch, Leaf, Tree
from hierkeras.tree.routing import Routing

_ROUNDS = 15


def main() -> None:
    """Prints p50 of batches and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone")
    parser.add_argument("--classes", type=int, default=1_024)
    parser.add_argument("--leaves", default="4,16,64,256")
    parser.add_argument("--batches", default="1,32")
    asked = parser.parse_args()
    trunk = trunks.cut(foreign.load(asked.backbone), input_range=None).network
    names = [f"class-{number}" for number in range(asked.classes)]
    flat = _answering(Tree(Leaf("root", tuple(names), "flat")), trunk)
    print("| leaves | batch | flat ms | tree ms | ratio |")
    print("|---|---|---|---|---|")
    for leaves in map(int, asked.leaves.split(",")):
        parts = np.array_split(np.array(names, dtype=object), leaves)
        tree = Branch(
            "root",
            tuple(names),
            "flat",
            tuple(
                Leaf(f"root.{k}", tuple(part), f"leaf-{k}")
                for k, part in enumerate(parts)
            ),
            fusion_exponent=0.5,
        )
        grown = _answering(Tree(tree), trunk)
        for batch in map(int, asked.batches.split(",")):
            times = _alternating(flat, grown, batch, trunk.input_shape[1])
            one, other = 1000 * np.median(times, axis=0)
            ratio = np.median(times[:, 1] / times[:, 0])
            print(
                f"| {leaves} | {batch} | {one:.1f} | {other:.1f} "
                f"| {ratio:.3f} |",
                flush=True,
            )


def _answering(tree: Tree, trunk: keras.Model):
    models = {
        node.job: blocks.classifier(
            trunk.input, trunk.output, len(node.classes), 0.0, "solved"
        )
        for node in tree.nodes()
    }
    composite = Composite(tree, models, Routing("fused"))
    side = trunk.input_shape[1]
    return tf.function(
        composite,
        autograph=False,
        input_signature=[tf.TensorSpec([None, side, side, 3], tf.uint8)],
    )


def _alternating(flat, tree, batch: int, side: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    images = tf.constant(
        generator.integers(0, 256, (batch, side, side, 3), np.uint8)
    )
    times = []
    for number in range(_ROUNDS + 1):
        taken = []
        for answer in (flat, tree):
            began = time.perf_counter()
            answer(images)[0].numpy()
            taken.append(time.perf_counter() - began)
        if number:  # the first ones are traced
            times.append(taken)
    return np.array(times)


if __name__ == "__main__":
    main()
