"""A job's run in TensorBoard: name, HParams and layout, read back."""

import re

import msgspec
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from hierkeras.training import job_run
from hierkeras.training.run_job import run_job
from hierkeras.training.spec import Clone, Preview, Scratch, Together


@pytest.fixture(scope="module")
def events(trained):
    context, result = trained
    run = job_run.folder(context.store, result.spec, result.label)
    return EventAccumulator(str(run), {"tensors": 0}).Reload()


def hparams(events, tag):
    """What HParams keeps of a run under a tag."""
    raw = events.SummaryMetadata(tag).plugin_data.content
    data = plugin_data_pb2.HParamsPluginData.FromString(raw)
    return getattr(data, data.WhichOneof("data"))


def test_a_run_is_named_for_people(trained):
    context, result = trained
    [run] = context.store.tensorboard.glob("root-first-*")

    assert run.name == f"root-first-4-classes-{result.job[:8]}"


def test_hparams_tell_what_a_job_was_asked(trained, events):
    _, result = trained
    begun = hparams(events, metadata.SESSION_START_INFO_TAG)
    told = {
        name: getattr(value, value.WhichOneof("kind"))
        for name, value in begun.hparams.items()
    }
    spec = result.spec
    expected = {"start": "scratch", "classes": 4}
    expected |= msgspec.to_builtins(spec.network)
    expected |= msgspec.to_builtins(spec.training)
    assert told == {
        name: "unset" if value is None else value
        for name, value in expected.items()
    }
    assert told["initial_learning_rate"] == 0.1
    assert begun.group_name == result.job
    ended = hparams(events, metadata.SESSION_END_INFO_TAG)
    assert ended.status == 1  # success
    assert ended.end_time_secs > begun.start_time_secs


@pytest.mark.parametrize(
    "start",
    [
        Scratch(),
        Clone("1", "random", 0.5, 0.1, 2),
        Together("1", 0.5, 0.1, (("0", "1"), ("2", "3")), 1),
    ],
)
def test_every_job_fits_the_columns_of_the_table(trained, events, start):
    _, result = trained
    experiment = hparams(events, metadata.EXPERIMENT_TAG)
    columns = [info.name for info in experiment.hparam_infos]
    assert len(columns) == len(set(columns))

    asked = job_run.asked(msgspec.structs.replace(result.spec, start=start))

    assert set(asked) <= set(columns)
    if not isinstance(start, Scratch):
        assert asked["shrink"] == 0.5
    assert {type(value) for value in asked.values()} <= {int, float, str, bool}


def test_what_came_of_a_job_is_a_metric(trained, events):
    _, result = trained
    measured = result.measured
    expected = {
        "measured/top1_error": measured.top1_error,
        "measured/top5_error": measured.top5_error,
        "measured/loss": measured.loss,
        "measured/images_swept": result.images_swept,
        "measured/seconds": result.seconds,
    }
    experiment = hparams(events, metadata.EXPERIMENT_TAG)
    metrics = [info.name.tag for info in experiment.metric_infos]
    assert metrics == list(job_run.MEASURED)
    assert set(metrics) == set(expected)
    for tag, value in expected.items():
        [event] = events.Tensors(tag)
        assert event.step == result.epochs
        found = tf.make_ndarray(event.tensor_proto)
        assert found == pytest.approx(value, rel=1e-6)


def test_charts_group_every_scalar_of_a_training(events):
    tag = "custom_scalars__config__"
    [event] = events.Tensors(tag)
    raw = tf.make_ndarray(event.tensor_proto).item()
    layout = layout_pb2.Layout.FromString(raw)

    charts = {
        chart.title: [re.compile(tag) for tag in chart.multiline.tag]
        for category in layout.category
        for chart in category.chart
    }
    assert len(layout.category) == 3 and len(charts) == 10
    own = {"_hparams_/", "measured/", tag}
    scalars = [
        name
        for name in events.Tags()["tensors"]
        if not name.startswith(tuple(own))
    ]
    assert len(scalars) == 6
    layers = ["gradient_l2/logits", "derivative_l1/conv", "activation_l1/a"]
    for name in [*scalars, *layers, "look/error", "distance/new from old"]:
        shown = [
            title
            for title, tags in charts.items()
            if any(tag.match(name) for tag in tags)
        ]
        assert len(shown) == 1, name


def test_a_job_without_a_training_has_a_run(trained, make_spec):
    context, parent = trained
    spec = make_spec(context, ("4", *parent.spec.classes))
    spec = msgspec.structs.replace(spec, start=Preview(parent.job))

    result = run_job(spec, "root preview", context)

    run = job_run.folder(context.store, spec, "root preview")
    events = EventAccumulator(str(run)).Reload()
    [event] = events.Tensors("measured/top1_error")
    found = tf.make_ndarray(event.tensor_proto)
    assert found == pytest.approx(result.measured.top1_error)
