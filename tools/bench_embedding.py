"""Measures what embedding costs beside the trunk alone and decoding alone.

    python tools/bench_embedding.py folder:photos efficientnet.keras

In turns, over the same photos: `predict` of the trunk over batches that are
decoded already (trunk), reading and decoding them (decoding), and both with
features written to a disk, as an increment does it (embedding). Embedding can
be no faster than the slower of the two others.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
from etils import epath

from hierkeras.data import registry
from hierkeras.data.images import Images
from hierkeras.data.source import DataConfig
from hierkeras.features.embedding import Embedding
from hierkeras.models import foreign, trunks

_BATCH = 64


def main() -> None:
    """Prints images a second, and ratios of the runs of one round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("backbone")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    trunk = trunks.cut(foreign.load(asked.backbone), input_range=None).network
    source = registry.open_source(DataConfig(asked.dataset))
    side = trunk.input_shape[1]
    count = min(asked.images, len(source.catalogue.keys))
    indices = np.arange(count)

    def images() -> Images:
        return Images(source, side, cache="none")

    decoded = np.concatenate(
        [b.numpy() for b in images().evaluation_batches(indices, _BATCH)]
    )

    def bare() -> None:
        trunk.predict(decoded, batch_size=_BATCH, verbose=0)

    def decode() -> None:
        for _ in looked_at.evaluation_batches(indices, _BATCH):
            pass

    def embed() -> None:
        with tempfile.TemporaryDirectory() as folder:
            Embedding(
                epath.Path(folder) / "features",
                lambda: trunk,
                looked_at,
                progress="none",
            ).of(indices)

    # Each image is looked at once in a run, whatever it is for.
    looked_at = images()
    looked_at.prepare(indices)
    runs: dict[str, Callable[[], None]] = {
        "trunk": bare,
        "decoding": decode,
        "embedding": embed,
    }
    rounds = []
    for number in range(asked.rounds + 1):
        order = list(runs)[number % 3 :] + list(runs)[: number % 3]
        rounds.append({name: seconds(runs[name]) for name in order})
    for name in runs:
        rates = [count / one[name] for one in rounds[1:]]
        print(f"{name}: {statistics.median(rates):,.0f} images a second")
    ratios = [
        max(one["trunk"], one["decoding"]) / one["embedding"]
        for one in rounds[1:]
    ]
    print(
        "embedding by the slower of both: median "
        f"{statistics.median(ratios):.2f}, {min(ratios):.2f} to "
        f"{max(ratios):.2f}"
    )


def seconds(run: Callable[[], None]) -> float:
    """What a run takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
