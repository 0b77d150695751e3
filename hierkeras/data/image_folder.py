"""Folders of image files, one folder for each class.

PATH/bee/1.jpg               split by the hash of what is in the file

PATH/train/bee/1.jpg         split by the folders
PATH/val/bee/2.jpg           (also `valid`, `validation`, `dev`, `test`, …)

PATH/insects/bee/1.jpg       every folder that holds images is a class
"""

from __future__ import annotations

import array
import collections
import os
import pathlib

import numpy as np

from hierkeras._errors import UserError
from hierkeras.data.decoding.formats import SUFFIXES
from hierkeras.data.files import contents, layout, left_out, listing
from hierkeras.data.files.layout import Folder, Layout
from hierkeras.data.files.listing import Files
from hierkeras.data.files.source import FileSource, Labelled, Opened
from hierkeras.data.registry import check_class_list
from hierkeras.data.source import DataConfig

# A file that may name the classes of images.
_LABEL_FILES = (".csv", ".tsv", ".parquet", ".jsonl")


def open_folder(
    place: str, config: DataConfig, kept: bytes = b""
) -> FileSource:
    """Opens a folder of class folders.

    Args:
        place: path of the folder; "~" is the home directory.
        config: the classes to use, where they are, and the fractions of
            validation and test.
        kept: what an earlier run found in the files.

    Returns:
        A source whose classes are the folders' names, sorted; a class folder
        without images is a class without examples.

    Raises:
        UserError: if there is no such folder, it cannot be read, holds no
            class folders or can be read in two ways, or if a class of
            `config.class_list` has no folder.
        UsageError: if the fractions make no sense.
    """
    root = pathlib.Path(place).expanduser()
    try:
        return _open(place, root, config, kept)
    except OSError as error:
        raise UserError(
            f"The folder {place!r} cannot be read: "
            f"{error.filename}: {error.strerror}."
        ) from None


def _open(
    place: str, root: pathlib.Path, config: DataConfig, kept: bytes
) -> FileSource:
    if not root.is_dir():
        raise UserError(
            f"There is no folder {place!r}; give --dataset=folder:PATH with "
            "the path of one."
        )
    tally = left_out.Tally()
    files = listing.walk(str(root), tally)
    folders = [_folder(path) for path in files.paths]
    counts = collections.Counter(
        folder
        for folder, path in zip(folders, files.paths, strict=True)
        if _may_be_image(path)
    )
    counts.update(
        {(*_folder(path), path.split("/")[-1]): 0 for path in files.empty}
    )
    if not any(counts.values()):
        raise UserError(
            f"The folder {place!r} holds no images; expected images in "
            "PATH/CLASS/ or PATH/train/CLASS/."
        )
    read = layout.read(place, counts, config.class_depth)
    _check_labels(place, files, read)
    if config.class_list:
        check_class_list(tuple(read.class_names.values()), config.class_list)
    labelled = _labelled(files, folders, read, config, tally)
    opened = Opened(config, "folder", root, _how(read, config), kept)
    return opened.source(labelled, tally)


def _folder(path: str) -> Folder:
    return tuple(path.split("/")[:-1])


def _may_be_image(path: str) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    return not suffix or suffix in SUFFIXES


def _labelled(
    files: Files,
    folders: list[Folder],
    read: Layout,
    config: DataConfig,
    tally: left_out.Tally,
) -> Labelled:
    """The files of the classes; the others are counted."""
    names = tuple(sorted(config.class_list or read.class_names.values()))
    label_of = {name: label for label, name in enumerate(names)}
    rows, labels, given = [], array.array("i"), []
    for row, folder in enumerate(folders):
        place = read.places.get(folder)
        if place is None:
            path = files.paths[row]
            tally.add(_why_no_class(path, read.left_out.get(folder)), path)
        elif (label := label_of.get(read.class_names[place.path])) is not None:
            rows.append(row)
            labels.append(label)
            given.append(place.split)
    chosen = Files(
        [files.paths[row] for row in rows],
        array.array("q", (files.sizes[row] for row in rows)),
        array.array("q", (files.times[row] for row in rows)),
    )
    return Labelled(
        chosen,
        np.array(labels, np.int32),
        names,
        given if read.splits else None,
    )


def _why_no_class(path: str, why: str | None) -> str:
    suffix = os.path.splitext(path)[1].lower()
    if why and suffix in SUFFIXES:
        return why
    return f"{contents.NO_IMAGE} ({suffix or 'without a suffix'})"


def _check_labels(place: str, files: Files, read: Layout) -> None:
    """Refuses one class beside a file that may name several."""
    beside = [
        path for path in files.paths if path.lower().endswith(_LABEL_FILES)
    ]
    if len(read.class_names) > 1 or not beside:
        return
    (name,) = read.class_names.values()
    file = os.path.join(place, min(beside, key=lambda path: path.count("/")))
    raise UserError(
        f"All images of the folder {place!r} are in {name!r}: one class is "
        f"nothing to tell apart. If {file} names their classes, give "
        f"--dataset=csv:{file}; if not, move it elsewhere."
    )


def _how(read: Layout, config: DataConfig) -> str:
    depths = sorted({len(path) for path in read.class_names})
    parts = []
    if read.splits:
        parts.append(f"splits by the folders {', '.join(read.splits)}")
    if config.class_depth or depths[-1] > 1:
        levels = " or ".join(map(str, depths))
        parts.append(f"classes by folders {levels} deep")
    if any("/" in name for name in read.class_names.values()):
        parts.append("named by their paths where their last part is not unique")
    return ", ".join(parts)
