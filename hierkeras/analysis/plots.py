"""Pictures of what a tree gets right and wrong."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay

from hierkeras.tree.names import shown

# More names than this are too small to read.
_MAX_NAMES = 80
# More letters leave no room for the picture.
_MAX_LETTERS = 40


def confusion_png(
    rates: np.ndarray, classes: Sequence[str], borders: Sequence[int] = ()
) -> bytes:
    """A confusion matrix as a picture.

    Args:
        rates: float array of shape (n, n), rows summing to 1: the rate at
            which class `i` is taken for class `j`.
        classes: The classes' names.
        borders: Where a superclass ends, as numbers of classes; drawn as
            lines (as the boxes of the paper's Figure 5).

    Returns:
        A PNG file.
    """
    side = float(np.clip(0.16 * len(classes), 5, 14))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    named = len(classes) <= _MAX_NAMES
    display = ConfusionMatrixDisplay(
        rates, display_labels=list(map(_label, classes)) if named else None
    )
    display.plot(
        ax=axes,
        include_values=len(classes) <= 12,
        values_format=".0%",
        cmap="viridis",
        xticks_rotation="vertical",
        colorbar=False,
        im_kw={"vmin": 0.0, "vmax": 1.0},
    )
    axes.set(xlabel="taken for", ylabel="class")
    axes.tick_params(labelsize=7)
    if not named:
        axes.set(xticks=[], yticks=[])
    for border in borders:
        axes.axhline(border - 0.5, color="white", linewidth=1)
        axes.axvline(border - 0.5, color="white", linewidth=1)
    picture = io.BytesIO()
    with warnings.catch_warnings():
        # A letter that its font lacks is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def _label(name: str) -> str:
    # Between two dollar signs Matplotlib expects formulas.
    return shown(name, _MAX_LETTERS).replace("$", r"\$")
