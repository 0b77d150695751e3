"""Diagrams as SVG, in the colours of the page that they stand in."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hierkeras.tree.names import shown

# Ink and first line; the page's style sheet gives both in light and dark.
_INK, _LINE = "#0b0b0b", "#0c0c0c"
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: read aloud, and small
    "svg.hashsalt": "hierkeras",  # the same page from the same numbers
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_BINS = 10
MOST_LINES = 8


def calibration(
    confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]
) -> str:
    """How often the tree is right, by how sure it says it is.

    Guo et al. 2017, Figure 1, https://arxiv.org/abs/1706.04599.

    Args:
        confidence: Float array of shape (n,) in [0, 1].
        right: bool array of shape (n,).
    """
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(place, minlength=_BINS)
    there = counts > 0
    says = np.bincount(place, confidence, _BINS)[there] / counts[there]
    is_right = np.bincount(place, right, _BINS)[there] / counts[there]
    with matplotlib.rc_context(_SETTINGS):
        figure, axes = _figure(
            "score that the tree gives (%)", "named right (%)"
        )
        axes.plot([0, 100], [0, 100], color=_INK, linewidth=0.8, alpha=0.4)
        axes.plot(100 * says, 100 * is_right, "o-", color=_LINE, markersize=4)
        axes.set(xlim=(0, 100), ylim=(0, 100))
        return _svg(figure)


def risk_coverage(
    confidence: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]
) -> str:
    """The error of those images that the tree is surest of, by how many.

    Geifman & El-Yaniv 2017, section 2, https://arxiv.org/abs/1705.08500.

    Args:
        confidence: Float array of shape (n,) in [0, 1].
        right: bool array of shape (n,).
    """
    order = np.argsort(-confidence, kind="stable")
    answered = np.arange(1, len(order) + 1)
    error = np.cumsum(~right[order]) / answered
    with matplotlib.rc_context(_SETTINGS):
        figure, axes = _figure(
            "images answered (%)", "of these named wrong (%)"
        )
        axes.plot(100 * answered / len(order), 100 * error, color=_LINE)
        axes.set(xlim=(0, 100), ylim=(0, None))
        return _svg(figure)


def curves(
    lines: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str
) -> str:
    """Lines of points, each with its name.

    Args:
        lines: Name to its points; the first few are drawn.
        x: Name and unit of the horizontal axis.
        y: The same of the vertical one.
    """
    with matplotlib.rc_context(_SETTINGS):
        figure, axes = _figure(x, y)
        for number, (name, points) in enumerate(lines.items()):
            if number == MOST_LINES:
                break
            across, up = zip(*points, strict=True)
            axes.plot(
                across,
                up,
                marker="o" if len(points) < 12 else None,
                markersize=3,
                linewidth=1.2,
                label=shown(name, 24).replace("$", r"\$"),
            )
        axes.set(xlim=(0, None), ylim=(0, None))
        # Of epochs and generations there are no halves.
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=8)
        return _svg(figure)


def _figure(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.2, 3.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.15, color=_INK)
    return figure, axes


def _svg(figure: Figure) -> str:
    """The picture alone, without colours of its own for ink and paper."""
    file = io.StringIO()
    figure.savefig(
        file, format="svg", transparent=True, metadata={"Date": None}
    )
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    # What the page says of it stands beside it.
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = svg.replace(_INK, "currentColor").replace(_LINE, "var(--accent)")
    return svg.replace("<svg ", '<svg aria-hidden="true" ', 1)
