"""Draws the figures of the paper's section 5.2 from a small run of its own.

    python tools/analysis_figures.py --dataset=digits --first=0,1,2,3,4 \
        --then=5,6,7,8,9 --out=docs/figures/digits
    python tools/analysis_figures.py --dataset=folder:PATH --first=bullfrog,… \
        --then=tailed_frog,… --image_size=64 --width_multiplier=0.5 \
        --max_epochs=8 --out=docs/figures/animals

Two increments in --workdir, with probes: the first classes, then the others,
by a clone increment whose leaves begin as copies of the old model, as in the
paper; beside them a flat increment of all classes and a network from scratch.
Run again, it draws what is there. It writes

    OUT/curves.png     Figures 6 to 10 and 13: the flat increment, and scratch
    OUT/confusion.png  Figure 5: before and after the step, boxed by superclass
    OUT/taken_for.jpg  Figure 12: new classes, and what they were taken for
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hierkeras import _main
from hierkeras._errors import UsageError
from hierkeras.recipe import remembered
from hierkeras.training import results, startup
from hierkeras.training.context import Context, ContextConfig
from hierkeras.training.probes import record
from hierkeras.training.probes.record import Look, Record
from hierkeras.tree.generation import Generation
from hierkeras.tree.store import Store

_DATASET = flags.DEFINE_string("dataset", "digits", "As increments take it.")
_FIRST = flags.DEFINE_list("first", list("01234"), "The old classes.")
_THEN = flags.DEFINE_list("then", list("56789"), "The new classes.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 8, "In pixels.")
_WIDTH = flags.DEFINE_float("width_multiplier", 1.0, "Of the network.")
_EPOCHS = flags.DEFINE_integer("max_epochs", 20, "Of each training.")
_INTERVAL = flags.DEFINE_integer("interval", 10, "Batches between two looks.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/figures", "Of the run.")
_ALSO = flags.DEFINE_multi_string(
    "also", [], "Other flags of the increments, such as --backbone=FILE."
)
_OUT = flags.DEFINE_string("out", "docs/figures", "Folder of the pictures.")

_DPI = 72


def main() -> None:
    """Grows the tree, unless it is there, and draws."""
    if Store(_WORKDIR.value).latest() is None:
        grow(_FIRST.value)
    grow([*_FIRST.value, *_THEN.value])
    startup.start_tensorflow()
    store = Store(_WORKDIR.value)
    latest = store.latest()
    if latest is None or latest.parent is None:
        raise UsageError("--workdir holds another run; give an empty folder")
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    if not is_solved(store, latest):  # there, nothing is trained
        save(curves(store, latest), out / "curves.png")
    context = opened(store, latest)
    save(confusions(context, latest), out / "confusion.png")
    save(taken_for(context, latest), out / "taken_for.jpg")


def grow(classes: Sequence[str]) -> None:
    """Has an increment take in classes, in a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(classes) + "\n")
        file.flush()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "hierkeras.increment"),
                f"--dataset={_DATASET.value}",
                f"--workdir={_WORKDIR.value}",
                f"--class_list={file.name}",
                *("--recipe=digits", "--augment=none", "--noexport"),
                f"--image_size={_IMAGE_SIZE.value}",
                f"--width_multiplier={_WIDTH.value}",
                f"--max_epochs={_EPOCHS.value}",
                *("--set=leaves=beside", "--scratch_baseline"),
                f"--set=probes={_INTERVAL.value}",
                *_ALSO.value,
            ]
        )
    if done.returncode:
        sys.exit(done.returncode)


def opened(store: Store, latest: Generation) -> Context:
    """The images of a work directory."""
    kept = remembered.read(latest)
    size = kept.recipe.network.image_size
    config = ContextConfig(str(store.root), kept.data, size, kept.recipe.pixels)
    return Context(config).left_by(latest.step)


def is_solved(store: Store, latest: Generation) -> bool:
    """Whether heads were solved, above a pretrained network."""
    [decision] = latest.step.decisions
    return results.read(store, decision.flat.job).epochs == 0


def seen(store: Store, job: str) -> Record:
    """What the probes of a job saw."""
    found = record.read(store, job)
    if found is None:
        raise UsageError("--workdir was grown without probes")
    return found


# --- Figures 6 to 10 and 13 -------------------------------------------------


def curves(store: Store, latest: Generation) -> Figure:
    """The flat increment, and the network from scratch, batch by batch."""
    [decision] = latest.step.decisions
    assert latest.step.scratch is not None
    flat = seen(store, decision.flat.job)
    scratch = seen(store, latest.step.scratch.job)
    figure = Figure(figsize=(13, 6), layout="constrained")
    places = figure.subplots(2, 4).ravel()

    high = len(flat.layers) - 1  # above a trunk there is no other
    low = min(1, high)
    lower, upper = flat.layers[low], flat.layers[high]
    for axes, title, value in (
        (places[0], "Figure 6: error", part("error")),
        (places[1], f"Figure 7: gradient, l2\n{lower}", part("gradients", low)),
        (
            places[2],
            f"Figure 7: gradient, l2\n{upper}",
            part("gradients", high),
        ),
        (
            places[3],
            f"Figure 8: activations, l1\nentering {upper}",
            part("activations", high),
        ),
        (
            places[4],
            f"Figure 9: error derivatives, l1\n{lower}",
            part("derivatives", low),
        ),
        (
            places[5],
            f"Figure 9: error derivatives, l1\n{upper}",
            part("derivatives", high),
        ),
    ):
        plot(
            axes,
            title,
            {"incremental": (flat, value), "from scratch": (scratch, value)},
        )
    plot(
        places[6],
        "Figure 10: error by classes",
        {"old": (flat, part("old_error")), "new": (flat, part("new_error"))},
    )
    plot(
        places[7],
        "Figure 13: distance of mean features",
        {
            f"{pair.new} and {pair.old}": (flat, part("distances", number))
            for number, pair in enumerate(flat.confusions[: flat.pairs])
        },
    )
    return figure


def part(name: str, place: int | None = None) -> Callable[[Look], Any]:
    """Takes a value of a look, or one of its values."""

    def value(look: Look) -> Any:
        found = getattr(look, name)
        return found if place is None else found[place]

    return value


def plot(
    axes: Axes,
    title: str,
    lines: dict[str, tuple[Record, Callable[[Look], Any]]],
) -> None:
    """Draws what was seen over batches."""
    for name, (looked, value) in lines.items():
        steps = [look.step for look in looked.looks]
        axes.plot(steps, [value(look) for look in looked.looks], label=name)
    axes.set_title(title, fontsize=9)
    # Most changes in the first batches.
    axes.set_xscale("symlog", linthresh=4)
    axes.set_xlim(left=0)
    axes.set_xlabel("batches, logarithmic from 4 on", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7)


# --- Figures 5 and 12 -------------------------------------------------------


def confusions(context: Context, latest: Generation) -> Figure:
    """Who is taken for whom, before and after the step."""
    from matplotlib import image

    from hierkeras.analysis import step_summary
    from hierkeras.training.predictor import Predictor

    assert latest.parent is not None
    predictor = Predictor(context)
    routing = remembered.read(latest).recipe.routing
    before = context.store.read(latest.parent).tree
    figure = Figure(figsize=(10, 5), layout="constrained")
    for axes, (title, tree) in zip(
        figure.subplots(1, 2),
        (("before the step", before), ("after it", latest.tree)),
        strict=True,
    ):
        png = step_summary.confusion(
            context, latest.tree, predictor, routing, tree
        )
        axes.imshow(image.imread(io.BytesIO(png)))
        axes.set_title(f"Figure 5: {title}")
        axes.axis("off")
    return figure


def taken_for(context: Context, latest: Generation) -> Figure:
    """New classes, and photos of the old ones that they were taken for."""
    pairs = first_taken(context, latest)[:4]
    figure = Figure(figsize=(9, 1.5 * len(pairs)), layout="constrained")
    rows = figure.subplots(len(pairs), 7, squeeze=False)
    for axes, (new, old, share, images) in zip(rows, pairs, strict=True):
        likes = context.catalogue.indices("validation", [old])[:2]
        for place in axes:
            place.axis("off")
        shown = pixels(context, images[:4])
        for place, picture in zip(axes[:4], shown, strict=False):
            place.imshow(picture)
        part = f"{share:.0%} of {len(images) / share:.0f}"
        text = f"{new}\n→ {old}\n{part}"
        axes[4].text(0.5, 0.5, text, ha="center", va="center", fontsize=8)
        for place, picture in zip(
            axes[5:], pixels(context, likes), strict=False
        ):
            place.imshow(picture)
        print(f"{new} is taken for {old}: {part}")
    return figure


def first_taken(
    context: Context, latest: Generation
) -> list[tuple[str, str, float, np.ndarray]]:
    """What the tree before the step takes new classes for, of validation.

    Returns:
        New class, old class, share of its images, and these; clearest first.
    """
    from hierkeras.analysis import step_summary
    from hierkeras.training.predictor import Predictor

    assert latest.parent is not None
    before = context.store.read(latest.parent).tree
    said = step_summary.judge(
        before,
        latest.tree.classes,
        context,
        Predictor(context),
        remembered.read(latest).recipe.routing,
    )
    found = []
    for label, new in enumerate(latest.tree.classes):
        own = said.labels == label
        if new in before.classes or not own.any():
            continue
        counts = np.bincount(said.named[own])
        old = int(counts.argmax())
        images = said.indices[own & (said.named == old)]
        share = float(counts.max() / own.sum())
        found.append((new, latest.tree.classes[old], share, images))
    return sorted(found, key=lambda one: (-one[2], -len(one[3]), one[0]))


def pixels(context: Context, indices: Sequence[int] | np.ndarray) -> Any:
    """Images as they are learnt."""
    rows = np.sort(np.asarray(indices, np.int64))
    [images] = context.images.evaluation_batches(rows, max(1, len(rows)))
    return images.numpy().astype(np.uint8)


def save(figure: Figure, path: Path) -> None:
    """Writes a picture: a drawing of few colours, or photos."""
    from PIL import Image

    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI)
    picture = Image.open(content).convert("RGB")
    if path.suffix == ".jpg":
        picture.save(path, quality=60, optimize=True)
    else:
        picture.quantize(64).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    _main.run(main)
