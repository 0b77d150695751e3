"""A source whose images are files."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from hierkeras._errors import UserError
from hierkeras.data import splits
from hierkeras.data.catalogue import SPLITS, Catalogue
from hierkeras.data.files import contents, left_out
from hierkeras.data.files.listing import Files
from hierkeras.data.source import DataConfig, Source

if TYPE_CHECKING:
    import tensorflow as tf

# Images whose size is looked at; their median is the data set's.
_LOOKED_AT = 50
_SAME_PICTURE = "the same picture twice in its class"


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Files and what is said of them, column by column.

    Args:
        files: The files; their paths are relative to `root`, or absolute.
        labels: int32 array of shape (n,): index into `class_names`.
        class_names: Names of the classes, sorted.
        given: array of str, shape (n,): each file's split, of `SPLITS`;
            None: none is given.
        groups: array of str, shape (n,): what belongs to one split, such as
            a series; None: each file is a group of its own.
    """

    files: Files
    labels: npt.NDArray[np.int32]
    class_names: tuple[str, ...]
    given: npt.NDArray[np.object_] | None = None
    groups: npt.NDArray[np.object_] | None = None


@dataclasses.dataclass(frozen=True)
class Opened:
    """A source that is about to be made.

    Args:
        config: The data set's name, and the fractions of its splits.
        kind: The kind of data set, such as `folder`.
        root: The folder that paths are relative to.
        how: How files were read, in words, such as `splits by folders`.
        kept: What an earlier run found in the files; see `contents.look`.
    """

    config: DataConfig
    kind: str
    root: pathlib.Path
    how: str
    kept: bytes = b""

    def source(self, labelled: Labelled, tally: left_out.Tally) -> FileSource:
        """Looks into the files, and leaves out what is no image, or is twice.

        Args:
            labelled: The files.
            tally: Counts what is left out.
        """
        files, root = labelled.files, str(self.root)
        found = contents.look(root, files, self.kept)
        is_image = _images(files, found, tally)
        rows = _once(labelled, found, is_image, tally)
        # As a rule it is all of them, of which no copy is made.
        every = slice(None) if len(rows) == len(files.paths) else rows
        catalogue = self._catalogue(labelled, found, every)
        return FileSource(
            self,
            catalogue,
            tally.result(),
            _monotonous(labelled, is_image, rows),
            lambda: contents.to_bytes(root, files, found),
        )

    def _catalogue(
        self,
        labelled: Labelled,
        found: contents.Contents,
        rows: npt.NDArray[np.int64] | slice,
    ) -> Catalogue:
        digests = found.digests[rows]
        labels = labelled.labels[rows]
        assign = functools.partial(
            splits.assign_splits,
            _places(digests, _some(labelled.groups, rows)),
            labels,
            _some(labelled.given, rows),
            validation_fraction=self.config.validation_fraction,
            test_fraction=self.config.test_fraction,
            num_classes=len(labelled.class_names),
        )
        return Catalogue(
            labelled.class_names,
            np.array(labelled.files.paths, object)[rows],
            labels,
            assign(),
            digests.view("V16")[:, 0],
            assign,
        )


class FileSource(Source):
    """Image files.

    Args:
        opened: Where they are, and how they were found.
        catalogue: One row for each file; keys are paths relative to the root.
        left_out: What of the data set is not used.
        notes: What is odd about its classes, a line each.
        keep: Gives what a later run needs to know of the files.
    """

    is_by_content = True

    def __init__(
        self,
        opened: Opened,
        catalogue: Catalogue,
        left_out: tuple[left_out.LeftOut, ...] = (),
        notes: tuple[str, ...] = (),
        keep: Callable[[], bytes] | None = None,
    ) -> None:
        super().__init__(opened.config.dataset, catalogue)
        self.kind = opened.kind
        self.root = opened.root
        self.how = opened.how
        self.left_out = left_out
        self.notes = notes
        self.keep = keep

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


def _images(
    files: Files, found: contents.Contents, tally: left_out.Tally
) -> npt.NDArray[np.bool_]:
    """Which files are images; the others are counted."""
    why_not = [found.why_not(kind) for kind in range(len(found.names))]
    is_none = np.array([*map(bool, why_not), False])[found.kinds]
    for row in np.flatnonzero(is_none).tolist():
        tally.add(str(why_not[found.kinds[row]]), files.paths[row])
    images: npt.NDArray[np.bool_] = ~is_none
    return images


def _once(
    labelled: Labelled,
    found: contents.Contents,
    is_image: npt.NDArray[np.bool_],
    tally: left_out.Tally,
) -> npt.NDArray[np.int64]:
    """The images, each picture of a class once: rather in the test split."""
    rank = np.zeros(len(is_image), np.int8)
    if labelled.given is not None:
        for number, split in enumerate(SPLITS):
            rank[labelled.given == split] = -number
    words = found.digests.view(np.uint64)
    order = np.lexsort((rank, words[:, 1], words[:, 0], labelled.labels))
    order = order[is_image[order]]
    kept = np.ones(len(order), bool)
    if len(order) > 1:
        labels, pictures = labelled.labels[order], words[order]
        same = (pictures[1:] == pictures[:-1]).all(axis=1)
        kept[1:] = ~(same & (labels[1:] == labels[:-1]))
    for row in order[~kept].tolist():
        tally.add(_SAME_PICTURE, labelled.files.paths[row])
    return np.sort(order[kept])


def _monotonous(
    labelled: Labelled,
    is_image: npt.NDArray[np.bool_],
    rows: npt.NDArray[np.int64],
) -> tuple[str, ...]:
    """A line about each class whose files are mostly the same pictures."""
    size = len(labelled.class_names)
    files = np.bincount(labelled.labels[is_image], minlength=size)
    pictures = np.bincount(labelled.labels[rows], minlength=size)
    return tuple(
        f"class {labelled.class_names[label]!r} has {files[label]:,} image "
        f"files, but only {pictures[label]:,} different"
        for label in np.flatnonzero(2 * pictures <= files).tolist()
        if files[label] > 1
    )


def _some(
    column: npt.NDArray[np.object_] | None, rows: npt.NDArray[np.int64] | slice
) -> npt.NDArray[np.object_] | None:
    return None if column is None else column[rows]


def _places(
    digests: npt.NDArray[np.uint8],
    groups: npt.NDArray[np.object_] | None,
) -> npt.NDArray[np.float64]:
    """Each image's place in [0, 1): its group's, or that of its content."""
    words = digests.view(">u8")[:, 0]
    of_content: npt.NDArray[np.float64] = words / 2.0**64
    if groups is None:
        return of_content
    return np.where(groups == "", of_content, splits.places(groups))


def _thumbnail(file: pathlib.Path, side: int) -> npt.NDArray[np.uint8] | None:
    # A file that is no image is found, and named, when it is decoded.
    with contextlib.suppress(Exception), Image.open(file) as image:
        image.draft("RGB", (2 * side, 2 * side))  # of a JPEG, but a part
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(upright.resize((side, side), Image.Resampling.BOX))
    return None
