"""What every source of images promises."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from hierkeras.data.catalogue import Catalogue
from hierkeras.data.files.left_out import LeftOut

if TYPE_CHECKING:
    import tensorflow as tf


# Whether decoded images are kept in memory; see `hierkeras.data.images`.
Cache = Literal["auto", "memory", "none"]
# How images are changed at random while they are learnt; auto: by the data.
Augmentation = Literal["auto", "none", "shift", "mirror", "shift_mirror"]


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which data set, and how it is split; every field is JSON.

    Args:
        dataset: kind and place, such as "digits" or "folder:PATH".
        validation_fraction: share of the images, where the source has no
            validation split.
        test_fraction: share of the images, where the source has no splits.
        class_list: the classes to use, in this order; empty: all.
        class_depth: levels of folders that lead to a class, a split's not
            counted; 0: every folder that holds images is a class.
        path_column: column of a file that holds paths: its name, or its
            number from 0; empty: found by what it holds. So are
        label_column: the column of labels,
        split_column: of splits, and
        group_column: of what belongs to one split.
        label_names: file that names the labels; empty: they name themselves.
        from_workdir: the path of the data set from the work directory, if it
            has any.
    """

    dataset: str
    validation_fraction: float = 0.05
    test_fraction: float = 0.10
    class_list: tuple[str, ...] = ()
    class_depth: int = 0
    path_column: str = ""
    label_column: str = ""
    split_column: str = ""
    group_column: str = ""
    label_names: str = ""
    from_workdir: str = ""


class Source(abc.ABC):
    """A data set: its catalogue at once, its images on demand.

    Attributes:
        name: the data set's name as it was given, such as "folder:PATH".
        kind: the part of the name before the colon.
        catalogue: one row for each example.
        random_access: whether `read` takes indices in any order and as a
            tensor, so that a tf.data function may call it.
        is_photos: whether a shifted or mirrored image still is one of its
            class.
        is_by_content: whether an example is its content, whatever its name
            and place.
        how: how the data were read, in words; empty where it is plain.
        left_out: what of the data set is not used, and why.
        notes: what is odd about its classes, a line each.
        keep: gives what a later run needs not to read all again; None: it
            needs nothing.
    """

    kind: str
    random_access: bool = True
    is_photos: bool = True
    is_by_content: bool = False
    how: str = ""
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    keep: Callable[[], bytes] | None = None

    def __init__(self, name: str, catalogue: Catalogue) -> None:
        self.name = name
        self.catalogue = catalogue

    def typical_side(self) -> int | None:
        """The median of the shorter sides, in pixels, of some of its images.

        None where that cannot be told without decoding them.
        """
        return None

    def thumbnails(
        self, indices: npt.NDArray[np.int64], side: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """Small versions of some examples, made without TensorFlow.

        Args:
            indices: int64 array of shape (n,).
            side: their height and width in pixels; the whole image is
                squeezed into it.

        Returns:
            Those that could be read, int64 of shape (m,), and their images,
            uint8 of shape (m, side, side, 3). None where it takes TensorFlow.
        """
        return indices[:0], np.zeros((0, side, side, 3), np.uint8)

    def check_present(self) -> None:
        """Checks that the data set, which was opened, is still there.

        Raises:
            UserError: if it is gone.
        """
        return None

    @abc.abstractmethod
    def read(
        self, indices: npt.NDArray[np.int64] | tf.Tensor
    ) -> tf.data.Dataset:
        """Returns the images of some examples and touches no others.

        Args:
            indices: int64 of shape (n,), positions in the catalogue; sorted
                and no tensor unless `random_access`.

        Returns:
            A dataset of n images in the order of `indices`: an encoded image
            (scalar string), or uint8 of shape [height, width, 3].
        """
