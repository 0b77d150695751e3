"""Folders of image files, one folder for each class.

PATH/bee/1.jpg               split by the hash of "bee/1.jpg"

PATH/train/bee/1.jpg         split by the folders
PATH/val/bee/2.jpg           (also `validation`, `test`)
"""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import stat
from concurrent import futures
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from hierkeras._errors import UserError
from hierkeras.data.catalogue import Catalogue
from hierkeras.data.registry import check_class_list
from hierkeras.data.source import DataConfig, Source
from hierkeras.data.splits import assign_splits

if TYPE_CHECKING:
    import tensorflow as tf

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
# Images whose size is looked at; their median is the data set's.
_LOOKED_AT = 50
_SPLIT_FOLDERS = ("train", "val", "validation", "test")


class ImageFolderSource(Source):
    """Image files below one folder.

    Args:
        name: the data set's name as it was given.
        catalogue: one row for each file; keys are paths relative to `root`.
        root: the folder.
    """

    kind = "folder"

    def __init__(
        self, name: str, catalogue: Catalogue, root: pathlib.Path
    ) -> None:
        super().__init__(name, catalogue)
        self.root = root

    def read(
        self, indices: npt.NDArray[np.int64] | tf.Tensor
    ) -> tf.data.Dataset:
        """See `Source.read`; the images are the files' contents."""
        import tensorflow as tf

        paths = self._paths
        return tf.data.Dataset.from_tensor_slices(indices).map(
            lambda index: tf.io.read_file(tf.gather(paths, index)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    def typical_side(self) -> int | None:
        """See `Source.typical_side`; reads the heads of some files."""
        count = len(self.catalogue.keys)
        rows = np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(int)
        sides = []
        for key in self.catalogue.keys[rows].tolist():
            # A file that is no image is found, and named, when it is decoded.
            with (
                contextlib.suppress(Exception),
                Image.open(self.root / key) as image,
            ):
                sides.append(min(image.size))
        return int(np.median(sides)) if sides else None

    def thumbnails(
        self, indices: npt.NDArray[np.int64], side: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """See `Source.thumbnails`."""
        files = [self.root / key for key in self.catalogue.keys[indices]]
        with futures.ThreadPoolExecutor() as threads:
            found = list(
                threads.map(lambda file: _thumbnail(file, side), files)
            )
        is_read = np.array([image is not None for image in found], bool)
        images = [image for image in found if image is not None]
        shape = len(images), side, side, 3
        return indices[is_read], np.array(images, np.uint8).reshape(shape)

    def check_present(self) -> None:
        """See `Source.check_present`."""
        if not self.root.is_dir():
            raise UserError(
                f"The folder {str(self.root)!r}, which held the images, is "
                "gone; bring it back and run the same command again: what is "
                "finished is kept."
            )

    @functools.cached_property
    def _paths(self) -> tf.Tensor:
        import tensorflow as tf

        root = os.fsencode(self.root)
        keys = self.catalogue.keys.tolist()
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.constant(
                [os.path.join(root, os.fsencode(key)) for key in keys],
                tf.string,
            )


def _thumbnail(file: pathlib.Path, side: int) -> npt.NDArray[np.uint8] | None:
    # A file that is no image is found, and named, when it is decoded.
    with contextlib.suppress(Exception), Image.open(file) as image:
        image.draft("RGB", (2 * side, 2 * side))  # of a JPEG, but a part
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(upright.resize((side, side), Image.Resampling.BOX))
    return None


def open_folder(place: str, config: DataConfig) -> ImageFolderSource:
    """Opens a folder of class folders.

    Args:
        place: path of the folder; "~" is the home directory.
        config: the classes to use and the fractions of validation and test.

    Returns:
        A source whose classes are the folders' names, sorted; a class folder
        without images is a class without examples.

    Raises:
        UserError: if there is no such folder, it cannot be read or holds no
            class folders, or if a class of `config.class_list` has no folder.
        UsageError: if the fractions make no sense.
    """
    try:
        return _open(place, pathlib.Path(place).expanduser(), config)
    except OSError as error:
        raise UserError(
            f"The folder {place!r} cannot be read: "
            f"{error.filename}: {error.strerror}."
        ) from None


def _open(
    place: str, root: pathlib.Path, config: DataConfig
) -> ImageFolderSource:
    if not root.is_dir():
        raise UserError(
            f"There is no folder {place!r}; give --dataset=folder:PATH with "
            "the path of one."
        )
    split_folders = _split_folders(root)
    class_names = sorted(
        {
            name
            for folder in split_folders or [""]
            for name in _folders(root / folder)
        }
    )
    if not class_names:
        raise UserError(
            f"The folder {place!r} holds no class folders; expected images in "
            "PATH/CLASS/ or PATH/train/CLASS/."
        )
    if config.class_list:
        # Before the scan: it is long where few of many classes are used.
        check_class_list(class_names, config.class_list)
        class_names = sorted(config.class_list)

    keys: list[str] = []
    labels: list[int] = []
    given: list[str] = []
    sizes: list[int] = []
    for split in split_folders or [""]:
        for label, name in enumerate(class_names):
            prefix = f"{split}/{name}" if split else name
            for file, size in _images(root / split / name):
                keys.append(f"{prefix}/{file}")
                sizes.append(size)
                labels.append(label)
                given.append(split)
    key_array = np.array(keys, np.str_)
    label_array = np.array(labels, np.int32)
    splits = assign_splits(
        key_array,
        label_array,
        np.array(given, np.str_) if split_folders else None,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        class_names=class_names,
    )
    catalogue = Catalogue(
        tuple(class_names),
        key_array,
        label_array,
        splits,
        np.array(sizes, np.int64),
    )
    return ImageFolderSource(config.dataset, catalogue, root)


def _split_folders(root: pathlib.Path) -> list[str]:
    """Returns the split folders; none if `train` is but a class."""
    found = [name for name in _SPLIT_FOLDERS if (root / name).is_dir()]
    if "train" not in found or not _folders(root / "train"):
        return []
    if "val" in found and "validation" in found:
        raise UserError(
            f"The folder {str(root)!r} holds both 'val' and 'validation'; "
            "remove or rename one of them."
        )
    return found


def _folders(path: pathlib.Path) -> list[str]:
    with os.scandir(path) as entries:
        return [
            entry.name
            for entry in entries
            if entry.is_dir() and not entry.name.startswith(".")
        ]


def _images(path: pathlib.Path) -> list[tuple[str, int]]:
    """Returns name and size of the image files in a class folder, sorted.

    A link that leads nowhere, or a file that cannot be looked at, counts with
    size 0: decoding reports it. A folder, pipe or device is no file.
    """
    if not path.is_dir():
        return []
    found = []
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".") or not name.lower().endswith(
                IMAGE_SUFFIXES
            ):
                continue
            try:
                status = entry.stat()
            except OSError:
                found.append((name, 0))
            else:
                if stat.S_ISREG(status.st_mode):
                    found.append((name, status.st_size))
    return sorted(found)
