"""From a generation to a version that a server can load."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

import keras
from etils import epath

from hierkeras._errors import UserError
from hierkeras.data import nothing
from hierkeras.recipe.serving import Serving
from hierkeras.serving import graph_summary
from hierkeras.serving.checks import (
    manifest,
    publication,
    sample,
    verification,
    warmup,
)
from hierkeras.serving.graph import signatures
from hierkeras.serving.graph.composite import Composite
from hierkeras.training import tensorboard
from hierkeras.training.context import Context
from hierkeras.training.predictor import Predictor
from hierkeras.tree import sums
from hierkeras.tree.generation import Generation
from hierkeras.tree.routing import Routing

# Of a score, between networks that compute in float32, and in less.
_TOLERANCE, _COARSE_TOLERANCE = 1e-4, 2e-2


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """How trees are exported.

    Args:
        routing: How the served tree answers.
        serving: What it answers, and what it refuses.
        sample_size: Validation images to compare its answers on.
        force: Whether the validation error on old classes may have grown by
            more than `serving` says.
        keep_versions: How many of the latest versions stay, beside the one
            that is made; 0: all.
    """

    routing: Routing
    serving: Serving = dataclasses.field(default_factory=Serving)
    sample_size: int = 256
    force: bool = False
    keep_versions: int = 0


@dataclasses.dataclass(frozen=True)
class Exported:
    """A new version.

    Args:
        version: Its number, the generation's.
        path: Its folder.
        num_bytes: What the folder holds.
        num_leaves: Leaves of the tree.
        leaves_warmed_up: Those that run for the warm-up requests.
        verified: How its answers compared with the tree's.
        removed: Versions that were removed, the oldest that there were.
        has_photos: Whether that was on images of its classes; of an imported
            model there may be none.
    """

    version: int
    path: str
    num_bytes: int
    num_leaves: int
    leaves_warmed_up: int
    verified: verification.Verified
    removed: tuple[int, ...] = ()
    has_photos: bool = True


def check_quality(generation: Generation, config: ExportConfig) -> None:
    """Checks that a step did not cost the old classes too much.

    Raises:
        UserError: If it did.
    """
    before = generation.step.old_error_before
    after = generation.step.old_error_after
    if before is None or after is None or config.force:
        return
    most = config.serving.max_old_class_regression
    if after - before > most:
        raise UserError(
            f"generation {generation.number} is not exported: its validation "
            f"error on the old classes grew from {before:.1%} to {after:.1%}, "
            "by more than --max_old_class_regression="
            f"{most:g}; python -m hierkeras.export "
            "--force exports it all the same"
        )


def export(
    generation: Generation,
    context: Context,
    predictor: Predictor,
    config: ExportConfig,
) -> Exported:
    """Exports a generation that has not been exported.

    Args:
        generation: The generation.
        context: Its work directory, which the caller holds the lock of, and
            the images.
        predictor: Runs its models.
        config: How.

    Raises:
        UserError: If the quality gate or a check refuses it. There is no
            version then.
    """
    base_path = context.store.serving
    with publication.new_version(base_path, generation.number) as folder:
        check_quality(generation, config)
        exported = _fill(folder, generation, context, predictor, config)
    graph_summary.write(
        epath.Path(exported.path),
        tensorboard.step_folder(context.store, generation.number),
        generation.number,
    )
    removed = publication.prune(
        base_path, config.keep_versions, generation.number
    )
    return dataclasses.replace(exported, removed=tuple(removed))


def _fill(
    folder: epath.Path,
    generation: Generation,
    context: Context,
    predictor: Predictor,
    config: ExportConfig,
) -> Exported:
    """Writes a version and checks it; removes none."""
    tree, how = generation.tree, config.routing
    models = {node.job: predictor.model(node.job) for node in tree.nodes()}
    pixels = dataclasses.replace(
        context.config.pixels, max_pixels=config.serving.max_pixels
    )
    # What is served has no rounded features: it would not be compared alike.
    images = sample.draw(
        tree,
        how,
        context,
        predictor.through_networks(),
        config.sample_size,
        pixels,
    )
    signatures.save(
        os.fspath(folder),
        Composite(tree, models, how),
        context.config.image_size,
        config.serving,
        pixels,
    )
    extra = folder / manifest.EXTRA
    extra.mkdir()
    warmed_up = warmup.write(extra, images)
    verified = verification.verify(folder, images, _tolerance(models.values()))
    manifest.write(folder, generation, context, how, config.serving, verified)
    return Exported(
        version=generation.number,
        path=os.fspath(context.store.serving / str(generation.number)),
        num_bytes=sums.size(folder),
        num_leaves=len(tree.leaves),
        leaves_warmed_up=warmed_up,
        verified=verified,
        has_photos=context.source.kind != nothing.KIND,
    )


def _tolerance(models: Iterable[keras.Model]) -> float:
    coarse = any(
        layer.compute_dtype not in ("float32", "float64")
        for model in models
        for layer in model.layers
        if layer.weights
    )
    return _COARSE_TOLERANCE if coarse else _TOLERANCE


def line(exported: Exported) -> str:
    """An export in words."""
    verified = exported.verified
    files = f", {verified.files} sent as files" if verified.files else ""
    images = "validation images" if exported.has_photos else "images of noise"
    lines = [
        f"exported {exported.path} ({exported.num_bytes / 1e6:.1f} MB); "
        f"answers as the tree does on {verified.images} {images}"
        f"{files} (scores within {verified.score_difference:.1g}), also "
        "without Keras through TensorFlow's C API"
    ]
    lines += [
        f"a server refuses {len(keys)} of these files, {keys[0]} first: it "
        f"{reason} (hierkeras.predict converts it)"
        for reason, keys in verified.refused.items()
    ]
    missed = exported.num_leaves - exported.leaves_warmed_up
    if missed:
        lines.append(
            f"no validation image needs {missed} of {exported.num_leaves} "
            "leaves: these are not warmed up"
        )
    if exported.removed:
        removed = ", ".join(map(str, exported.removed))
        lines.append(f"removed versions: {removed}")
    return "\n".join(lines)
