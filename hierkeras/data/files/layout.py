"""Which class and which split a folder's images belong to.

What two readings of a folder would take for different data is refused, with
both of them: the worst that a data set can do is to be another one.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterable, Mapping

from hierkeras._errors import UserError
from hierkeras.data.splits import SPLIT_NAMES

Folder = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the images of a folder belong.

    Args:
        split: `train`, `validation` or `test`; empty: it is not told.
        path: The folders that lead to the class, the split's not among them.
    """

    split: str
    path: Folder


@dataclasses.dataclass(frozen=True)
class Layout:
    """How folders are read.

    Args:
        places: A folder that holds images to where they belong.
        left_out: A folder that holds images to why they are left out.
        class_names: The path of a class to its name.
        splits: The names of the folders that are splits.
    """

    places: Mapping[Folder, Place]
    left_out: Mapping[Folder, str]
    class_names: Mapping[Folder, str]
    splits: tuple[str, ...]


def read(
    root: str, counts: Mapping[Folder, int], class_depth: int = 0
) -> Layout:
    """Reads the layout of a folder of images.

    Args:
        root: The folder, for messages.
        counts: A folder below it to how many images lie directly in it; 0 of
            one that is empty, which is a class if it lies where others do.
        class_depth: How many levels of folders lead to a class, a split not
            counted, what is deeper belonging to it; 0: every folder that
            holds images is a class.

    Raises:
        UserError: If it can be read in two ways, or holds no classes.
    """
    empty = [folder for folder, count in counts.items() if not count]
    counts = {folder: count for folder, count in counts.items() if count}
    splits = _splits(root, counts, class_depth)
    if not splits and not class_depth:
        _check_no_splits_below(root, counts)
    places, left_out = _places(counts, splits, class_depth)
    if not places:
        raise UserError(
            f"The folder {root!r} holds {_images(counts)} in no class folders; "
            "expected images in PATH/CLASS/ or PATH/train/CLASS/, or "
            "--dataset=csv:FILE with a file that names their classes."
        )
    if not class_depth:
        _check_nesting(root, counts, places)
    depths = {len(place.path) for place in places.values()}
    for folder in empty:
        path = folder[1:] if folder[0] in splits else folder
        if len(path) in depths and (folder[0] in splits) == bool(splits):
            places[folder] = Place("", path)
    paths = {place.path for place in places.values()}
    return Layout(places, left_out, _names(paths), tuple(sorted(splits)))


def _places(
    counts: Iterable[Folder], splits: frozenset[str], class_depth: int
) -> tuple[dict[Folder, Place], dict[Folder, str]]:
    """Where folders belong; and why some are left out."""
    places: dict[Folder, Place] = {}
    left_out: dict[Folder, str] = {}
    for folder in counts:
        is_split = bool(folder) and folder[0] in splits
        split = SPLIT_NAMES[folder[0].lower()] if is_split else ""
        path = folder[1:] if is_split else folder
        if splits and not is_split:
            left_out[folder] = "beside the splits"
        elif not path:
            left_out[folder] = (
                f"in no class folder{' of ' + split if split else ''}"
            )
        elif len(path) < class_depth:
            left_out[folder] = (
                f"above the classes of --class_depth={class_depth}"
            )
        else:
            places[folder] = Place(split, path[: class_depth or None])
    return places, left_out


def _splits(
    root: str, counts: Mapping[Folder, int], class_depth: int
) -> frozenset[str]:
    """The top folders that are splits."""
    tops = {folder[0] for folder in counts if folder}
    named = {top for top in tops if top.lower() in SPLIT_NAMES}
    others = tops - named
    nested = {
        folder[0] for folder in counts if len(folder) > 1 and folder[0] in named
    }
    trains = {top for top in nested if SPLIT_NAMES[top.lower()] == "train"}
    if not named or (others and class_depth == 1):
        return frozenset()
    if others:
        suspicious = nested or {
            top for top in named if SPLIT_NAMES[top.lower()] != "train"
        }
        if not suspicious:
            return frozenset()  # a class of that name, as are the others
        raise _two_readings(root, counts, suspicious, others)
    if not nested:
        if class_depth == 1:
            return frozenset()
        raise UserError(
            f"The folder {root!r} holds {_images(counts)} in "
            f"{_some(named)} and in no class folders; expected "
            "PATH/train/CLASS/, or --dataset=csv:FILE with a file that names "
            "their classes."
        )
    if not trains:
        raise UserError(
            f"The folder {root!r} has the splits {_some(nested)} but no "
            "'train'; add one, or give its images without splits."
        )
    _check_each_once(root, nested)
    return frozenset(named)


def _check_each_once(root: str, nested: Iterable[str]) -> None:
    """Refuses two folders of one split."""
    meant = collections.Counter(SPLIT_NAMES[top.lower()] for top in nested)
    for split, number in meant.items():
        if number > 1:
            both = [t for t in nested if SPLIT_NAMES[t.lower()] == split]
            raise UserError(
                f"The folder {root!r} holds {_some(both)}, which both name "
                f"the {split} split; merge or rename one of them."
            )


def _check_no_splits_below(root: str, counts: Mapping[Folder, int]) -> None:
    """Refuses splits that are further down than at the top."""
    beside: dict[Folder, set[str]] = collections.defaultdict(set)
    for folder in counts:
        for depth in range(1, len(folder)):
            beside[folder[:depth]].add(folder[depth])
    for above, names in sorted(beside.items()):
        splits = {n for n in names if n.lower() in SPLIT_NAMES}
        meant = {SPLIT_NAMES[name.lower()] for name in splits}
        if len(meant) < 2 and (not splits or splits != names):
            continue
        depth = len(above)
        if any(f[:depth] == above and len(f) > depth + 1 for f in counts):
            raise UserError(
                f"The folder {root!r} holds the splits {_some(splits)} in "
                f"{'/'.join(above)!r}; give --dataset=folder:"
                f"{os.path.join(root, *above)}."
            )
        raise UserError(
            f"The folder {root!r} holds {_some(splits)} in the class folder "
            f"{'/'.join(above)!r}; expected PATH/{min(splits)}/CLASS/, or give "
            f"--class_depth={depth} to have what is in a class folder divided "
            "anew."
        )


def _two_readings(
    root: str,
    counts: Mapping[Folder, int],
    named: Iterable[str],
    others: Iterable[str],
) -> UserError:
    inside = {f: n for f, n in counts.items() if f and f[0] in named}
    outside = {f: n for f, n in counts.items() if f and f[0] in others}
    below = {folder[1:] for folder in inside if len(folder) > 1}
    as_split = (
        f"{_some(named)} as a split: {_classes(len(below))} of "
        f"{_images(inside)}, without the {_images(outside)} beside it"
        if below
        else f"{_some(named)} as images without a class: {_images(inside)} "
        f"left out of {_images(counts)}"
    )
    tops = {folder[0] for folder in counts if folder}
    return UserError(
        f"The folder {root!r} can be read in two ways: {as_split}; or every "
        f"folder as a class: {_classes(len(tops))} of {_images(counts)}. Move "
        "one of them elsewhere, or give --class_depth=1 for the second."
    )


def _check_nesting(
    root: str, counts: Mapping[Folder, int], places: Mapping[Folder, Place]
) -> None:
    """Refuses folders below a class that may be classes of their own."""
    paths: collections.Counter[Folder] = collections.Counter()
    for folder, place in places.items():
        paths[place.path] += counts[folder]
    for path in sorted(paths):
        for depth in range(1, len(path)):
            above = path[:depth]
            if above in paths:
                raise UserError(
                    f"The folder {root!r} can be read in two ways: "
                    f"{'/'.join(above)!r} holds {paths[above]:,} images of its "
                    f"own, and {'/'.join(path)!r} below it {paths[path]:,}, "
                    "which may be of the same class or of one of their own. "
                    f"Give --class_depth={depth} for the first, or move "
                    "images that are of neither."
                )
    last = collections.Counter(path[-1] for path in paths)
    repeated = [p for p in paths if last[p[-1]] > 1 and len(p) > 1]
    if 2 * len(repeated) > len(paths):
        depth = min(map(len, repeated)) - 1
        fewer = {path[:depth] for path in paths}
        example = "/".join(min(repeated))
        raise UserError(
            f"The folder {root!r} can be read in two ways: "
            f"{_classes(len(paths))} of {_images(paths)}, one for each folder, "
            f"{example!r} first; or {_classes(len(fewer))}, for folders like "
            f"{min(repeated)[-1]!r} are below several of them. Give "
            f"--class_depth={depth + 1} for the first, or --class_depth="
            f"{depth} for the second."
        )


def _names(paths: Iterable[Folder]) -> dict[Folder, str]:
    """A class is named by its last folder, where that is unique."""
    paths = list(paths)
    last = collections.Counter(path[-1] for path in paths)
    return {
        path: path[-1] if last[path[-1]] == 1 else "/".join(path)
        for path in paths
    }


def _images(counts: Mapping[Folder, int]) -> str:
    total = sum(counts.values())
    return f"{total:,} image{'' if total == 1 else 's'}"


def _classes(number: int) -> str:
    return f"{number:,} class{'' if number == 1 else 'es'}"


def _some(names: Iterable[str]) -> str:
    return " and ".join(map(repr, sorted(names)))
