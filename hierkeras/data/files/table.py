"""Tables in files: delimiters and headers are found."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from hierkeras._errors import UserError

_DELIMITERS = ",;\t|"
_JSON_LINES = (".jsonl", ".ndjson")
_SNIFFED = 2**16
_KNOWN = 2**14
_LOOKED_AT = 50
# What headers call paths, in lower case.
_PATH_NAMES = (
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "image_path", "image_id", "img", "id", "name"),
)


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


def read(file: pathlib.Path, most: int | None = None) -> Table:
    """Reads a file of lines, JSON lines, or Parquet where pyarrow is there.

    Args:
        file: The file.
        most: About how many lines to read, evenly spaced; None: all.

    Raises:
        OSError, UnicodeError, csv.Error: If it cannot be read.
        UserError: If it is a Parquet file and pyarrow is not there.
    """
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return _parquet(file)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        head = lines.read(_SNIFFED).splitlines()
        lines.seek(0)
        # As many as there would be if all were as long as the first.
        count = len(head) * file.stat().st_size / _SNIFFED
        step = max(1, int(count / most)) if most else 1
        chosen = itertools.chain(
            itertools.islice(lines, 1), itertools.islice(lines, 0, None, step)
        )
        if suffix in _JSON_LINES:
            return _json_lines(chosen)
        return _delimited(chosen, _delimiter(head[:_LOOKED_AT]))


def _delimited(lines: Iterable[str], delimiter: str) -> Table:
    columns: list[list[str]] = []
    known: dict[str, str] = {}  # Labels are many times the same text.
    reader = csv.reader(
        lines, delimiter=delimiter, skipinitialspace=True, strict=True
    )
    for row in reader:
        if not any(map(str.strip, row)):
            continue
        columns = columns or [[] for _ in row]
        _check_width(row, columns, reader.line_num, delimiter)
        row += [""] * (len(columns) - len(row))
        for column, cell in zip(columns, row, strict=False):
            cell = cell.strip()
            if len(known) < _KNOWN:
                known.setdefault(cell, cell)
            column.append(known.get(cell, cell))
    if not columns:
        raise csv.Error("it is empty")
    return Table(columns)


def _check_width(
    row: Sequence[str], columns: Sequence[object], line: int, delimiter: str
) -> None:
    if any(map(str.strip, row[len(columns) :])):
        raise csv.Error(
            f"line {line} has {len(row)} cells, and the first {len(columns)}; "
            f"put a cell that holds a {delimiter!r} into quotes"
        )


def is_file(folder: pathlib.Path, cell: str) -> bool:
    """Whether a cell is the path of a file."""
    return bool(cell) and os.path.isfile(path_of(folder, cell))


def path_of(folder: pathlib.Path | str, cell: str) -> str:
    """The path that a cell means, which may be written as on Windows."""
    path = os.path.join(folder, cell)
    if "\\" in cell and not os.path.exists(path):
        path = os.path.join(folder, cell.replace("\\", "/"))
    return os.path.normpath(path)


def _delimiter(lines: Sequence[str]) -> str:
    """The one that divides every line into as many cells, and most."""
    even: dict[str, int] = {}
    for mark in (*_DELIMITERS, " "):
        rows = csv.reader(lines, delimiter=mark, skipinitialspace=True)
        counts = {len(row) for row in rows if row}
        if len(counts) == 1 and max(counts) > 1:
            even[mark] = max(counts)
    # Names hold blanks: they divide only where nothing else does.
    marks = [mark for mark in even if mark != " "] or list(even)
    if marks:
        return max(marks, key=even.__getitem__)
    return max(_DELIMITERS, key=lambda mark: sum(mark in x for x in lines))


def _json_lines(lines: Iterable[str]) -> Table:
    try:
        rows = [
            msgspec.json.decode(line, type=dict[str, Any])
            for line in lines
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
        return _text(cell.get("path"))
    return "" if cell is None else str(cell)
