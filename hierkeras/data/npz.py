"""Images and labels in one NumPy file.

images, labels, and optionally class_names      split by position
x, y                                            the same
x_train, y_train, x_test, y_test                as `keras.datasets` has it;
                                                x_val, y_val may be there, too
"""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hierkeras import _archives
from hierkeras._errors import UserError
from hierkeras.data.arrays import ArraySource, checksums
from hierkeras.data.catalogue import Catalogue
from hierkeras.data.files import left_out
from hierkeras.data.source import DataConfig
from hierkeras.data.splits import assign_splits, places

_PLAIN = (("images", "labels"), ("x", "y"))
_SPLIT = ("x_train", "y_train", "x_test", "y_test")
_OWN = ("x_val", "y_val")
_NAMES = "class_names"


def open_npz(place: str, config: DataConfig, kept: bytes = b"") -> ArraySource:
    """Opens a file that `numpy.savez` wrote.

    It holds `images`, uint8 of shape (n, height, width, 3) or (n, height,
    width), and `labels`, n integers or strings; or the same as `x` and `y`,
    or `x_train`, `y_train`, `x_test` and `y_test`. `class_names` may name the
    classes of integer labels, or give those of string labels an order;
    without it the labels themselves, sorted, are the names.

    Args:
        place: path of the file; "~" is the home directory.
        config: the fractions of validation and test.
        kept: unused; all of the file is read.

    Returns:
        A source of the file's images.

    Raises:
        UserError: if there is no such file or it holds something else.
        UsageError: if the fractions make no sense.
    """
    arrays, others = _load(place)
    if set(_SPLIT) <= arrays.keys():
        parts = {"train": _SPLIT[:2], "test": _SPLIT[2:]}
        if set(_OWN) <= arrays.keys():
            parts["validation"] = _OWN
    elif plain := [pair for pair in _PLAIN if set(pair) <= arrays.keys()]:
        parts = {"images": plain[0]}
    else:
        raise UserError(
            f"The file {place!r} holds "
            f"{', '.join([*arrays, *others]) or 'nothing'}; "
            f"expected {' or '.join(map(', '.join, (*_PLAIN, _SPLIT)))}."
        )
    keys: list[str] = []
    given: list[str] = []
    for part, (images_name, labels_name) in parts.items():
        count = _check(place, arrays, images_name, labels_name)
        keys += [f"{part}/{index:08d}" for index in range(count)]
        given += [part] * count
    try:
        images = np.concatenate([arrays[x] for x, _ in parts.values()])
    except ValueError as error:
        raise UserError(
            f"The images of {place!r} differ in size between "
            f"{' and '.join(x for x, _ in parts.values())}; make them one size."
        ) from error
    raw_labels = np.concatenate([arrays[y].ravel() for _, y in parts.values()])
    class_names, labels = _classes(place, raw_labels, arrays.get(_NAMES))
    key_array = np.array(keys, np.str_)
    splits = assign_splits(
        places(keys),
        labels,
        np.array(given, np.str_) if len(parts) > 1 else None,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        num_classes=len(class_names),
    )
    catalogue = Catalogue(
        class_names, key_array, labels, splits, checksums(images)
    )
    source = ArraySource(config.dataset, "npz", catalogue, images)
    used = {_NAMES, *itertools.chain(*parts.values())}
    source.left_out = _unused([*arrays, *others], used)
    return source


def _unused(
    names: Iterable[str], used: Collection[str]
) -> tuple[left_out.LeftOut, ...]:
    tally = left_out.Tally()
    for name in names:
        if name not in used:
            tally.add("arrays of other names", name)
    return tally.result()


def _load(place: str) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
    """The arrays of known names, and the other names."""
    path = pathlib.Path(place).expanduser()
    if not path.is_file():
        raise UserError(
            f"There is no file {place!r}; give --dataset=npz:FILE with the "
            "path of one."
        )
    try:
        with (
            _archives.told_damaged(),
            np.load(path, allow_pickle=False) as arrays,
        ):
            known = {*itertools.chain(*_PLAIN), *_SPLIT, *_OWN, _NAMES}
            others = [name for name in arrays if name not in known]
            return {n: arrays[n] for n in arrays if n in known}, others
    except (OSError, ValueError) as error:
        raise UserError(
            f"The file {place!r} is no .npz file of plain arrays; write it "
            "with numpy.savez, without arrays of objects."
        ) from error


def _check(
    place: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    images_name: str,
    labels_name: str,
) -> int:
    """Returns the number of images after checking them and their labels."""
    images, labels = arrays[images_name], arrays[labels_name]
    grey, colour = images.ndim == 3, images.ndim == 4 and images.shape[3] == 3
    if images.dtype != np.uint8 or not (grey or colour):
        raise UserError(
            f"Expected {images_name} of {place!r} to be uint8 of shape (n, "
            "height, width) or (n, height, width, 3). Received: "
            f"{images.dtype} of shape {images.shape}"
        )
    if labels.size != len(images) or labels.dtype.kind not in "iuU":
        raise UserError(
            f"Expected {labels_name} of {place!r} to be {len(images)} "
            f"integers or strings. Received: {labels.dtype} of shape "
            f"{labels.shape}"
        )
    return len(images)


def _classes(
    place: str,
    raw_labels: npt.NDArray[Any],
    names: npt.NDArray[Any] | None,
) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """Returns the names of the classes and each example's index into them."""
    if names is None:
        values, labels = np.unique(raw_labels, return_inverse=True)
        return tuple(map(str, values.tolist())), labels.astype(np.int32)
    class_names = tuple(map(str, names.tolist()))
    if len(set(class_names)) < len(class_names):
        raise UserError(
            f"The {_NAMES} of {place!r} are not unique; rename some."
        )
    positions: dict[str | int, int] = (
        {name: index for index, name in enumerate(class_names)}
        if raw_labels.dtype.kind == "U"
        else {index: index for index in range(len(class_names))}
    )
    values, inverse = np.unique(raw_labels, return_inverse=True)
    unnamed = [value for value in values.tolist() if value not in positions]
    if unnamed:
        raise UserError(
            f"The labels of {place!r} hold {unnamed[0]!r}, for which there is "
            f"none of the {len(class_names)} {_NAMES}; correct one of them."
        )
    table = np.array([positions[v] for v in values.tolist()], np.int32)
    return class_names, table[inverse]
