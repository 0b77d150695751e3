"""Diagrams as text: what they show can be read back from their points."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hierkeras.reporting import diagrams

CONFIDENCE = np.array([0.95, 0.92, 0.55, 0.52, 0.15])
RIGHT = np.array([True, True, True, False, False])


def texts(svg):
    return [
        "".join(element.itertext()).strip()
        for element in ET.fromstring(svg).iter()
        if element.tag.endswith("text")
    ]


def heights(svg):
    """Heights of the points of the line that has the page's accent."""
    found = re.search(r'd="([^"]*)"[^>]*var\(--accent\)', svg)
    assert found
    points = re.findall(r"[ML] (\S+) (\S+)", found[1])
    return [float(y) for _, y in points]


@pytest.mark.parametrize(
    ("svg", "x", "y"),
    [
        (
            diagrams.calibration(CONFIDENCE, RIGHT),
            "score that the tree gives (%)",
            "named right (%)",
        ),
        (
            diagrams.risk_coverage(CONFIDENCE, RIGHT),
            "images answered (%)",
            "of these named wrong (%)",
        ),
        (
            diagrams.curves({"one": [(1.0, 50.0), (2.0, 25.0)]}, "epoch", "%"),
            "epoch",
            "%",
        ),
    ],
    ids=["calibration", "risk", "curves"],
)
def test_axes_say_what_they_are(svg, x, y):
    assert {x, y} <= set(texts(svg))


def test_ink_is_the_pages():
    svg = diagrams.calibration(CONFIDENCE, RIGHT)
    assert "currentColor" in svg and "var(--accent)" in svg
    assert "#000000" not in svg


def test_the_same_numbers_make_the_same_picture():
    twice = [diagrams.calibration(CONFIDENCE, RIGHT) for _ in range(2)]
    assert twice[0] == twice[1]


def test_bins_stand_where_their_share_is():
    # Right: 0 of 1, 1 of 2, 2 of 2; higher is a smaller y.
    lowest, middle, highest = heights(diagrams.calibration(CONFIDENCE, RIGHT))
    assert lowest > middle > highest
    assert middle == pytest.approx((lowest + highest) / 2, abs=0.1)


def test_risk_rises_where_unsure_images_are_answered_too():
    shown = heights(diagrams.risk_coverage(CONFIDENCE, RIGHT))
    risks = np.array([0, 0, 0, 1 / 4, 2 / 5])
    scale = (shown[0] - shown[-1]) / risks[-1]
    assert np.allclose(shown[0] - np.array(shown), scale * risks, atol=0.1)


def test_names_of_lines_are_text():
    lines = {"<script>$x$": [(1.0, 2.0)], "other": [(1.0, 3.0)]}
    svg = diagrams.curves(lines, "x", "y")
    assert "<script>" not in svg
    assert "<script>$x$" in texts(svg)
