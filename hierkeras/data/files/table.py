"""Tables in files: delimiters, headers and columns are found, and said."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import msgspec

from hierkeras._errors import UserError
from hierkeras.data.splits import SPLIT_NAMES

_DELIMITERS = ",;\t|"
_JSON_LINES = (".jsonl", ".ndjson")
_SNIFFED = 2**16
_KNOWN = 2**14
_LOOKED_AT = 50
# Names of columns, in lower case, as catalogues have them.
_LABEL_COLUMNS = (
    *("label", "class", "class_name", "category", "target", "species"),
    *("label_name", "name", "class_id", "category_id", "label_id", "labels"),
)
_PATH_NAMES = (
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "image_path", "image_id", "img", "id", "name"),
)
_SPLIT_COLUMNS = ("split", "subset", "set", "partition", "fold")


@dataclasses.dataclass(frozen=True)
class Table:
    """What is in a file, column by column.

    Args:
        columns: Cells, at least one in each of at least one column.
        has_header: Whether the first cells name the columns; None: unknown.
    """

    columns: list[list[str]]
    has_header: bool | None = None

    @property
    def first(self) -> list[str]:
        """The first line, which may be a header."""
        return [column[0] for column in self.columns]

    def __len__(self) -> int:
        """How many lines there are below a header."""
        return len(self.columns[0]) - bool(self.has_header)

    def column(self, place: int | None) -> list[str]:
        """What a column holds below a header; empty where there is none."""
        if place is None:
            return [""] * len(self)
        return self.columns[place][bool(self.has_header) :]

    def some(self, place: int) -> list[str]:
        """Some cells of a column, evenly spaced, below a first line."""
        cells = self.columns[place][1:] or self.columns[place]
        return cells[:: -(-len(cells) // _LOOKED_AT)]

    def with_header(self, path: int) -> Table:
        """The same, whose first line is a header unless it names a file.

        Args:
            path: The column of paths.
        """
        if self.has_header is not None:
            return self
        name = os.path.splitext(self.first[path])[1].lower()
        # Of names without suffixes, a header says what they are.
        suffixes = {os.path.splitext(x)[1].lower() for x in self.some(path)}
        is_path = name in suffixes if name else suffixes == {""}
        is_path &= self.first[path].lower() not in _PATH_NAMES
        return Table(self.columns, has_header=not is_path)


@dataclasses.dataclass(frozen=True)
class Asked:
    """Columns as they are told: names, or numbers from 0; empty: not told.

    Args:
        label: Of labels.
        split: Of splits.
        group: Of groups.
    """

    label: str = ""
    split: str = ""
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Columns:
    """Columns by number from 0; None: there is none.

    Args:
        path: Of paths of images.
        label: Of labels.
        split: Of splits.
        group: Of groups.
    """

    path: int
    label: int
    split: int | None = None
    group: int | None = None

    def told(self, header: list[str] | None) -> str:
        """The same in words.

        Args:
            header: The names of the columns; None: they have none.
        """
        each = {
            "paths": self.path,
            "labels": self.label,
            "splits": self.split,
            "groups": self.group,
        }
        return ", ".join(
            f"{what} in column {header[place] if header else place}"
            for what, place in each.items()
            if place is not None
        )


def read(file: pathlib.Path) -> Table:
    """Reads a file of lines, JSON lines, or Parquet where pyarrow is there.

    Args:
        file: The file.

    Raises:
        OSError, UnicodeError, csv.Error: If it cannot be read.
        UserError: If it is a Parquet file and pyarrow is not there.
    """
    if file.suffix.lower() == ".parquet":
        return _parquet(file)
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix.lower() in _JSON_LINES:
        return _json_lines(text)
    lines = text[:_SNIFFED].splitlines()[:_LOOKED_AT]
    return _delimited(text, _delimiter(lines))


def _delimited(text: str, delimiter: str) -> Table:
    columns: list[list[str]] = []
    known: dict[str, str] = {}  # Labels are many times the same text.
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        skipinitialspace=True,
        strict=True,
    )
    for row in reader:
        if not any(map(str.strip, row)):
            continue
        columns = columns or [[] for _ in row]
        if any(map(str.strip, row[len(columns) :])):
            raise csv.Error(
                f"line {reader.line_num} has {len(row)} cells, and the first "
                f"{len(columns)}; put a cell that holds a {delimiter!r} into "
                "quotes"
            )
        row += [""] * (len(columns) - len(row))
        for column, cell in zip(columns, row, strict=False):
            cell = cell.strip()
            if len(known) < _KNOWN:
                known.setdefault(cell, cell)
            column.append(known.get(cell, cell))
    if not columns:
        raise csv.Error("it is empty")
    return Table(columns)


def find_columns(read: Table, asked: Asked, path: int) -> Columns:
    """Finds the columns that are not told.

    Args:
        read: The table, of which it is known whether it has a header.
        asked: What is told.
        path: The column of paths.

    Raises:
        UserError: If a column is not there, or more than one may be meant.
    """
    split, group = number(read, asked.split), number(read, asked.group)
    if split is None:
        split = _split_column(read)
    label = number(read, asked.label)
    if label is None:
        label = _label_column(read, {path, split, group})
    return Columns(path, label, split, group)


def path_column(
    read: Table, asked: str, folder: pathlib.Path
) -> tuple[int, int]:
    """The column whose cells are files, and how many of those looked at are.

    Args:
        read: The table.
        asked: What is told of it.
        folder: The folder that paths are relative to.

    Raises:
        UserError: If what is told is no column.
    """
    told = number(read, asked)
    places = range(len(read.columns)) if told is None else [told]
    there = {
        place: sum(is_file(folder, cell) for cell in read.some(place))
        for place in places
    }
    best = max(there, key=there.__getitem__)
    return best, there[best]


def is_file(folder: pathlib.Path, cell: str) -> bool:
    """Whether a cell is the path of a file."""
    return bool(cell) and os.path.isfile(path_of(folder, cell))


def path_of(folder: pathlib.Path | str, cell: str) -> str:
    """The path that a cell means, which may be written as on Windows."""
    path = os.path.join(folder, cell)
    if "\\" in cell and not os.path.exists(path):
        path = os.path.join(folder, cell.replace("\\", "/"))
    return os.path.normpath(path)


def names_of(
    read: Table, labels: set[str], file: str
) -> tuple[dict[str, str], str]:
    """The names of labels, by a table of ids and names.

    A table of one column is a name a line, for the labels 0, 1, …

    Args:
        read: The table.
        labels: The labels.
        file: Its name, for messages.

    Returns:
        Label to name, of all but an empty one; and the column, for messages.

    Raises:
        UserError: If there is no column of all the labels, or none of names,
            or two columns may hold the labels.
    """
    labels = labels - {""}
    if len(read.columns) == 1:
        lines = {str(row): cell for row, cell in enumerate(read.columns[0])}
        missing = sorted(labels - {x for x, name in lines.items() if name})
        if missing:
            raise UserError(
                f"{file} has no name for the label {missing[0]!r}; it has "
                f"{len(lines)} lines, for the labels from 0 on."
            )
        return {label: lines[label] for label in labels}, "the line"
    ids = _id_column(read, labels, file)
    found = {
        place: names
        for place, column in enumerate(read.columns)
        if place != ids
        and (names := _one_to_one(read.columns[ids], column, labels))
    }
    if not found:
        raise UserError(
            f"No column of {file} has a different name for each of the "
            f"{len(labels)} labels; give one that has."
        )
    called = [p for p in found if "name" in read.first[p].lower()]
    best = min(called or found)
    return found[best], f"column {read.first[best] if called else best}"


def _id_column(read: Table, labels: set[str], file: str) -> int:
    """The column that holds the labels: rather no others, but for a header."""
    fitting = [
        place
        for place, column in enumerate(read.columns)
        if labels <= set(column)
    ]
    exact = [p for p in fitting if labels == set(read.columns[p][1:])]
    if not fitting:
        raise UserError(
            f"No column of {file} holds all of the {len(labels)} labels, "
            f"{min(labels, default='')!r} first; give the file that names them."
        )
    if len(exact or fitting) > 1:
        both = ", ".join(read.first[place] for place in exact or fitting)
        raise UserError(
            f"The labels may be those of any of several columns of {file}: "
            f"{both}. Give a file with one column of ids and one of names."
        )
    return (exact or fitting)[0]


def _one_to_one(
    ids: Sequence[str], names: Sequence[str], labels: set[str]
) -> dict[str, str]:
    """Label to name; empty where a name is not of one label alone."""
    pairs = {
        (label, name)
        for label, name in zip(ids, names, strict=True)
        if label in labels and name
    }
    found = dict(pairs)
    is_one_to_one = len(pairs) == len(labels) == len(set(found.values()))
    return found if is_one_to_one and len(found) == len(labels) else {}


def _delimiter(lines: Sequence[str]) -> str:
    """The one that divides every line into as many cells, and most."""
    even = {}
    for mark in (*_DELIMITERS, " "):
        rows = csv.reader(lines, delimiter=mark, skipinitialspace=True)
        counts = {len(row) for row in rows if row}
        if len(counts) == 1 and max(counts) > 1:
            even[mark] = max(counts)
    # Names hold blanks: they divide only where nothing else does.
    marks = [mark for mark in even if mark != " "] or list(even)
    if marks:
        return max(marks, key=lambda mark: even[mark])
    return max(_DELIMITERS, key=lambda mark: sum(mark in x for x in lines))


def _split_column(read: Table) -> int | None:
    """The column that is called so; numbers of folds are no splits."""
    place = _named(read, _SPLIT_COLUMNS)
    values = {cell.lower() for cell in read.column(place)}
    return place if values & SPLIT_NAMES.keys() else None


def _label_column(read: Table, taken: set[int | None]) -> int:
    """The column of labels, if there is one alone, or of such a name."""
    others = [p for p in range(len(read.columns)) if p not in taken]
    if len(others) == 1:
        return others[0]
    named = _named(read, _LABEL_COLUMNS)
    if named is not None and named in others:
        return named
    told = "; ".join(
        f"{read.first[place] if read.has_header else place} "
        f"({len(set(read.column(place)))} different, such as "
        f"{read.some(place)[0]!r})"
        for place in others
    )
    raise UserError(
        f"The labels may be in any of several columns: {told}. Give "
        "--label_column with the name or number of one."
        if others
        else "There is no column of labels beside that of paths; if cells "
        "are divided by something else than , ; | blanks and tabs, change it."
    )


def number(read: Table, asked: str) -> int | None:
    """The number of a column that is asked for by its name or number."""
    header = read.first
    if not asked:
        return None
    if asked in header:
        return header.index(asked)
    if asked.isdecimal() and int(asked) < len(header):
        return int(asked)
    raise UserError(
        f"There is no column {asked!r}; there are {', '.join(header)}, or 0 "
        f"to {len(header) - 1}."
    )


def _named(read: Table, names: Sequence[str]) -> int | None:
    """The number of the column of the first of some names, if there is one."""
    header = [cell.lower() for cell in read.first] if read.has_header else []
    return next((header.index(n) for n in names if n in header), None)


def _json_lines(text: str) -> Table:
    try:
        rows = [
            msgspec.json.decode(line, type=dict[str, Any])
            for line in text.split("\n")
            if line.strip()
        ]
    except msgspec.DecodeError as error:
        raise csv.Error(str(error)) from None
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise csv.Error("it is empty")
    columns = [
        [name, *(_text(row.get(name)) for row in rows)] for name in names
    ]
    return Table(columns, has_header=True)


def _parquet(file: pathlib.Path) -> Table:
    try:
        from pyarrow import ArrowInvalid, parquet  # type: ignore
    except ImportError:
        raise UserError(
            f"{file} is a Parquet file, which needs a package that is not "
            "installed; run pip install pyarrow"
        ) from None
    try:
        found = parquet.read_table(file)
    except ArrowInvalid as error:
        raise csv.Error(str(error)) from None
    columns = [
        [name, *map(_text, found.column(name).to_pylist())]
        for name in found.column_names
    ]
    if not columns:
        raise csv.Error("it is empty")
    return Table(columns, has_header=True)


def _text(cell: object) -> str:
    """A cell; of an image that the file holds itself, the path alone."""
    if isinstance(cell, dict):
        cell = cell.get("path")
    return "" if cell is None else str(cell)
