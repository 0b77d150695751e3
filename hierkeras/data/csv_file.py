"""A file that lists images and their classes, line by line.

path,label                        with a header or without, any delimiter
train.txt beside val.txt          files called as splits are the splits
train/metadata.csv, test/…        so are files in folders called as splits
"""

from __future__ import annotations

import array
import csv
import dataclasses
import itertools
import os
import pathlib
import stat
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hierkeras._errors import UserError
from hierkeras.data.files import columns, left_out, listing, table
from hierkeras.data.files.columns import Asked, Columns
from hierkeras.data.files.listing import Files
from hierkeras.data.files.source import FileSource, Labelled, Opened
from hierkeras.data.files.table import Table
from hierkeras.data.source import DataConfig
from hierkeras.data.splits import SPLIT_NAMES


@dataclasses.dataclass(frozen=True)
class _Part:
    """One of the files, which lists a split or all.

    Args:
        file: The file.
        split: The split that it lists; empty: it does not tell.
    """

    file: pathlib.Path
    split: str = ""


@dataclasses.dataclass
class _Lines:
    """What is listed, column by column; paths are relative to one folder."""

    paths: list[str] = dataclasses.field(default_factory=list)
    labels: list[str] = dataclasses.field(default_factory=list)
    splits: list[str] = dataclasses.field(default_factory=list)
    groups: list[str] = dataclasses.field(default_factory=list)


def open_csv(place: str, config: DataConfig, kept: bytes = b"") -> FileSource:
    """Opens a file that lists images and their classes.

    Paths are relative to the folder of the file, or to one below it. Where a
    file, or its folder, is called as a split is, such as `train.txt` or
    `train/metadata.csv`, those beside it are the others.

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
    first = pathlib.Path(os.path.abspath(os.path.expanduser(place)))
    tally = left_out.Tally()
    parts, root = _parts(first)
    labelled, how = _listed(first, root, parts, config, tally)
    return Opened(config, "csv", root, how, kept).source(labelled, tally)


def _listed(
    first: pathlib.Path,
    root: pathlib.Path,
    parts: Sequence[_Part],
    config: DataConfig,
    tally: left_out.Tally,
) -> tuple[Labelled, str]:
    """What the files list, and how they are read, in words."""
    tables = [_read(part.file) for part in parts]
    read = tables[[part.file for part in parts].index(first)]
    below, path = _below(str(first), read, config.path_column, first.parent)
    tables = [one.with_header(path) for one in tables]
    read = read.with_header(path)
    _check_alike(parts, tables, read)
    asked = Asked(config.label_column, config.split_column, config.group_column)
    found = columns.find_columns(read, asked, path)
    lines = _Lines()
    for part, one in zip(parts, tables, strict=True):
        folder = os.path.relpath(part.file.parent / below, root)
        _add(lines, one, found, part.split, folder)
    names, named = _label_names(config, set(lines.labels))
    how = found.told(read.first if read.has_header else None) + " of "
    how += ", ".join(os.path.relpath(part.file, root) for part in parts)
    how += f", paths from {below}" if below else ""
    return _labelled(first, root, lines, names, tally), how + named


def _parts(first: pathlib.Path) -> tuple[list[_Part], pathlib.Path]:
    """The file and those that list other splits; and the folder of all."""
    stem, folder = first.stem.lower(), first.parent
    if not first.is_file():
        raise UserError(
            f"There is no file {str(first)!r}; give --dataset=csv:FILE with "
            "the path of a file of lines."
        )
    beside, root = [], folder
    if stem in SPLIT_NAMES:
        beside = [
            _Part(file, SPLIT_NAMES[file.stem.lower()])
            for file in sorted(folder.iterdir())
            if file.suffix == first.suffix and file.stem.lower() in SPLIT_NAMES
        ]
    elif folder.name.lower() in SPLIT_NAMES:
        root = folder.parent
        beside = [
            _Part(other / first.name, SPLIT_NAMES[other.name.lower()])
            for other in sorted(root.iterdir())
            if other.name.lower() in SPLIT_NAMES
            and (other / first.name).is_file()
        ]
    if len(beside) < 2:
        return [_Part(first)], folder
    if len(beside) > len({part.split for part in beside}):
        both = ", ".join(str(part.file) for part in beside)
        raise UserError(
            f"Of {both} two name one split; remove or rename one of them."
        )
    return beside, root


def _read(file: pathlib.Path) -> Table:
    try:
        return table.read(file)
    except (OSError, UnicodeError, csv.Error) as error:
        raise UserError(
            f"The file {str(file)!r} cannot be read ({error}); give "
            "--dataset=csv:FILE with a file of lines, in UTF-8."
        ) from None


def _below(
    place: str, read: Table, asked: str, folder: pathlib.Path
) -> tuple[str, int]:
    """The folder below a file's that its paths begin in, and their column."""
    path, there = columns.path_column(read, asked, folder)
    if there:
        return "", path
    found = {
        below.name: column
        for below in sorted(folder.iterdir())
        if below.is_dir()
        for column, there in [columns.path_column(read, asked, below)]
        if there
    }
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        raise UserError(
            f"The paths of {place!r} can be read in {len(found)} ways: they "
            f"are files in {' and in '.join(map(repr, found))}; move the list "
            "to where its paths begin."
        )
    cells = ", ".join(read.some(p)[0] for p in range(len(read.columns)))
    raise UserError(
        f"No cell of {cells!r} of {place!r} is the path of a file from "
        f"{str(folder)!r} on; move the list to where its paths begin."
    )


def _check_alike(
    parts: Sequence[_Part], tables: Sequence[Table], first: Table
) -> None:
    for part, one in zip(parts, tables, strict=True):
        is_alike = len(one.columns) == len(first.columns) and (
            not first.has_header or one.first == first.first
        )
        if not is_alike or one.has_header != first.has_header:
            raise UserError(
                f"{part.file} has not the columns of the other splits "
                f"({', '.join(first.first)}); change it, or rename it if it "
                "lists no split."
            )


def _add(
    lines: _Lines, read: Table, found: Columns, split: str, folder: str
) -> None:
    """Adds what a table lists, of a split and in a folder."""
    paths = read.column(found.path)
    if folder != ".":
        paths = [os.path.join(folder, path) for path in paths]
    lines.paths += paths
    lines.labels += read.column(found.label)
    lines.splits += [own or split for own in read.column(found.split)]
    lines.groups += read.column(found.group)


def _label_names(
    config: DataConfig, labels: set[str]
) -> tuple[dict[str, str], str]:
    """Label to the name of its class; and what names them, in words."""
    if not config.label_names:
        return {label: label for label in labels}, ""
    file = pathlib.Path(config.label_names).expanduser()
    try:
        read = table.read(file)
    except (OSError, UnicodeError, csv.Error) as error:
        raise UserError(
            f"--label_names: {config.label_names} cannot be read ({error}); "
            "give a file with the columns of ids and names, or a name a line."
        ) from None
    names, by = columns.names_of(read, labels, file.name)
    return names, f", named by {by} of {file.name}"


def _labelled(
    file: pathlib.Path,
    root: pathlib.Path,
    lines: _Lines,
    names: dict[str, str],
    tally: left_out.Tally,
) -> Labelled:
    """The images that are there and have a class; the others are counted."""
    files, used = _there(root, lines, names, tally)
    labels = [names[lines.labels[row]] for row in used]
    class_names = tuple(sorted(set(labels)))
    if len(class_names) < 2:
        raise _too_few(file, len(used), class_names, tally)
    _check_labels(file, files.paths, labels)
    label_of = {name: label for label, name in enumerate(class_names)}
    return Labelled(
        files,
        np.array([label_of[label] for label in labels], np.int32),
        class_names,
        _given(file, files.paths, _column(lines.splits, used)),
        _column(lines.groups, used),
    )


def _there(
    root: pathlib.Path,
    lines: _Lines,
    names: dict[str, str],
    tally: left_out.Tally,
) -> tuple[Files, Sequence[int]]:
    """The files that can be used, sorted; and the lines that list them."""
    states, used = array.array("Q"), array.array("q")
    for row, path in enumerate(lines.paths):
        if not names.get(lines.labels[row]):
            tally.add("listed without a label", path)
        elif not (state := _state(root, path)):
            tally.add("listed and not there", path)
        else:
            used.append(row)
            states.append(state)
    files = Files([_key(root, lines.paths[row]) for row in used], states)
    if all(one <= two for one, two in itertools.pairwise(files.paths)):
        return files, used
    order = sorted(range(len(used)), key=files.paths.__getitem__)
    return files.of(order), [used[row] for row in order]


def _too_few(
    file: pathlib.Path,
    images: int,
    class_names: Sequence[str],
    tally: left_out.Tally,
) -> UserError:
    return UserError(
        f"The file {str(file)!r} lists {images:,} images that are there, of "
        f"{len(class_names)} classes; expected at least two. "
        + left_out.line(tally.result())
    )


def _state(root: pathlib.Path, path: str) -> int:
    """See `listing.state`; 0 of what is no file."""
    try:
        status = os.stat(table.path_of(root, path) if path else root)
    except (OSError, ValueError):
        return 0
    is_file = stat.S_ISREG(status.st_mode)
    return listing.state(path, status) if is_file else 0


def _key(root: pathlib.Path, path: str) -> str:
    """A path as paths from a folder are written, if it is below it."""
    if (
        "\\" not in path
        and not path.startswith((".", "/"))
        and "/." not in path
    ):
        return path  # as a rule
    there = os.path.relpath(table.path_of(root, path), root)
    return path if os.path.isabs(path) and there.startswith("..") else there


def _column(
    values: Sequence[str], rows: Sequence[int]
) -> npt.NDArray[np.object_] | None:
    """What some lines have in a column; None: nothing."""
    if not any(values[row] for row in rows):
        return None
    return np.array([values[row] for row in rows], object)


def _check_labels(
    file: pathlib.Path, paths: Sequence[str], labels: Sequence[str]
) -> None:
    """Checks that no image, of sorted paths, has two labels."""
    pairs = itertools.pairwise(zip(paths, labels, strict=True))
    for (path, label), (next_path, next_label) in pairs:
        if path == next_path and label != next_label:
            raise UserError(
                f"The file {str(file)!r} lists {path!r} as {label!r} and as "
                f"{next_label!r}; an image has one class."
            )


def _given(
    file: pathlib.Path,
    paths: Sequence[str],
    splits: npt.NDArray[np.object_] | None,
) -> npt.NDArray[np.object_] | None:
    """The splits as `SPLITS` calls them; None: none is given."""
    if splits is None:
        return None
    for path, split in zip(paths, splits, strict=True):
        if split.lower() not in SPLIT_NAMES:
            raise UserError(
                f"The file {str(file)!r} lists {path!r} "
                + (f"in the split {split!r}" if split else "in no split")
                + f"; valid are {', '.join(SPLIT_NAMES)}, or none at all."
            )
    return np.array([SPLIT_NAMES[split.lower()] for split in splits], object)
