"""The run of a job in TensorBoard: what it was asked, and what came of it.

    tensorboard/root-flat-60-classes-1a2b3c4d/

Beside what its training writes epoch by epoch: the spec, for HParams, with
what was measured; and, for Custom scalars, a layout that groups the scalars as
the paper's figures do.
"""

from __future__ import annotations

import contextlib
import functools
import typing
from typing import Any

import msgspec
import tensorflow as tf
from etils import epath
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams_summary

from hierkeras.models.registry import ModelConfig
from hierkeras.recipe.training import Training
from hierkeras.training.results import JobResult
from hierkeras.training.spec import JobSpec, Start
from hierkeras.training.tensorboard import RunWriter, write_scalars
from hierkeras.tree.store import Store

# Category, and its charts: title, and patterns of the tags in it.
LAYOUT: dict[str, dict[str, tuple[str, ...]]] = {
    "Training, by epochs": {
        "loss": ("loss", "validation_loss"),
        "error": ("error", "validation_error"),
        "learning rate": ("learning_rate",),
        "images per second": ("images_per_second",),
    },
    "Why it learns fast, by batches (section 5.2.1)": {
        "Figure 6: error of every class": ("look/error",),
        "Figure 7: l2 norm of weight gradients": ("gradient_l2/.*",),
        "Figure 8: l1 norm of activations": ("activation_l1/.*",),
        "Figure 9: l1 norm of error derivatives": ("derivative_l1/.*",),
    },
    "Old and new classes, by batches (section 5.2.2)": {
        "Figure 10: error of old and new classes": (
            "look/error_of_old_classes",
            "look/error_of_new_classes",
        ),
        "Figure 13: distance in the last hidden layer": ("distance/.*",),
    },
}
MEASURED = {
    "measured/top1_error": "top-1 error, validation images",
    "measured/top5_error": "top-5 error, validation images",
    "measured/loss": "loss in nats, validation images",
    "measured/images_swept": "images swept",
    "measured/seconds": "seconds",
}
# What makes no difference that a number or a word could tell.
_LEFT_OUT = ("parent", "branch", "superclasses", "head")


def folder(store: Store, spec: JobSpec, label: str) -> epath.Path:
    """The folder of a job's run, named for people.

    Args:
        store: The work directory.
        spec: The job.
        label: What it is for.
    """
    name = f"{label} {len(spec.classes)} classes {spec.job[:8]}"
    return store.tensorboard / name.replace(" ", "-")


def begin(store: Store, spec: JobSpec, label: str) -> None:
    """Writes what a job is asked."""
    _write(
        folder(store, spec, label),
        _experiment(),
        hparams.hparams_pb(asked(spec), trial_id=spec.job),
        custom_scalar.pb(layout()),
    )


def end(store: Store, result: JobResult) -> None:
    """Writes what came of a job."""
    run = folder(store, result.spec, result.label)
    values = {
        "measured/images_swept": float(result.images_swept),
        "measured/seconds": result.seconds,
    }
    if result.measured is not None:
        values |= {
            f"measured/{name}": value
            for name, value in msgspec.to_builtins(result.measured).items()
        }
    status = hparams_summary.session_end_pb(api_pb2.STATUS_SUCCESS)
    _write(run, status, values=values, step=result.epochs)


def asked(spec: JobSpec) -> dict[str, Any]:
    """What decides a job, by name: numbers, words, and yes or no."""
    fields = {
        **msgspec.to_builtins(spec.network),
        **msgspec.to_builtins(spec.training),
        **msgspec.structs.asdict(spec.start),
        "start": type(spec.start).__name__.lower(),
        "classes": len(spec.classes),
    }
    return {
        name: "unset" if value is None else value
        for name, value in fields.items()
        if name not in _LEFT_OUT
    }


def layout() -> layout_pb2.Layout:
    """The layout of every job's scalars."""
    return layout_pb2.Layout(
        category=[
            layout_pb2.Category(
                title=category,
                chart=[_chart(title, tags) for title, tags in charts.items()],
            )
            for category, charts in LAYOUT.items()
        ]
    )


def _chart(title: str, tags: tuple[str, ...]) -> layout_pb2.Chart:
    whole = [f"^{tag}$" for tag in tags]
    return layout_pb2.Chart(
        title=title, multiline=layout_pb2.MultilineChartContent(tag=whole)
    )


@functools.cache
def _experiment() -> Any:
    """The columns of the table of all jobs."""
    starts = {
        field
        for start in typing.get_args(Start)
        for field in start.__struct_fields__
    }
    names = (
        "start",
        "classes",
        *ModelConfig.__struct_fields__,
        *Training.__struct_fields__,
        *sorted(starts.difference(_LEFT_OUT)),
    )
    return hparams.hparams_config_pb(
        [hparams.HParam(name) for name in names],
        [
            hparams.Metric(tag, display_name=title)
            for tag, title in MEASURED.items()
        ],
    )


def _write(
    run: epath.Path,
    *summaries: Any,
    values: dict[str, float] | None = None,
    step: int = 0,
) -> None:
    with (
        contextlib.closing(RunWriter(run)) as writer,
        writer.as_default(step=step),
    ):
        for summary in summaries:
            raw = summary.SerializeToString()
            tf.summary.experimental.write_raw_pb(raw, step)
        write_scalars(values or {}, step)
