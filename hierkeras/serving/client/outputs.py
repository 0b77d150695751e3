"""Checks what a model answered before anything is made of it.

A server, or a SavedModel, may be of somebody else, of another version or
damaged. What it answers is used as `serving_default` promises it: `classes`
string [n, top], `scores` float32 [n, top], best first and in [0, 1], and `path`
string [n], for the n images that it was asked about.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hierkeras.serving.client.answers import Answer

NAMES = ("classes", "scores", "path")
_RANKS = {"classes": 2, "scores": 2, "path": 1}
# Sums of probabilities may be off by as much.
_TOLERANCE = 1e-3


class BadOutput(ValueError):
    """An answer that is not of the form that was promised.

    Its message is what is said of the answer: `scores are ...`.
    """


def to_answers(
    outputs: Mapping[str, np.ndarray], count: int, version: int | None = None
) -> list[Answer]:
    """The outputs of `serving_default`, image by image.

    Args:
        outputs: What was answered, by name; strings are bytes in an object
            array.
        count: The number of images that were asked about.
        version: The version of the model that answered.

    Raises:
        BadOutput: If they are not what the signature promises.
    """
    check_names(outputs)
    for name in NAMES:
        given = outputs[name]
        kind = "string" if given.dtype == object else given.dtype.name
        check_form(name, kind, given.shape, count)
    classes, scores, paths = (outputs[name] for name in NAMES)
    if classes.shape != scores.shape:
        raise BadOutput(
            f"there are {classes.shape[1]} classes and {scores.shape[1]} "
            "scores an image"
        )
    _check_scores(scores)
    return [
        Answer(
            tuple(_text("a class", name) for name in names if name),
            tuple(
                float(score)
                for name, score in zip(names, row, strict=True)
                if name
            ),
            _text("a path", path),
            version,
        )
        for names, row, path in zip(classes, scores, paths, strict=True)
    ]


def check_names(outputs: Mapping[str, object]) -> None:
    """Checks that there is all that is needed.

    Args:
        outputs: Anything by the name of an output.

    Raises:
        BadOutput: If not.
    """
    if missing := [name for name in NAMES if name not in outputs]:
        given = ", ".join(sorted(outputs)) or "nothing"
        raise BadOutput(f"it holds {given}, but no {' and no '.join(missing)}")


def check_form(
    name: str, kind: str, shape: tuple[int, ...], count: int
) -> None:
    """Checks what an output says of itself, before its values are read.

    Args:
        name: Which.
        kind: NumPy's name of its dtype, or `string`.
        shape: Its shape.
        count: The number of images that were asked about.

    Raises:
        BadOutput: If it is not what the signature promises.
    """
    wanted = "float32" if name == "scores" else "string"
    if kind != wanted:
        raise BadOutput(f"{name} are of type {kind}, not {wanted}")
    form = f"[{', '.join(map(str, shape))}]"
    if len(shape) != _RANKS[name]:
        promised = "[images, classes]" if _RANKS[name] == 2 else "[images]"
        raise BadOutput(f"{name} are of shape {form}, not {promised}")
    if shape[0] != count:
        raise BadOutput(
            f"{name} are of shape {form}, for {count} image"
            f"{'s' if count != 1 else ''}"
        )
    if 0 in shape:
        raise BadOutput(f"{name} are of shape {form}, which is empty")


def _check_scores(scores: np.ndarray) -> None:
    if not np.isfinite(scores).all():
        raise BadOutput("a score is no number")
    wrong = (scores < -_TOLERANCE) | (scores > 1 + _TOLERANCE)
    if wrong.any():
        raise BadOutput(f"a score is {scores[wrong][0]:g}, not in [0, 1]")
    if (np.diff(scores, axis=1) > 0).any():
        raise BadOutput("the best class does not come first")


def _text(what: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BadOutput(f"{what} is no UTF-8: {content[:40]!r}") from None
