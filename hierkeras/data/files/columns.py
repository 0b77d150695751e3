"""Which columns of a table hold paths, labels, splits, groups and names."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from hierkeras._errors import UserError
from hierkeras.data.files.table import Table, is_file
from hierkeras.data.splits import SPLIT_NAMES

# Names of columns, in lower case, as catalogues have them.
_LABEL_COLUMNS = (
    *("label", "class", "class_name", "category", "target", "species"),
    *("label_name", "name", "class_id", "category_id", "label_id", "labels"),
)
_SPLIT_COLUMNS = ("split", "subset", "set", "partition", "fold")


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
