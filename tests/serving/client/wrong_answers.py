"""Answers that no export gives, for two images."""

from __future__ import annotations

from typing import Any

import numpy as np

GOOD: dict[str, Any] = {
    "classes": np.array([[b"ant", b"bee"]] * 2, object),
    "scores": np.array([[0.75, 0.25]] * 2, np.float32),
    "path": np.array([b"root", b"root"], object),
}


def strings(*rows: object) -> np.ndarray:
    """An array of bytes."""
    return np.array(rows, object)


def floats(*rows: object) -> np.ndarray:
    """An array of scores."""
    return np.array(rows, np.float32)


# By name what differs from a good answer, and what is said of it.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "fewer rows": (
        {name: value[:1] for name, value in GOOD.items()},
        "classes are of shape [1, 2], for 2 images",
    ),
    "more rows": (
        {name: value.repeat(2, axis=0) for name, value in GOOD.items()},
        "classes are of shape [4, 2], for 2 images",
    ),
    "no rows": (
        {name: value[:0] for name, value in GOOD.items()},
        "classes are of shape [0, 2], for 2 images",
    ),
    "fewer paths": ({"path": strings(b"root")}, "path are of shape [1]"),
    "fewer scores": (
        {"scores": floats([0.5], [0.5])},
        "2 classes and 1 scores an image",
    ),
    "no classes": (
        {
            "classes": np.empty([2, 0], object),
            "scores": np.empty([2, 0], np.float32),
        },
        "classes are of shape [2, 0], which is empty",
    ),
    "scalar classes": (
        {"classes": np.array(b"ant", object)},
        "classes are of shape [], not [images, classes]",
    ),
    "scalar scores": (
        {"scores": np.float32(0.5)},
        "scores are of shape [], not [images, classes]",
    ),
    "flat classes": (
        {"classes": strings(b"ant", b"bee")},
        "classes are of shape [2], not [images, classes]",
    ),
    "deep path": (
        {"path": strings([b"root"], [b"root"])},
        "path are of shape [2, 1], not [images]",
    ),
    "numbered classes": (
        {"classes": np.zeros([2, 2], np.int64)},
        "classes are of type int64, not string",
    ),
    "whole scores": (
        {"scores": np.ones([2, 2], np.int32)},
        "scores are of type int32, not float32",
    ),
    "spelt scores": (
        {"scores": strings([b"1", b"0"], [b"1", b"0"])},
        "scores are of type string, not float32",
    ),
    "no number": (
        {"scores": floats([np.nan, 0.0], [0.75, 0.25])},
        "a score is no number",
    ),
    "infinite": (
        {"scores": floats([0.75, 0.25], [np.inf, 0.0])},
        "a score is no number",
    ),
    "too large": (
        {"scores": floats([1.5, 0.25], [0.75, 0.25])},
        "a score is 1.5, not in [0, 1]",
    ),
    "negative": (
        {"scores": floats([0.75, -7.0], [0.75, 0.25])},
        "a score is -7, not in [0, 1]",
    ),
    "unsorted": (
        {"scores": floats([0.75, 0.25], [0.25, 0.75])},
        "the best class does not come first",
    ),
    "class of Latin-1": (
        {"classes": strings([b"ant", b"b\xe9e"], [b"ant", b"bee"])},
        r"a class is no UTF-8: b'b\xe9e'",
    ),
    "path of Latin-1": (
        {"path": strings(b"root", b"\xff" * 1000)},
        r"a path is no UTF-8: b'\xff",
    ),
}
# What this process reads of other types, and what TensorFlow's C API does not.
DOUBLE = {"scores": np.full([2, 1], 0.5)}, "float64"


def answer(wrong: dict[str, Any]) -> dict[str, Any]:
    """A whole answer, with what is wrong in it."""
    return {**GOOD, **wrong}


def one_line(told: str) -> bool:
    """Whether something may be shown as the line that an error is."""
    return told.isprintable() and len(told) < 1000
