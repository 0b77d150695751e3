"""Tables in files: delimiters, headers and columns are found, and said."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Sequence

from hierkeras._errors import UserError

_DELIMITERS = ",;\t|"
_SNIFFED_BYTES = 2**16
_LOOKED_AT = 50
# Names of columns, in lower case, as catalogues have them.
_LABEL_NAMES = (
    *("label", "class", "class_name", "category", "target", "species"),
    *("label_name", "name", "class_id", "category_id", "label_id", "labels"),
)
_SPLIT_NAMES = ("split", "subset", "set", "partition", "fold")


@dataclasses.dataclass(frozen=True)
class Table:
    """Lines of a file, cell by cell.

    Args:
        rows: The lines, at least one.
        has_header: Whether the first names the columns.
    """

    rows: list[list[str]]
    has_header: bool = False

    @property
    def first(self) -> list[str]:
        """The first line, which may be a header."""
        return self.rows[0]

    def column(self, place: int | None) -> list[str]:
        """What a column holds below a header; empty where there is none."""
        return [_cell(row, place) for row in self.rows[self.has_header :]]

    def with_header(self, path: int, root: pathlib.Path) -> Table:
        """The same, whose first line is a header unless it names a file.

        Args:
            path: The column of paths.
            root: The folder that they are relative to.
        """
        is_file = (root / _cell(self.first, path)).is_file()
        return Table(self.rows, has_header=not is_file)


@dataclasses.dataclass(frozen=True)
class Asked:
    """Columns as they are told: names, or numbers from 0; empty: not told.

    Args:
        path: Of paths of images.
        label: Of labels.
        split: Of splits.
        group: Of groups.
    """

    path: str = ""
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
    """Reads a file of lines, or a Parquet file where pyarrow is installed.

    Args:
        file: The file.

    Raises:
        OSError, UnicodeError, csv.Error: If it cannot be read.
        UserError: If it is a Parquet file and pyarrow is not there.
    """
    if file.suffix.lower() == ".parquet":
        return _parquet(file)
    text = file.read_text(encoding="utf-8-sig")
    lines = text.splitlines()
    delimiter = _delimiter(lines[:_LOOKED_AT])
    rows = [
        [cell.strip() for cell in row]
        for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        if any(cell.strip() for cell in row)
    ]
    if not rows:
        raise csv.Error("it is empty")
    return Table(rows)


def find_columns(read: Table, asked: Asked, root: pathlib.Path) -> Columns:
    """Finds the columns that are not told.

    Args:
        read: The table.
        asked: What is told.
        root: The folder that paths are relative to.

    Raises:
        UserError: If a column is not there, or more than one may be meant.
    """
    path = _number(read, asked.path)
    if path is None:
        path = _path_column(read, root)
    read = read.with_header(path, root)
    split, group = _number(read, asked.split), _number(read, asked.group)
    if split is None:
        split = _named(read, _SPLIT_NAMES)
    label = _number(read, asked.label)
    if label is None:
        label = _label_column(read, {path, split, group})
    return Columns(path, label, split, group)


def names_of(read: Table, labels: set[str], name: str) -> dict[str, str]:
    """The names of labels, by a table of ids and names.

    A table of one column is a name a line, for the labels 0, 1, …

    Args:
        read: The table.
        labels: The labels.
        name: Of the file, for messages.

    Returns:
        Label to name; an empty label has none.

    Raises:
        UserError: If there is no column of all the labels, or none of names.
    """
    labels = labels - {""}
    width = len(read.first)
    if width == 1:
        column = [row[0] for row in read.rows]
        names = {str(number): cell for number, cell in enumerate(column)}
    else:
        columns = [
            [_cell(row, place) for row in read.rows] for place in range(width)
        ]
        ids = [p for p in range(width) if labels <= set(columns[p])]
        if not ids:
            raise UserError(
                f"No column of {name} holds all of the {len(labels)} labels, "
                f"{min(labels)!r} first; give the file that names them."
            )
        by_id = dict(zip(columns[ids[0]], range(len(read.rows)), strict=True))
        rows = [by_id[label] for label in sorted(labels)]
        fitting = [
            place
            for place in range(width)
            if place != ids[0]
            and len({columns[place][row] for row in rows} - {""}) == len(rows)
        ]
        if not fitting:
            raise UserError(
                f"No column of {name} has a different name for each of the "
                f"{len(labels)} labels; give one that has."
            )
        names = {label: columns[fitting[0]][by_id[label]] for label in labels}
    if missing := sorted(labels - names.keys()):
        raise UserError(
            f"{name} has no name for the label {missing[0]!r}; it has "
            f"{len(names)} lines, for the labels from 0 on."
        )
    return {label: names[label] for label in labels}


def _delimiter(lines: Sequence[str]) -> str:
    """The one that divides every line into as many cells, and most."""
    counts = {
        mark: {len(row) for row in csv.reader(lines, delimiter=mark) if row}
        for mark in _DELIMITERS
    }
    even = {mark: min(c) for mark, c in counts.items() if len(c) == 1}
    best = max(even, key=lambda mark: even[mark], default=",")
    if even.get(best, 1) > 1:
        return best
    # Names and numbers with blanks between them, as some lists have.
    if lines and all(len(line.split(" ")) == 2 for line in lines):
        return " "
    return max(_DELIMITERS, key=lambda mark: sum(mark in x for x in lines))


def _path_column(read: Table, root: pathlib.Path) -> int:
    """The column whose cells are files."""
    rows = read.rows[1 : 1 + _LOOKED_AT] or read.rows
    there = [
        sum((root / _cell(row, place)).is_file() for row in rows)
        for place in range(len(read.first))
    ]
    best = max(range(len(there)), key=there.__getitem__)
    if there[best]:
        return best
    raise UserError(
        f"No cell of {', '.join(rows[0])!r} is the path of a file below "
        f"{str(root)!r}; give --path_column, or move the list to where its "
        "paths begin."
    )


def _label_column(read: Table, taken: set[int | None]) -> int:
    """The column of labels, if there is one alone, or of such a name."""
    others = [p for p in range(len(read.first)) if p not in taken]
    named = _named(read, _LABEL_NAMES)
    if len(others) == 1:
        return others[0]
    if named is not None and named in others:
        return named
    told = "; ".join(
        f"{read.first[place] if read.has_header else place} "
        f"({len(set(read.column(place)))} different, such as "
        f"{read.column(place)[0]!r})"
        for place in others
    )
    raise UserError(
        f"The labels may be in any of several columns: {told or 'none'}. Give "
        "--label_column with the name or number of one."
    )


def _number(read: Table, asked: str) -> int | None:
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
    """The number of the column of the first of some names."""
    header = [cell.lower() for cell in read.first]
    return next((header.index(n) for n in names if n in header), None)


def _cell(row: Sequence[str], place: int | None) -> str:
    return row[place] if place is not None and place < len(row) else ""


def _parquet(file: pathlib.Path) -> Table:
    try:
        from pyarrow import parquet  # type: ignore[import-untyped]
    except ImportError:
        raise UserError(
            f"{file} is a Parquet file, which needs a package that is not "
            "installed; run pip install pyarrow"
        ) from None
    found = parquet.read_table(file)
    columns = [
        [_text(cell) for cell in found.column(name).to_pylist()]
        for name in found.column_names
    ]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Table([list(found.column_names), *rows])


def _text(cell: object) -> str:
    """A cell; of an image that the file holds itself, the path alone."""
    if isinstance(cell, dict):
        cell = cell.get("path")
    return "" if cell is None else str(cell)
