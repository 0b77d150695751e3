"""Grows a tree of models by the classes that it does not know yet.

    python -m hierkeras.increment --dataset=folder:photos --workdir=runs/photos

Runs every increment step that is pending, then tells what happened in each.
Run again, it finds nothing new and says so.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

from absl import flags

from hierkeras import (
    _common_flags,
    _export_flags,
    _import_flags,
    _increment_report,
    _machine_flags,
    _main,
    _progress_flags,
    _recipe_flags,
    _routing_flags,
    _stream_flags,
    _workdir_flag,
)
from hierkeras._errors import UserError
from hierkeras.data import nothing, registry, told
from hierkeras.data.splits import check_enough
from hierkeras.growth import changes, relearn, steps, summary
from hierkeras.models.registry import ModelConfig
from hierkeras.recipe import compose, fields, presets, remembered, resolve
from hierkeras.recipe.compose import Composed
from hierkeras.recipe.recipe import Recipe
from hierkeras.recipe.remembered import Remembered
from hierkeras.serving.checks import publication
from hierkeras.training import importing, results, startup, trunk_files
from hierkeras.training.context import Context, ContextConfig, Runtime
from hierkeras.tree.generation import Generation
from hierkeras.tree.store import Store

if TYPE_CHECKING:
    import keras
    from etils import epath

    # They import TensorFlow.
    from hierkeras.serving.exporting import Exported
    from hierkeras.training.predictor import Predictor

flags.adopt_module_key_flags(_common_flags)
flags.adopt_module_key_flags(_recipe_flags)
_RELEARN = flags.DEFINE_bool(
    "relearn",
    False,
    "Train again, after what is pending, the leaves that know classes whose "
    "images changed, and refine the branches above them.",
)
_SHOW = flags.DEFINE_bool(
    "show", False, "Tell the recipe, and what is pending; train nothing."
)
_EXPORT = flags.DEFINE_bool(
    "export",
    True,
    "Export the tree for TensorFlow Serving when the steps are done.",
)
_REPORT = flags.DEFINE_bool(
    "report",
    None,
    "Write a page about the tree, report/index.html, when the steps are done. "
    "Without it: of photos, not of digits.",
)
flags.adopt_module_key_flags(_routing_flags)
flags.adopt_module_key_flags(_stream_flags)
flags.adopt_module_key_flags(_export_flags)
flags.adopt_module_key_flags(_machine_flags)
flags.adopt_module_key_flags(_progress_flags)


@dataclasses.dataclass(frozen=True)
class _Run:
    """What a run is about.

    Args:
        store: The work directory.
        latest: The generation that it begins with; None: there is none.
        composed: The recipe, and where it comes from.
        recorded: What new generations record.
        context: The images, less what the last step left out.
        changed: What changed since the tree was trained.
        batches: The new classes of each step.
        trunk: A pretrained network that was given; None: there was none.
        imported: The classifier that was on top of it, if that is imported.
    """

    store: Store
    latest: Generation | None
    composed: Composed
    recorded: Remembered
    context: Context
    changed: changes.Changes
    batches: list[tuple[str, ...]]
    trunk: keras.Model | None = None
    imported: importing.Classifier | None = None

    @property
    def relearns(self) -> bool:
        """Whether images changed that are to be learnt again."""
        growth = self.recorded.recipe.growth
        return _RELEARN.value and relearn.is_pending(self.changed, growth)

    @property
    def differing(self) -> list[str]:
        """The fields that are given, and are not as they are recorded."""
        if self.latest is None:
            return []
        recorded = remembered.read(self.latest)
        before, now = recorded.recipe, self.composed.recipe
        place = self.recorded.data.dataset
        moved = [f"dataset={place}"] * (place != recorded.data.dataset)
        return moved + [
            f"{name}={fields.as_text(fields.value(now, name))}"
            for name in fields.fields()
            if fields.value(now, name) != fields.value(before, name)
        ]

    @property
    def grows(self) -> bool:
        """Whether there is a step to make."""
        return bool(self.batches) or self.relearns

    @property
    def lacks_trunk(self) -> bool:
        """Whether the trunk that was given is not in the work directory."""
        trunk = self.recorded.recipe.network.trunk
        return (
            self.trunk is not None
            and self.latest is not None
            and not self.store.trunk(trunk).exists()
        )


def main() -> None:
    """Grows the tree by what is pending."""
    asked = _recipe_flags.asked()
    if _recipe_flags.wants_help():
        _list_fields(asked)
        return
    store = _workdir_flag.store()
    latest = store.latest()
    run = _open(store, latest, asked)
    if _SHOW.value:
        source = run.context.source
        _increment_report.show(run.composed, run.latest, _pending(run), source)
        return
    _tell(run)
    report = _increment_report.Report(
        latest, run.changed, _RELEARN.value, run.context.source
    )
    lacks_export = _lacks_export(store, latest)
    if not run.grows:
        _tell_idle(run, lacks_export)
    if not run.grows and not lacks_export and not run.lacks_trunk:
        if store.is_held():
            _clean_up(store)
        report.print([], None)
        return
    with store.lock():
        if store.latest() != latest:
            raise UserError(
                f"work directory {store.root} grew while this process "
                "started; run the same command again"
            )
        _grow_and_export(run, report)


def _list_fields(asked: compose.Asked) -> None:
    """Prints every field of the recipe, before the data have their say."""
    given = _workdir_flag.WORKDIR.value
    latest = _workdir_flag.store().latest() if given else None
    before = remembered.read(latest) if latest else None
    dataset = _common_flags.DATASET.value or "photos"
    composed = compose.compose(asked, before, _default_preset(dataset, asked))
    print("\n".join(compose.lines(composed)))


def _open(
    store: Store, latest: Generation | None, asked: compose.Asked
) -> _Run:
    """Finds out what is pending; trains nothing and needs no TensorFlow."""
    before = remembered.read(latest) if latest else None
    imports = _import_flags.is_given()
    names = _import_flags.class_names() if imports else ()
    asked = _import_flags.asked(asked) if imports else asked
    data = _stream_flags.data_config(before, names)
    if data.dataset.startswith("tfds:"):
        startup.start_tensorflow()  # which such a data set needs at once
    source = registry.open_source(data, store.contents())
    composed = compose.compose(
        asked, before, _default_preset(data.dataset, asked)
    )
    if before is not None and before.kind == nothing.KIND != source.kind:
        composed = _with_photos(composed, before)
    trunk, imported = None, None
    if trunk_files.is_named(composed.recipe):
        startup.start_tensorflow()
        opened = trunk_files.opened(composed.recipe)
        composed = dataclasses.replace(composed, recipe=opened.recipe)
        trunk = opened.trunk
        imported = importing.classifier(names, opened.head) if imports else None
    composed = composed.resolved(resolve.facts(source))
    recorded = Remembered(data, source.kind, composed.recipe, composed.preset)
    image_size = composed.recipe.network.image_size
    if latest is not None:
        remembered.check_same(latest, recorded, source, str(store.root))
        results.check_jobs(store, latest, image_size)
        if imported is not None:
            importing.check_there(store, imported, composed.recipe.network)
    elif imported is not None and source.kind != nothing.KIND:
        remembered.check_photos(names, source)
    context = Context(
        ContextConfig(
            workdir=str(store.root),
            data=data,
            image_size=image_size,
            pixels=composed.recipe.pixels,
            cache=_machine_flags.cache(),
            runtime=_runtime(composed.recipe),
        ),
        source,
    ).left_by(latest.step if latest else None)
    return _Run(
        store,
        latest,
        composed,
        recorded,
        context,
        changes.find_changes(latest, context) if latest else changes.Changes(),
        _stream_flags.pending_batches(source, latest, composed.recipe, names),
        trunk,
        imported,
    )


def _runtime(recipe: Recipe) -> Runtime:
    """How jobs are run on this machine, and looked at."""
    return dataclasses.replace(
        _machine_flags.runtime(), probes=recipe.watching.probes
    )


def _with_photos(composed: Composed, before: Remembered) -> Composed:
    """A recipe whose first photos arrive: they decide what was left to them."""
    recipe = resolve.reopened(
        composed.recipe,
        presets.preset(composed.preset),
        resolve.facts(registry.open_source(before.data)),
    )
    given = {
        name: fields.value(composed.recipe, name)
        for name, source in composed.sources.items()
        if source == "given"
    }
    return dataclasses.replace(composed, recipe=fields.changed(recipe, given))


def _pending(run: _Run) -> _increment_report.Pending:
    return _increment_report.Pending(
        run.batches,
        run.changed if run.relearns else None,
        bool(run.grows and _EXPORT.value)
        or _lacks_export(run.store, run.latest),
    )


def _default_preset(dataset: str, asked: compose.Asked) -> str:
    network = ModelConfig(backbone=asked.changes.get("backbone", ""))
    weights = asked.changes.get("backbone_weights", "none")
    if network.is_file or weights != "none":
        return "pretrained"
    return "digits" if dataset == "digits" else "photos"


def _tell(run: _Run) -> None:
    """Says what was noticed, before anything trains."""
    known = run.latest.tree.classes if run.latest else ()
    if run.grows:
        check_enough(
            run.context.catalogue,
            known,
            least=run.recorded.recipe.training.least_images,
            known=[name for batch in run.batches for name in batch],
        )
    lines = [
        *summary.change_lines(run.changed),
        *summary.case_lines(known, run.batches),
    ]
    for line in lines:
        print(line, file=sys.stderr)


def _tell_idle(run: _Run, exports: bool) -> None:
    """Says which data there is nothing new in, and what is not recorded."""
    lines = told.lines(run.context.source)
    if run.differing:
        lines.append(
            f"not recorded, for there is no step: {', '.join(run.differing)}"
            + ("; the export goes by it" if exports else "")
        )
    for line in lines:
        print(line, file=sys.stderr)


def _how(run: _Run) -> list[str]:
    """How images are learnt, as far as the command does not say it itself."""
    composed = run.composed
    if run.context.source.kind == nothing.KIND:
        return []
    source = composed.sources["augment"]
    if composed.chosen or source == "given":
        return [composed.chosen] if composed.chosen else []
    return [f"augment={composed.recipe.training.augment} ({source})"]


def _imported_lines(run: _Run) -> list[str]:
    if run.imported is None or run.latest is not None:
        return []
    return [
        f"imported: {len(run.imported.classes):,} classes; features are the "
        "model's own (feature_depths=0), so that its head fits them"
    ]


def _grow_and_export(run: _Run, report: _increment_report.Report) -> None:
    # TensorFlow takes seconds to start; mistakes have been found by now.
    startup.start_tensorflow(run.context.config.runtime.deterministic)
    from hierkeras.training.predictor import Predictor

    if run.trunk is not None:
        network = run.recorded.recipe.network
        trunk_files.keep(run.store, run.trunk, network)
    predictor = Predictor(run.context)
    done = _grow(run, predictor) if run.grows else []
    exported, page = None, None
    try:
        exported = _export(run, predictor)
        if done and _reports(run):
            page = _write_report(run, predictor)
    except Exception:
        # The steps are made: what they did is told, whatever came after.
        report.print(done, exported)
        raise
    report.print(done, exported, page)


def _grow(run: _Run, predictor: Predictor) -> list[Generation]:
    from hierkeras.analysis import step_summary
    from hierkeras.training import strategy

    source = run.context.source
    if source.keep:
        run.store.keep_contents(source.keep())
    strategy.choose_strategy(run.context.config.runtime.devices)  # or refuse
    executor = _machine_flags.executor()
    workshop = steps.Workshop(
        run.context,
        run.recorded,
        executor,
        predictor,
        _stream_flags.MAX_BAD_IMAGES.value,
        (*told.lines(source), *_how(run), *_imported_lines(run)),
        run.imported,
    )
    done = []
    try:
        for generation in steps.grow(workshop, run.batches, run.relearns):
            step_summary.write(
                run.context.left_by(generation.step),
                generation,
                predictor,
                run.recorded.recipe.routing,
            )
            if run.context.config.runtime.progress != "none":
                there = f"generation {generation.number} is there"
                print(there, file=sys.stderr)
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


def _export(run: _Run, predictor: Predictor) -> Exported | None:
    latest = run.store.latest()
    if latest is None or not _lacks_export(run.store, latest):
        return None
    from hierkeras.serving import exporting

    return exporting.export(
        latest,
        run.context.left_by(latest.step),
        predictor,
        _export_flags.export_config(run.recorded.recipe),
    )


def _reports(run: _Run) -> bool:
    kind = run.context.source.kind
    if _REPORT.value is not None:
        return bool(_REPORT.value)
    return kind not in ("digits", nothing.KIND)


def _write_report(run: _Run, predictor: Predictor) -> epath.Path:
    """Writes the page about the tree, compared with the one before the step."""
    latest = run.store.latest()
    assert latest is not None  # a step was made
    from hierkeras.reporting import report

    before = run.store.read(latest.parent) if latest.parent else None
    routing = run.recorded.recipe.routing
    return report.write(latest, before, run.context, predictor, routing)


if __name__ == "__main__":
    _main.run(main)
