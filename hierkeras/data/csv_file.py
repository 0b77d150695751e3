"""A file that lists images and their classes, line by line.

path,label                   with a header or without, whatever the delimiter
train.txt beside val.txt     the files of a name are the splits
"""

from __future__ import annotations

import array
import csv
import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from hierkeras._errors import UserError
from hierkeras.data.files import left_out, table
from hierkeras.data.files.listing import Files
from hierkeras.data.files.source import FileSource, Labelled, Opened
from hierkeras.data.files.table import Columns, Table
from hierkeras.data.source import DataConfig
from hierkeras.data.splits import SPLIT_NAMES


@dataclasses.dataclass(frozen=True)
class _Listed:
    """A line: where an image is, and what is said of it."""

    path: str
    label: str
    split: str
    group: str


def open_csv(place: str, config: DataConfig, kept: bytes = b"") -> FileSource:
    """Opens a file that lists images and their classes.

    Paths are relative to the folder of the file. Where a file is called as a
    split is, such as `train.txt`, those beside it of the same kind are the
    others.

    Args:
        place: path of the file; "~" is the home directory.
        config: its columns, the names of its labels, and the fractions.
        kept: what an earlier run found in the images.

    Returns:
        A source whose classes are the labels, or their names, sorted.

    Raises:
        UserError: if the file cannot be read, or not for sure in one way.
        UsageError: if the fractions make no sense.
    """
    first = pathlib.Path(place).expanduser()
    try:
        files = _of_splits(first)
        tables = {file: table.read(file) for file in files}
    except (OSError, UnicodeError, csv.Error) as error:
        raise UserError(
            f"The file {place!r} cannot be read ({error}); give "
            "--dataset=csv:FILE with the path of a file of lines."
        ) from None
    asked = table.Asked(
        config.path_column,
        config.label_column,
        config.split_column,
        config.group_column,
    )
    found = table.find_columns(tables[first], asked, first.parent)
    listed = [
        line
        for file, split in files.items()
        for line in _lines(
            tables[file].with_header(found.path, first.parent), found, split
        )
    ]
    tally = left_out.Tally()
    names = _label_names(config, {line.label for line in listed})
    labelled = _labelled(first, listed, names, tally)
    is_headed = tables[first].with_header(found.path, first.parent).has_header
    told = found.told(tables[first].first if is_headed else None)
    how = f"{told} of {', '.join(file.name for file in files)}"
    if config.label_names:
        how += f", named by {config.label_names}"
    opened = Opened(config, "csv", first.parent, how, kept)
    return opened.source(labelled, tally)


def _of_splits(first: pathlib.Path) -> dict[pathlib.Path, str]:
    """The file, or those that are called as splits beside it; their splits."""
    if not first.is_file():
        raise FileNotFoundError("there is no such file")
    if first.stem.lower() not in SPLIT_NAMES:
        return {first: ""}
    beside = {
        file: SPLIT_NAMES[file.stem.lower()]
        for file in sorted(first.parent.iterdir())
        if file.suffix == first.suffix and file.stem.lower() in SPLIT_NAMES
    }
    if len(beside) != len(set(beside.values())):
        raise UserError(
            f"Of {', '.join(file.name for file in beside)} two name one "
            "split; remove or rename one of them."
        )
    return beside if len(beside) > 1 else {first: ""}


def _lines(read: Table, columns: Columns, split: str) -> list[_Listed]:
    cells = zip(
        read.column(columns.path),
        read.column(columns.label),
        read.column(columns.split),
        read.column(columns.group),
        strict=True,
    )
    return [
        _Listed(path, label, own or split, group)
        for path, label, own, group in cells
    ]


def _label_names(config: DataConfig, labels: set[str]) -> dict[str, str]:
    """Label to the name of its class."""
    if not config.label_names:
        return {label: label for label in labels}
    file = pathlib.Path(config.label_names).expanduser()
    try:
        return table.names_of(table.read(file), labels, file.name)
    except (OSError, UnicodeError, csv.Error) as error:
        raise UserError(
            f"--label_names: {config.label_names} cannot be read ({error}); "
            "give a file with the columns of ids and names, or a name a line."
        ) from None


def _labelled(
    file: pathlib.Path,
    listed: Sequence[_Listed],
    names: dict[str, str],
    tally: left_out.Tally,
) -> Labelled:
    used = []
    for line in listed:
        if not names.get(line.label):
            tally.add("listed without a label", line.path)
        elif not (file.parent / line.path).is_file():
            tally.add("listed and not there", line.path)
        else:
            used.append(line)
    _check_splits(file, used)
    used.sort(key=lambda line: line.path)
    class_names = tuple(sorted({names[line.label] for line in used}))
    if len(class_names) < 2:
        raise UserError(
            f"The file {str(file)!r} lists {len(used):,} images that are "
            f"there, of {len(class_names)} classes; expected at least two. "
            f"{left_out.line(tally.result())}"
        )
    label_of = {name: number for number, name in enumerate(class_names)}
    labels = [label_of[names[line.label]] for line in used]
    return Labelled(
        _files(file.parent, [line.path for line in used]),
        np.array(labels, np.int32),
        class_names,
        [SPLIT_NAMES[line.split.lower()] for line in used]
        if any(line.split for line in used)
        else None,
        [line.group or line.path for line in used]
        if any(line.group for line in used)
        else None,
    )


def _check_splits(file: pathlib.Path, used: Sequence[_Listed]) -> None:
    """Checks that every split has a name that is known, or none has."""
    found = {line.split.lower() for line in used}
    unknown = sorted(found - SPLIT_NAMES.keys())
    if unknown and found != {""}:
        raise UserError(
            f"The file {str(file)!r} names the split {unknown[0]!r}; valid are "
            f"{', '.join(SPLIT_NAMES)}."
        )
    twice = len({line.path for line in used}) < len(used)
    if twice:
        seen: dict[str, str] = {}
        for line in used:
            if seen.setdefault(line.path, line.label) != line.label:
                raise UserError(
                    f"The file {str(file)!r} lists {line.path!r} with the "
                    f"labels {seen[line.path]!r} and {line.label!r}; an image "
                    "has one class."
                )


def _files(root: pathlib.Path, paths: list[str]) -> Files:
    statuses = [os.stat(root / path) for path in paths]
    return Files(
        paths,
        array.array("q", (status.st_size for status in statuses)),
        array.array("q", (status.st_mtime_ns for status in statuses)),
    )
