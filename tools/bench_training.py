"""Measures what training through the project costs over bare `model.fit`.

    python tools/bench_training.py

One model is trained in turns, from the same weights on the same decoded
images, by

  project      `hierkeras.training.fit.fit`, as a job does it: its own batches
               from cached images, lines on stderr, TensorBoard, a checkpoint
  bare         `model.fit` over a plain tf.data pipeline from the same arrays
  bare, same   `model.fit` over exactly the project's data sets

with the same compile arguments, augmentation and validation, all in this
process. A run's time includes all that a job repeats: compiling the model,
tracing it and making the data sets. The first round warms up and is not
counted. What matters is the ratio of two runs of one round, in seconds on the
clock and in seconds of the processors: the latter leave out what a shared
machine takes away.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from etils import epath

from hierkeras import _main
from hierkeras.data import registry as sources
from hierkeras.data.source import DataConfig
from hierkeras.models import registry as models
from hierkeras.recipe.training import Training
from hierkeras.training import startup
from hierkeras.training.context import Runtime

_BACKBONE = flags.DEFINE_enum(
    "backbone", "small_cnn", list(models.BACKBONES), "Network to train."
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 64, "Height and width in pixels.", lower_bound=1
)
_NUM_IMAGES = flags.DEFINE_integer(
    "num_images",
    8192,
    "Random photos, 85 % of them to train on.",
    lower_bound=1000,
)
_NUM_CLASSES = flags.DEFINE_integer(
    "num_classes",
    30,
    "Classes, of random labels.",
    lower_bound=2,
    upper_bound=100,
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 128, "Images in a step.", lower_bound=1
)
_EPOCHS = flags.DEFINE_integer(
    "epochs", 3, "Epochs in a run, each validated once.", lower_bound=1
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 5, "Measured rounds, each a run of every kind.", lower_bound=1
)
_AUGMENT = flags.DEFINE_bool(
    "augment", False, "Augment the images, in every kind of run."
)

_SEED = 0
_KINDS = ("project", "bare", "bare, same")


@dataclasses.dataclass(frozen=True)
class Bench:
    """What every run trains, and on what.

    Args:
        model: The model.
        weights: Its weights at the start of each run.
        recipe: How it is trained.
        images: The project's `Images`, all of them in memory.
        samples: Split to indices and labels.
        steps: Training steps in an epoch.
    """

    model: Any
    weights: list[np.ndarray]
    recipe: Training
    images: Any
    samples: dict[str, tuple[np.ndarray, np.ndarray]]
    steps: int

    def project(
        self,
        probes: int = 0,
        around: Callable[[Any], Any] = lambda probes: probes,
    ) -> None:
        """As `hierkeras.training.run_job` trains.

        Args:
            probes: Batches between two looks of the probes; 0: none.
            around: What is put around them.
        """
        from hierkeras.training import fit
        from hierkeras.training.losses import Objective
        from hierkeras.training.tensorboard import RunWriter

        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.closing(RunWriter(epath.Path(folder))) as writer,
        ):
            objective = Objective(self.model)
            watchers = []
            if probes:
                watchers = [around(self._probes(objective, probes, writer))]
            fit.fit(
                objective,
                self.recipe,
                fit.Examples(
                    self.images,
                    self.samples["train"],
                    self.samples["validation"],
                ),
                fit.Run(
                    "project",
                    _SEED,
                    Runtime(),
                    writer,
                    epath.Path(folder) / "checkpoint",
                    watchers=watchers,
                ),
            )

    def _probes(self, objective: Any, interval: int, writer: Any) -> Any:
        """Looks inside a flat increment by the second half of the classes."""
        from hierkeras.training.probes.arrivals import Columns
        from hierkeras.training.probes.callback import Probes, Watched

        catalogue = self.images.source.catalogue
        columns = np.arange(len(catalogue.class_names))
        watched = Watched(
            self.images,
            self.samples["train"],
            self.samples["validation"],
            catalogue.class_names,
            Columns(*np.array_split(columns, 2)),
            catalogue.keys,
        )
        batch_size = self.recipe.batch_size
        return Probes(objective, watched, interval, batch_size, _SEED, writer)

    def bare(self) -> None:
        """`model.fit` over plain pipelines from arrays."""
        self._fit(self._plain("train"), self._plain("validation"))

    def bare_same(self) -> None:
        """`model.fit` over the project's data sets."""
        self._fit(self._projects("train"), self._projects("validation"))

    def _fit(self, training: Any, validation: Any) -> None:
        from hierkeras.training import fit
        from hierkeras.training.losses import Objective

        fit.compile_model(
            Objective(self.model), self.recipe, self.steps, Runtime()
        )
        self.model.fit(
            training,
            epochs=self.recipe.max_epochs,
            steps_per_epoch=self.steps,
            validation_data=validation,
            validation_steps=-(-self._look() // self._batch("validation")),
            shuffle=False,  # the data sets are shuffled already
            verbose=0,
        )

    def _plain(self, split: str) -> Any:
        import tensorflow as tf

        from hierkeras.data.augment import random_augmented

        def finish(number, batch):
            images, labels = batch
            if split == "train" and self._augments():
                seed = tf.stack([tf.constant(_SEED, tf.int64), number])
                images = random_augmented(images, "shift_mirror", seed)
            return tf.cast(images, tf.float32), labels

        arrays = decoded(self.images, *self.samples[split])
        return (
            tf.data.Dataset.from_tensor_slices(arrays)
            .shuffle(len(arrays[1]), seed=_SEED)
            .repeat()
            .batch(self._batch(split), drop_remainder=True)
            .enumerate()
            .map(finish, num_parallel_calls=tf.data.AUTOTUNE)
            .prefetch(tf.data.AUTOTUNE)
        )

    def _projects(self, split: str) -> Any:
        return self.images.training_batches(
            *self.samples[split],
            batch_size=self._batch(split),
            seed=_SEED,
            augment=split == "train" and self._augments(),
        )

    def _augments(self) -> bool:
        return self.recipe.augment == "shift_mirror"

    def _look(self) -> int:
        """Validation images of one validation."""
        available = len(self.samples["validation"][0])
        return min(self.recipe.validation_samples, available)

    def _batch(self, split: str) -> int:
        batch = self.recipe.batch_size
        return batch if split == "train" else min(batch, self._look())


def main() -> None:
    """Runs the rounds and prints the table."""
    startup.start_tensorflow()
    bench = prepare()
    runs = dict(
        zip(_KINDS, (bench.project, bench.bare, bench.bare_same), strict=True)
    )
    rounds = []
    for number in range(_ROUNDS.value + 1):
        # Whoever comes first does so in turns.
        turn = number % len(_KINDS)
        order = (*_KINDS[turn:], *_KINDS[:turn])
        rounds.append({kind: timed(bench, runs[kind]) for kind in order})
    report(bench, rounds[1:])


def prepare() -> Bench:
    """Opens random photos as a data set and builds the model."""
    import keras

    from hierkeras.data.images import Images
    from hierkeras.training import fit

    keras.utils.set_random_seed(_SEED)
    size, count = _IMAGE_SIZE.value, _NUM_IMAGES.value
    generator = np.random.default_rng(_SEED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photos.npz"
        np.savez(
            path,
            images=generator.integers(
                0, 256, (count, size, size, 3), dtype=np.uint8
            ),
            labels=np.arange(count) % _NUM_CLASSES.value,
        )
        source = sources.open_source(DataConfig(f"npz:{path}"))
    catalogue, classes = source.catalogue, source.catalogue.class_names
    images = Images(source, size, cache="memory")
    samples = {}
    for split in ("train", "validation"):
        indices = catalogue.indices(split, classes)
        images.prepare(indices)  # a job finds its images decoded
        samples[split] = indices, catalogue.labels_among(indices, classes)
    recipe = Training(
        schedule="cosine",
        batch_size=_BATCH_SIZE.value,
        max_epochs=_EPOCHS.value,
        augment="shift_mirror" if _AUGMENT.value else "none",
    )
    model = models.build_model(
        models.ModelConfig(_BACKBONE.value, size), len(classes)
    )
    steps = fit.steps_per_epoch(recipe, len(samples["train"][0]))
    return Bench(model, model.get_weights(), recipe, images, samples, steps)


def decoded(
    images: Any, indices: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decoded images as one uint8 array, and their labels."""
    batches = images.evaluation_batches(indices, 256)
    arrays = [batch.numpy().astype(np.uint8) for batch in batches]
    return np.concatenate(arrays), labels


class Seconds(NamedTuple):
    """What a run took: on the clock, and of all processors together."""

    clock: float
    processors: float


def timed(bench: Bench, run: Callable[[], None]) -> Seconds:
    """Times a run from the same weights as every other."""
    bench.model.set_weights(bench.weights)
    clock, processors = time.perf_counter(), time.process_time()
    run()
    return Seconds(
        time.perf_counter() - clock, time.process_time() - processors
    )


def report(bench: Bench, rounds: list[dict[str, Seconds]]) -> None:
    """Prints each round and, by its median, the cost of the project."""
    swept = bench.steps * bench.recipe.batch_size * bench.recipe.max_epochs
    print(
        f"{_BACKBONE.value}, {_IMAGE_SIZE.value} pixels, batch "
        f"{bench.recipe.batch_size}, {bench.steps * bench.recipe.max_epochs} "
        f"steps a run, augmentation {bench.recipe.augment}; "
        f"{len(os.sched_getaffinity(0))} cores"
    )
    print("seconds" + "".join(f"{kind:>13}" for kind in _KINDS))
    for number, seconds in enumerate(rounds, start=1):
        cells = "".join(f"{seconds[kind].clock:13.2f}" for kind in _KINDS)
        print(f"{number:7}{cells}")
    medians = [
        statistics.median(r[kind].clock for r in rounds) for kind in _KINDS
    ]
    print("image/s" + "".join(f"{swept / median:13,.0f}" for median in medians))
    for kind in _KINDS[1:]:
        for what in Seconds._fields:
            ratios = [
                getattr(r["project"], what) / getattr(r[kind], what)
                for r in rounds
            ]
            print(
                f"project / {kind}, {what}: "
                f"median {statistics.median(ratios):.3f}, "
                f"min {min(ratios):.3f}, max {max(ratios):.3f}"
            )


if __name__ == "__main__":
    _main.run(main)
