"""What a training tells: TensorBoard, lines, and a loss that is no number."""

import math

import keras
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from hierkeras.training import job_run, results
from hierkeras.training.monitoring import Diverged, Monitor

LOGS = {"loss": 0.5, "accuracy": 0.75, "val_loss": 0.625, "val_accuracy": 0.5}


@pytest.fixture
def monitor():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1))
    monitor = Monitor("root flat", images_per_epoch=64, epochs=2)
    monitor.set_model(model)
    monitor.on_epoch_begin(0)
    return monitor


def test_tensorboard_holds_every_epoch_of_a_job(trained):
    context, result = trained
    run = job_run.folder(context.store, result.spec, result.label)

    events = EventAccumulator(str(run)).Reload()

    history = results.read_history(context.store, result.job)
    names = {"loss", "error", "validation_loss", "validation_error"}
    names |= {"learning_rate", "images_per_second"}
    assert names < set(events.Tags()["tensors"])
    for name in names:
        points = events.Tensors(name)
        assert [point.step for point in points] == [1, 2, 3]
        values = [
            float(tf.make_ndarray(point.tensor_proto)) for point in points
        ]
        wanted = [entry[name] for entry in history]
        assert values == pytest.approx(wanted)
        assert min(values) >= 0


def test_an_epoch_is_one_line(monitor, capsys):
    monitor.on_epoch_end(0, LOGS)

    out, err = capsys.readouterr()
    assert out == ""
    line, rate_of_images = err.rsplit(", ", 1)
    assert line == (
        "[root flat] epoch 1/2: loss 0.500, error 25.0%, "
        "validation error 50.0%, rate 0.1"
    )
    assert rate_of_images.endswith(" images/s\n")


@pytest.mark.parametrize(
    "logs",
    [
        {"loss": float("nan")},
        {"val_loss": float("inf")},
        {"loss": 101 * math.log(2)},
    ],
)
def test_a_loss_beyond_all_bounds_ends_the_training(monitor, logs):
    with pytest.raises(Diverged, match="after epoch 1 at learning rate"):
        monitor.on_epoch_end(0, {**LOGS, **logs})


def test_a_bad_beginning_does_not(monitor):
    monitor.on_epoch_end(0, {**LOGS, "loss": 20.0, "val_loss": 1e3})
