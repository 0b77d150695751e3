"""Trains the same network on one and on two devices; `test_fit` compares.

A process of its own: logical devices are fixed when TensorFlow starts.
"""

import json
import sys

import keras
import msgspec
import numpy as np
import tensorflow as tf

from hierkeras.data.images import Images
from hierkeras.data.registry import open_source
from hierkeras.data.source import DataConfig
from hierkeras.models.registry import ModelConfig
from hierkeras.recipe.training import Training
from hierkeras.training.context import Context, ContextConfig, Runtime
from hierkeras.training.fit import Examples, Run, fit
from hierkeras.training.losses import Objective
from hierkeras.training.predictor import Predictor
from hierkeras.training.run_job import run_job
from hierkeras.training.spec import CutOut, JobSpec, Together
from hierkeras.training.strategy import choose_strategy

CLASSES = ("0", "1", "2", "3")
DEVICES = (("CPU:0",), ("CPU:0", "CPU:1"))
DATA = DataConfig("digits", validation_fraction=0.2)
RECIPE = Training(
    schedule="cosine",
    initial_learning_rate=0.02,
    batch_size=64,
    max_epochs=3,
    warmup_epochs=1.0,
    balanced_softmax=False,
    augment="shift_mirror",
)


def build():
    """No batch normalisation: each replica would take its own statistics."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 127.5, -1.0),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(len(CLASSES), name="logits"),
        ]
    )


def trained(recipe, examples, devices):
    """A network, and how its training on these devices went."""
    keras.utils.set_random_seed(0)
    strategy = choose_strategy(devices)
    with strategy.scope():
        model = build()
    run = Run("", 0, Runtime(devices=devices, progress="none"))
    return model, fit(Objective(model), recipe, examples, run)


def on_one_and_two(recipe, examples):
    """What each number of devices makes of a recipe."""
    found = {"replicas": [], "losses": [], "weights": []}
    for devices in DEVICES:
        model, fitted = trained(recipe, examples, devices)
        weights = [w.ravel() for w in model.get_weights()]
        found["replicas"].append(model.distribute_strategy.num_replicas_in_sync)
        found["losses"].append([entry["loss"] for entry in fitted.history])
        found["weights"].append(np.concatenate(weights).tolist())
    return found


def main(workdir):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    source = open_source(DATA)
    images = Images(source, 8)
    samples = []
    for split in ("train", "validation"):
        indices = source.catalogue.indices(split, CLASSES)
        labels = source.catalogue.labels_among(indices, CLASSES)
        samples.append((indices, labels))
    examples = Examples(images, *samples)
    found = {
        name: on_one_and_two(
            msgspec.structs.replace(
                RECIPE, optimizer=name, initial_learning_rate=rate
            ),
            examples,
        )
        for name, rate in (("sgd", 0.02), ("muon", 0.1))
    }

    runtime = Runtime(devices=DEVICES[1], progress="none")
    few = tuple(part[:13] for part in samples[1])
    _, fitted = trained(RECIPE, Examples(images, samples[0], few), DEVICES[1])
    found["epochs_with_few_validation_images"] = len(fitted.history)

    context = Context(ContextConfig(workdir, DATA, 8, runtime=runtime), source)
    spec = JobSpec(
        classes=CLASSES,
        network=ModelConfig("small_cnn", 8, width_multiplier=0.5),
        training=RECIPE,
        data=context.catalogue.fingerprint(CLASSES),
    )
    indices, labels = samples[1]
    result = run_job(spec, "root first", context)
    saved = Predictor(context).probabilities(result.job, indices)
    own = saved[np.arange(len(labels)), labels]
    found["measured_loss"] = result.measured.loss
    found["saved_loss"] = float(-np.log(own).mean())

    together = msgspec.structs.replace(
        spec,
        training=msgspec.structs.replace(
            RECIPE, initial_learning_rate=0.1, max_epochs=8
        ),
        start=Together(result.job, 1.0, 0.0, (("3", "0"), ("1", "2")), 2),
    )
    branch = run_job(together, "root branch", context)
    found["branch_error"] = branch.measured.top1_error
    leaf = msgspec.structs.replace(
        spec,
        classes=("3", "0"),
        data=context.catalogue.fingerprint(("3", "0")),
        start=CutOut(branch.job, 0),
    )
    cut_out = run_job(leaf, "root.1 leaf", context)
    found["leaf_error"] = cut_out.measured.top1_error
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
