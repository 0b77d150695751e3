"""Measures a report of many classes: its size, and how a browser takes it.

    python tools/bench_report.py [--num_classes=2282] [--num_leaves=1000]

Names, answers and photos are made up: half of the mistakes are within a leaf,
photos are smooth noise of 64 pixels. The first paint is Chromium's own figure,
which Playwright reads; without either, only the page is made.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from absl import flags
from scipy import ndimage

from hierkeras import _main
from hierkeras.analysis.answers import Answered
from hierkeras.data.arrays import ArraySource
from hierkeras.data.catalogue import Catalogue
from hierkeras.data.source import DataConfig
from hierkeras.models.registry import ModelConfig
from hierkeras.recipe.recipe import Recipe
from hierkeras.recipe.remembered import Remembered, to_settings
from hierkeras.recipe.training import Training
from hierkeras.training import startup
from hierkeras.training.context import Context, ContextConfig
from hierkeras.tree.generation import Decision, Generation, Step
from hierkeras.tree.nodes import Branch, Leaf, Tree

_CLASSES = flags.DEFINE_integer("num_classes", 2282, "Classes.", lower_bound=2)
_LEAVES = flags.DEFINE_integer("num_leaves", 1000, "Leaves.", lower_bound=2)
_IMAGES = flags.DEFINE_integer("test_images", 50, "Test images of a class.")
_ERROR = flags.DEFINE_float("test_error", 0.5, "Share that is named wrong.")

_SIDE, _PHOTOS = 64, 4096


def main() -> None:
    """Makes the page, opens it, and prints the figures."""
    startup.start_tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        page = make(
            Path(folder),
            _CLASSES.value,
            _LEAVES.value,
            _IMAGES.value,
            _ERROR.value,
        )
        seconds = time.monotonic() - begun
        megabytes = page.stat().st_size / 1e6
        print(f"{megabytes:.2f} MB, made in {seconds:.1f} s")
        program = shutil.which("chromium")
        if program:
            paint, loaded = opening(page, program)
            print(
                f"first paint after {paint:.2f} s, loaded after {loaded:.2f} s"
            )


def make(
    folder: Path, num_classes: int, num_leaves: int, images: int, error: float
) -> Path:
    """Writes the page of a made-up tree.

    Args:
        folder: Where to.
        num_classes: Classes.
        num_leaves: Leaves, at most as many.
        images: Test images of each class.
        error: Share of them that are named wrong, in [0, 1].
    """
    from hierkeras.reporting import rendering, report
    from hierkeras.reporting.thumbnails import Thumbnails

    random = np.random.default_rng(0)
    made = tree(
        [f"class {n:05d} of many" for n in range(num_classes)], num_leaves
    )
    labels = np.repeat(np.arange(num_classes), images)
    named = mistaken(labels, num_classes, num_leaves, error, random)
    rows = np.arange(len(labels))
    answered = Answered(
        "test", rows, labels, named, random.uniform(0.2, 1, len(rows))
    )
    context = opened(folder, made.classes, labels)
    generation = Generation(1, settings(), made, step(made))
    subject = report.Subject(
        generation, answered, None, [], {}, [], ["made up"], "many"
    )
    thumbnails = Thumbnails(report.MOST_PHOTOS)
    values, data = report.compose(subject, context, thumbnails)
    values["against"] = None
    data["thumbs"] = thumbnails.made(context.images)
    data["keys"] = [str(context.catalogue.keys[i]) for i in thumbnails.indices]
    path = folder / "index.html"
    path.write_text(rendering.page(values, data), encoding="utf-8")
    return path


def tree(names: list[str], num_leaves: int) -> Tree:
    """Branches over up to 32 leaves each, under one root."""
    leaves = [
        [names[i] for i in part]
        for part in np.array_split(np.arange(len(names)), num_leaves)
    ]
    groups = [leaves[i : i + 32] for i in range(0, num_leaves, 32)]
    children: list[Any] = []
    for number, group in enumerate(groups, start=1):
        name = f"root.{number}"
        below = tuple(
            Leaf(f"{name}.{place}", tuple(own), f"leaf{number}x{place}")
            for place, own in enumerate(group, start=1)
        )
        known = tuple(name for leaf in below for name in leaf.classes)
        if len(below) == 1:
            children.append(Leaf(name, known, f"leaf{number}"))
        else:
            children.append(Branch(name, known, f"branch{number}", below))
    return Tree(Branch("root", tuple(names), "root", tuple(children)))


def mistaken(
    labels: npt.NDArray[np.int64],
    num_classes: int,
    num_leaves: int,
    error: float,
    random: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """What images are named: half of the mistakes are of a neighbour."""
    near = (labels + random.integers(1, 4, len(labels))) % num_classes
    far = random.integers(0, num_classes, len(labels))
    is_near = random.random(len(labels)) < 0.5
    is_wrong = random.random(len(labels)) < error
    wrong: npt.NDArray[np.int64] = np.where(is_near, near, far)
    return np.where(is_wrong, wrong, labels)


def opened(
    folder: Path, classes: tuple[str, ...], labels: npt.NDArray[np.int64]
) -> Context:
    """A data set of few photos for many examples."""
    size = len(labels)
    catalogue = Catalogue(
        classes,
        np.array([f"photo{n}.jpg" for n in range(size)]),
        labels.astype(np.int32),
        np.full(size, 2, np.int8),
        np.arange(size),
    )
    source = Repeated("made up", "npz", catalogue, photos())
    config = ContextConfig(
        str(folder / "workdir"), DataConfig("npz:none"), _SIDE, cache="none"
    )
    return Context(config, source)


class Repeated(ArraySource):
    """Photos of which there are fewer than examples."""

    def read(self, indices: Any) -> Any:
        """See `Source.read`."""
        return super().read(indices % _PHOTOS)


def photos() -> npt.NDArray[np.uint8]:
    """Parts of one smooth picture."""
    noise = np.random.default_rng(1).normal(size=(512, 512, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0))
    low, high = smooth.min(), smooth.max()
    picture = (255 * (smooth - low) / (high - low)).astype(np.uint8)
    corners = [
        ((37 * n) % (512 - _SIDE), (91 * n) % (512 - _SIDE))
        for n in range(_PHOTOS)
    ]
    return np.stack([picture[x : x + _SIDE, y : y + _SIDE] for x, y in corners])


def settings() -> dict[str, Any]:
    """What the generation records."""
    recipe = Recipe(
        ModelConfig("small_cnn", image_size=_SIDE),
        Training(augment="none", batch_size=32, max_epochs=1),
    )
    return to_settings(
        Remembered(DataConfig("npz:none"), "npz", recipe, "photos")
    )


def step(made: Tree) -> Step:
    """A step that brought all classes."""
    first = Leaf("root", made.classes, "first")
    decision = Decision("root", made.classes, "first", "made up", first, 0.5)
    return Step(made.classes, (decision,), (), None, {}, None, None, 0.5, 1.0)


def opening(page: Path, program: str) -> tuple[float, float]:
    """Seconds from the navigation to the first paint, and to the end.

    Args:
        page: The page.
        program: Chromium.

    Returns:
        When content is there for the first time, and when its script has run.
    """
    from playwright import sync_api

    with (
        sync_api.sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program) as browser,
    ):
        tab = browser.new_page()
        tab.goto(page.as_uri())
        paint = "performance.getEntriesByName('first-contentful-paint')"
        tab.wait_for_function(f"{paint}.length")
        loaded = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        return (
            float(tab.evaluate(f"{paint}[0].startTime")) / 1000,
            float(tab.evaluate(loaded)) / 1000,
        )


if __name__ == "__main__":
    _main.run(main)
