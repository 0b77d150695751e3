"""Grows a tree of models by the classes that it does not know yet.

    python -m hierkeras.increment --flagfile=flags/digits.flags

Runs every increment step that is pending, then tells what happened in each.
Run again, it finds nothing new and says so.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from absl import flags

from hierkeras import (
    _common_flags,
    _export_flags,
    _growth_flags,
    _main,
    _stream_flags,
    _training_flags,
)
from hierkeras._errors import UserError
from hierkeras._increment_report import Report
from hierkeras.data import registry
from hierkeras.data.splits import check_enough
from hierkeras.growth import changes, relearn, settings, steps, summary
from hierkeras.serving.checks import publication
from hierkeras.training import executors, results, startup
from hierkeras.training.context import Context, ContextConfig
from hierkeras.tree.generation import Generation
from hierkeras.tree.routing import Routing
from hierkeras.tree.store import Store

if TYPE_CHECKING:
    from hierkeras.serving.exporting import Exported  # imports TensorFlow

_EXPORT = flags.DEFINE_bool(
    "export",
    True,
    "Export the tree for TensorFlow Serving when the steps are done.",
)

flags.adopt_module_key_flags(_common_flags)
flags.adopt_module_key_flags(_export_flags)
flags.adopt_module_key_flags(_growth_flags)
flags.adopt_module_key_flags(_stream_flags)
flags.adopt_module_key_flags(_training_flags)


def main() -> None:
    """Grows the tree by what is pending."""
    model = _training_flags.model_config()
    store = Store(_common_flags.WORKDIR.value)
    latest = store.latest()
    data = _stream_flags.data_config(latest)
    if data.dataset.startswith("tfds:"):
        startup.start_tensorflow()  # which such a data set needs at once
    source = registry.open_source(data)
    growth = _growth_flags.growth_options(latest)
    wanted = settings.to_settings(source, data, model, growth.routing)
    if latest is not None:
        settings.check_same(latest, wanted, source, str(store.root))
        results.check_jobs(store, latest, model.image_size)
    batches = _stream_flags.pending_batches(source, latest, growth)
    context = Context(
        ContextConfig(
            workdir=str(store.root),
            data=data,
            image_size=model.image_size,
            cache=_common_flags.cache(),
            runtime=_training_flags.runtime(),
        ),
        source,
    )
    changed = _changes(latest, context)
    relearns = _growth_flags.RELEARN.value and relearn.is_pending(
        changed, growth
    )
    report = Report(latest, changed)
    known = latest.tree.classes if latest else ()
    if batches or relearns:
        check_enough(context.catalogue, known)
    for line in (
        *summary.change_lines(changed),
        *summary.case_lines(known, batches),
    ):
        print(line, file=sys.stderr)
    if not batches and not relearns and not _lacks_export(store, latest):
        if store.is_held():
            _clean_up(store)
        report.print([], None)
        return
    config = steps.StepConfig(
        _growth_flags.job_plan(model, source.is_photos, latest),
        growth,
        wanted,
        _stream_flags.MAX_BAD_IMAGES.value,
        _growth_flags.RELEARN.value,
    )
    with store.lock():
        if store.latest() != latest:
            raise UserError(
                f"work directory {store.root} grew while this process "
                "started; run the same command again"
            )
        # TensorFlow takes seconds to start; mistakes have been found by now.
        startup.start_tensorflow(context.config.runtime.deterministic)
        grows = batches or relearns
        done = _grow(context, batches, config) if grows else []
        try:
            exported = _export(context, store.latest(), growth.routing)
        except UserError:
            report.print(done, None)
            raise
    report.print(done, exported)


def _changes(latest: Generation | None, context: Context) -> changes.Changes:
    """What changed since the tree was trained."""
    if latest is None:
        return changes.Changes()
    context.leave_out_as(latest.step)
    return changes.find_changes(latest, context)


def _grow(
    context: Context,
    batches: list[tuple[str, ...]],
    config: steps.StepConfig,
) -> list[Generation]:
    from hierkeras.analysis import step_summary
    from hierkeras.training.predictor import Predictor

    predictor = Predictor(context)
    executor = _executor()
    done = []
    try:
        for generation in steps.grow(
            context, batches, config, executor, predictor
        ):
            step_summary.write(
                context, generation, predictor, config.options.routing
            )
            print(summary.step_lines(generation)[0], file=sys.stderr)
            done.append(generation)
    finally:
        executor.close()
    return done


def _clean_up(store: Store) -> None:
    """Does what is left after a process was killed as it ended."""
    with store.lock():
        if _EXPORT.value:
            publication.prune(store.serving, _export_flags.keep_versions())


def _lacks_export(store: Store, latest: Generation | None) -> bool:
    return (
        _EXPORT.value
        and latest is not None
        and not (store.serving / str(latest.number)).exists()
    )


def _export(
    context: Context, latest: Generation | None, routing: Routing
) -> Exported | None:
    if latest is None or not _lacks_export(context.store, latest):
        return None
    from hierkeras.serving import exporting
    from hierkeras.training.predictor import Predictor

    context.leave_out_as(latest.step)
    return exporting.export(
        latest,
        context,
        Predictor(context),
        _export_flags.export_config(routing),
    )


def _executor() -> executors.Executor:
    if _training_flags.EXECUTOR.value == "inline":
        return executors.InlineExecutor()
    from hierkeras.training import strategy  # starts TensorFlow

    return executors.ProcessExecutor(
        executors.shares(
            _training_flags.NUM_WORKERS.value,
            strategy.share_gpus(),
            _training_flags.GPUS_PER_JOB.value,
        )
    )


if __name__ == "__main__":
    _main.run(main)
