"""Folders of image files, one folder for each class.

PATH/bee/1.jpg               split by the hash of what is in the file

PATH/train/bee/1.jpg         split by the folders
PATH/val/bee/2.jpg           (also `valid`, `validation`, `dev`, `test`, …)

PATH/insects/bee/1.jpg       every folder that holds images is a class
"""

from __future__ import annotations

import collections
import pathlib

import numpy as np
import numpy.typing as npt

from hierkeras._errors import UserError
from hierkeras.data.decoding.formats import SUFFIXES
from hierkeras.data.files import beside, contents, layout, left_out, listing
from hierkeras.data.files.layout import Folder, Layout
from hierkeras.data.files.listing import Files
from hierkeras.data.files.source import FileSource, Labelled, Opened
from hierkeras.data.registry import check_class_list
from hierkeras.data.source import DataConfig

# Files of a folder that are looked into if none is called an image.
_LOOKED_AT = 20


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
    folders, folder_of = _folders(files.paths)
    counts = _counts(root, files, folders, folder_of)
    if not any(counts.values()):
        raise UserError(
            f"The folder {place!r} holds no images; expected images in "
            "PATH/CLASS/ or PATH/train/CLASS/."
        )
    read = layout.read(place, counts, config.class_depth)
    if config.class_list:
        check_class_list(tuple(read.class_names.values()), config.class_list)
    if not config.class_depth:
        labels = _labels_of(folders, read, tuple(read.class_names.values()))
        beside.check(place, files.paths, labels[folder_of])
    labelled = _labelled(files, folders, folder_of, read, config, tally)
    opened = Opened(config, "folder", root, _how(read, config), kept)
    return opened.source(labelled, tally)


def _folders(paths: list[str]) -> tuple[list[Folder], npt.NDArray[np.int32]]:
    """The folders that hold files, and each file's position among them."""
    numbers: dict[str, int] = {}
    folder_of = np.fromiter(
        (
            numbers.setdefault(path.rpartition("/")[0], len(numbers))
            for path in paths
        ),
        np.int32,
        len(paths),
    )
    folders = [tuple(name.split("/")) if name else () for name in numbers]
    return folders, folder_of


def _counts(
    root: pathlib.Path,
    files: Files,
    folders: list[Folder],
    folder_of: npt.NDArray[np.int32],
) -> dict[Folder, int]:
    """How many images are in each folder, by their names; 0 of empty ones.

    Where no name is that of an image, it is looked whether there is one.
    """
    called = np.array([_suffix(path) in SUFFIXES for path in files.paths], bool)
    each = np.bincount(folder_of[called], minlength=len(folders))
    counts = dict(zip(folders, each.tolist(), strict=True))
    looked: collections.Counter[Folder] = collections.Counter()
    for row in np.flatnonzero(each[folder_of] == 0).tolist():
        folder = folders[folder_of[row]]
        looked[folder] += 1
        is_found = counts[folder] > 0 or (
            looked[folder] <= _LOOKED_AT
            and contents.is_image(str(root / files.paths[row]))
        )
        counts[folder] += is_found
    counts = {folder: count for folder, count in counts.items() if count}
    return counts | {tuple(path.split("/")): 0 for path in files.empty}


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2].lstrip(".")
    _, dot, end = name.rpartition(".")
    return f".{end}".lower() if dot else ""


def _labels_of(
    folders: list[Folder], read: Layout, names: tuple[str, ...]
) -> npt.NDArray[np.int32]:
    """Each folder's class as a position in `names`; -1: none of them."""
    label_of = {name: label for label, name in enumerate(names)}
    places = [read.places.get(folder) for folder in folders]
    return np.array(
        [
            label_of.get(read.class_names[place.path], -1) if place else -1
            for place in places
        ],
        np.int32,
    )


def _labelled(
    files: Files,
    folders: list[Folder],
    folder_of: npt.NDArray[np.int32],
    read: Layout,
    config: DataConfig,
    tally: left_out.Tally,
) -> Labelled:
    """The files of the classes; the others are counted."""
    names = tuple(sorted(config.class_list or read.class_names.values()))
    labels = _labels_of(folders, read, names)[folder_of]
    for row in np.flatnonzero(labels < 0).tolist():
        path = files.paths[row]
        tally.add(_why_no_class(path, folders[folder_of[row]], read), path)
    rows = np.flatnonzero(labels >= 0)
    given = None
    if read.splits:
        places = (read.places.get(folder) for folder in folders)
        splits = np.array([place and place.split for place in places], object)
        given = splits[folder_of[rows]]
    chosen = files if len(rows) == len(labels) else files.of(rows.tolist())
    return Labelled(chosen, labels[rows], names, given)


def _why_no_class(path: str, folder: Folder, read: Layout) -> str:
    if folder in read.places:
        return "of classes that are not on the list"
    suffix = _suffix(path)
    if folder in read.left_out and (not suffix or suffix in SUFFIXES):
        return read.left_out[folder]
    return f"{contents.NO_IMAGE} ({suffix or 'without a suffix'})"


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
