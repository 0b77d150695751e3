"""Tables beside folders of images that may name other classes.

`images/` beside `labels.csv` is no class, nor are `train_images/` and
`test_images/`: who lists images with labels that differ within a folder has
other classes than folders.
"""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hierkeras._errors import UserError
from hierkeras.data.files import table
from hierkeras.data.splits import SPLIT_NAMES

_TABLES = (".csv", ".tsv", ".parquet", ".jsonl")
_MOST_TABLES = 20
# Lines of a table that are compared with the folders, evenly spaced.
_LOOKED_AT = 2000


def check(
    place: str, paths: Sequence[str], labels: npt.NDArray[np.int32]
) -> None:
    """Refuses folders as classes where a table beside them says otherwise.

    Args:
        place: The folder.
        paths: Paths of files below it.
        labels: int32 array of shape (n,): the class of each by its folder;
            -1: none.

    Raises:
        UserError: If a table lists images of one folder with labels that
            differ, or if there is one class only, and a table.
    """
    tables = [path for path in paths if _may_list(path)]
    tables = sorted(tables, key=lambda path: path.count("/"))[:_MOST_TABLES]
    for path in tables:
        file = pathlib.Path(place).expanduser() / path
        one_class = len(set(labels[labels >= 0].tolist())) == 1
        if one_class or _divides(file, paths, labels):
            raise UserError(
                f"The folder {place!r} can be read in two ways: every folder "
                f"as a class, or the classes that {path} may list. Give "
                f"--dataset=csv:{file} for the second, or --class_depth=1 for "
                "the first."
            )


def _may_list(path: str) -> bool:
    """Whether a file, by its name and place, may list all images."""
    depth = path.count("/")
    return depth < 2 and (
        path.lower().endswith(_TABLES)
        or (not depth and path.lower().endswith(".txt"))
    )


def _divides(
    file: pathlib.Path, paths: Sequence[str], labels: npt.NDArray[np.int32]
) -> bool:
    """Whether a table has no labels but such that differ within folders."""
    try:
        columns = table.read(file, _LOOKED_AT).columns
    except (OSError, UnicodeError, csv.Error, UserError):
        return False  # it is no table
    class_of = _classes({_stem(x) for c in columns for x in c}, paths, labels)
    listed = [[class_of.get(_stem(cell)) for cell in c] for c in columns]
    best = max(range(len(columns)), key=lambda p: _number(listed[p]))
    if 2 * _number(listed[best]) < len(columns[0]):
        return False  # it lists other things
    others = [c for place, c in enumerate(columns) if place != best]
    agree = [
        _agrees(column, listed[best]) for column in others if _is_label(column)
    ]
    return bool(agree) and not any(agree)


def _classes(
    stems: set[str], paths: Sequence[str], labels: npt.NDArray[np.int32]
) -> dict[str, int | None]:
    """The class of images of some names; None: of several."""
    found: dict[str, int | None] = {}
    for row in np.flatnonzero(labels >= 0).tolist():
        if (stem := _stem(paths[row])) in stems:
            label = int(labels[row])
            found[stem] = label if found.get(stem, label) == label else None
    return found


def _number(classes: Sequence[int | None]) -> int:
    return sum(label is not None for label in classes)


def _is_label(column: Sequence[str]) -> bool:
    """Whether values are repeated as labels are, and are no splits."""
    values = set(column[1:])  # the first may be a header
    return 2 <= len(values) <= max(2, len(column) // 2) and not (
        {value.lower() for value in values} <= SPLIT_NAMES.keys()
    )


def _agrees(column: Sequence[str], classes: Sequence[int | None]) -> bool:
    """Whether all images of a folder have one value."""
    value_of: dict[int, str] = {}
    return all(
        value_of.setdefault(label, value) == value
        for value, label in zip(column, classes, strict=True)
        if label is not None
    )


def _stem(path: str) -> str:
    name = path.replace("\\", "/").rpartition("/")[2]
    return name.rpartition(".")[0] or name
