"""Keras's loop as the recipe asks for it, on networks that know no luck."""

import functools
import io
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf

from hierkeras import _progress
from hierkeras.data.arrays import ArraySource, checksums
from hierkeras.data.catalogue import Catalogue
from hierkeras.data.images import Images
from hierkeras.recipe.training import Training
from hierkeras.training.context import Runtime
from hierkeras.training.fit import Examples, Run, fit, steps_per_epoch
from hierkeras.training.losses import Objective


@pytest.fixture(scope="module")
def images():
    zeros = np.zeros((12, 2, 2, 3), np.uint8)
    catalogue = Catalogue(
        ("n",),
        np.array([f"n/{index}" for index in range(12)]),
        np.zeros(12, np.int32),
        np.zeros(12, np.int8),
        checksums(zeros),
    )
    return Images(ArraySource("zeros", "npz", catalogue, zeros), 2)


def constant_model(num_classes):
    """A network that always names class 0, and learns nothing at rate 0."""
    dense = keras.layers.Dense(
        num_classes, kernel_initializer="zeros", name="logits"
    )
    model = keras.Sequential(
        [keras.Input((2, 2, 3)), keras.layers.Flatten(), dense]
    )
    dense.set_weights(
        [dense.kernel.numpy(), -np.arange(num_classes, dtype="f")]
    )
    return model


def run(images, model, validation_labels, progress="none", **recipe):
    indices = np.arange(len(validation_labels))
    labels = np.array(validation_labels, np.int32)
    examples = Examples(
        images,
        (np.arange(6, 12), np.zeros(6, np.int32)),
        (indices, labels),
    )
    run = Run("root", 0, Runtime(progress=progress))
    return fit(
        Objective(model), Training(augment="none", **recipe), examples, run
    ).history


def test_an_epoch_of_cosine_is_a_pass_over_the_images():
    recipe = Training(schedule="cosine", batch_size=128)

    assert steps_per_epoch(recipe, 1_000) == 8
    assert steps_per_epoch(recipe, 30) == 1


def test_an_epoch_of_adaptive_is_a_number_of_samples():
    recipe = Training(batch_size=128, samples_per_check=30_000)

    assert steps_per_epoch(recipe, 100) == 234
    assert steps_per_epoch(recipe, 1_000_000) == 234


def test_each_look_takes_other_validation_images(images):
    history = run(
        images,
        constant_model(2),
        [1, 0, 0, 0, 0, 0],
        schedule="cosine",
        initial_learning_rate=0.0,
        batch_size=2,
        validation_samples=2,
        max_epochs=9,
    )

    # Of the two images of a look one is wrong, or none.
    errors = {entry["validation_error"] for entry in history}
    assert errors == {0.0, 0.5}


def test_all_looks_are_of_one_pipeline(images, monkeypatch):
    begun = []
    begin = tf.data.Dataset.__iter__

    def beginning(self):
        begun.append(self)
        return begin(self)

    monkeypatch.setattr(tf.data.Dataset, "__iter__", beginning)
    history = run(
        images,
        constant_model(2),
        [0] * 6,
        schedule="cosine",
        batch_size=2,
        max_epochs=5,
    )

    assert len(history) == 5
    assert len(begun) == 2  # one of training batches, one of validation


def test_standstill_cuts_the_rate_and_then_ends_the_training(images):
    history = run(
        images,
        constant_model(1),
        [0],
        initial_learning_rate=0.1,
        batch_size=2,
        samples_per_check=4,
        patience=1,
        learning_rate_cuts=1,
    )

    rates = [entry["learning_rate"] for entry in history]
    assert rates == pytest.approx([0.1, 0.1, 0.01])
    assert [entry["images_swept"] for entry in history] == [4, 8, 12]


@pytest.mark.slow
def test_two_devices_learn_what_one_learns(tmp_path):
    script = pathlib.Path(__file__).with_name("two_devices.py")
    root = pathlib.Path(__file__).parents[2]

    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name in ("sgd", "muon"):
        alike = found[name]
        assert alike["replicas"] == [1, 2]
        one, two = alike["losses"]
        assert len(one) == 3 and one[-1] < 0.9 * one[0]
        assert two == pytest.approx(one, rel=1e-4)
        one, two = alike["weights"]
        assert two == pytest.approx(one, rel=1e-3, abs=1e-5)
    assert found["epochs_with_few_validation_images"] == 3
    # A job of two devices leaves a model that needs only one.
    assert found["saved_loss"] == pytest.approx(
        found["measured_loss"], rel=1e-3
    )
    # A branch and its leaves learn together there, too.
    assert found["branch_error"] < 0.4  # 0.75 by chance
    assert found["leaf_error"] < 0.2  # 0.5 by chance


def test_a_terminal_is_shown_a_bar_and_a_pipe_lines(
    images, monkeypatch, capsys
):
    seen = io.StringIO()
    console = functools.partial(
        rich.console.Console, file=seen, force_terminal=True, width=120
    )
    monkeypatch.setattr(_progress, "Console", lambda stderr: console())
    asked = {"schedule": "cosine", "max_epochs": 2, "batch_size": 3}

    run(images, constant_model(2), [0, 1], progress="bar", **asked)

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    for part in ("[root]", "100%", "images/s", "left; epoch 2, validation err"):
        assert part in seen.getvalue(), part
    assert "\x1b[?25h" in seen.getvalue()  # the cursor is there meanwhile

    run(images, constant_model(2), [0, 1], progress="lines", **asked)

    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("[root] epoch 1/2: loss ")
    assert second.startswith("[root] epoch 2/2: loss ")
