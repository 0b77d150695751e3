"""A model that somebody trained, which the tree begins with.

They are no key flags of the binaries: `--help` shows what most runs set, and
`--backbone` names them.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from hierkeras._errors import UsageError, UserError
from hierkeras.data import names
from hierkeras.models.registry import MODEL_SUFFIXES
from hierkeras.recipe.compose import Asked

_IMPORT_MODEL = flags.DEFINE_string(
    "import_model",
    None,
    "A file of a Keras model (.keras, .h5) that generation 1 is, as it is.",
)
_IMPORT_CLASSES = flags.DEFINE_string(
    "import_classes",
    None,
    "A text file of the classes of --import_model: a name a line, in the "
    "order of the model's outputs.",
)


def is_given() -> bool:
    """Whether a model is to be imported.

    Raises:
        UsageError: If one of the two flags is given without the other.
    """
    given = {
        "--import_model": _IMPORT_MODEL.value,
        "--import_classes": _IMPORT_CLASSES.value,
    }
    missing = [name for name, value in given.items() if not value]
    if len(missing) == 1:
        (present,) = given.keys() - set(missing)
        raise UsageError(f"{present} is given without {missing[0]}; give both")
    return not missing


def asked(before: Asked) -> Asked:
    """What is asked for, with the network of the imported model.

    Its head fits the features that it was trained on, and no others.

    Args:
        before: What the other flags give.

    Raises:
        UsageError: If these give another network, or other features.
    """
    path = os.path.expanduser(str(_IMPORT_MODEL.value))
    if not path.endswith(MODEL_SUFFIXES):
        raise UsageError(
            f"--import_model takes a file that ends in "
            f"{' or '.join(MODEL_SUFFIXES)}. Received: {path!r}"
        )
    wanted: dict[str, Any] = {
        "backbone": path,
        "backbone_weights": "none",
        "feature_depths": 0,
    }
    for name, value in wanted.items():
        if before.changes.get(name, value) != value:
            raise UsageError(
                f"{name}={before.changes[name]} contradicts --import_model, "
                "whose network and features are its own; leave it out"
            )
    return dataclasses.replace(before, changes={**before.changes, **wanted})


def class_names() -> tuple[str, ...]:
    """The classes of the model, in the order of its outputs.

    Raises:
        UserError: If the file cannot be read, or a line names no class, or
            one that another line names.
    """
    path = str(_IMPORT_CLASSES.value)
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--import_classes: {path} cannot be read ({error}); give a UTF-8 "
            "text file with a class a line"
        ) from None
    # Not `splitlines`: a name may hold what only Unicode calls a line break.
    lines = [line.strip() for line in text.rstrip("\r\n").split("\n")]
    _check(path, lines)
    return tuple(lines)


def _check(path: str, lines: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line:
            raise UserError(
                f"--import_classes: line {number} of {path} is blank; give a "
                "class a line, in the order of the model's outputs"
            )
        if first.setdefault(line, number) != number:
            raise UserError(
                f"--import_classes: lines {first[line]} and {number} of {path} "
                f"both name {line!r}; give each class a name of its own"
            )
    try:
        names.check_text(lines)
        names.check_distinct(lines)
    except UserError as error:
        raise UserError(f"--import_classes: {path}: {error}") from None
