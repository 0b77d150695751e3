"""Which of ImageNet's classes to learn: the paper's choice of animals.

ImageNet's folders are named after WordNet synsets (`n02084071` is "dog"), and
its `wordnet.is_a.txt` says which synset is a kind of which. Of the 3,998
animal synsets the paper learns 2,282, chosen by the rules that
`select_classes` follows (Xiao et al., 2014, section 5, "Dataset"):

    selection = select_classes(folder, folder / "wordnet.is_a.txt")
    selection.kept  # ("n01440764", "n01443537", ...)
"""

import collections
import dataclasses
import hashlib
import itertools
import os
import re
from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from pathlib import Path, PurePosixPath

from hierkeras._errors import UserError

ANIMAL = "n00015388"

_SYNSET = re.compile(r"n\d{8}")
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif"})
_HEAD_BYTES = 4096


@dataclasses.dataclass(frozen=True)
class Selection:
    """The classes chosen from a folder of synset folders, and the others.

    Attributes:
        kept: The classes to learn, sorted.
        inner: Synsets below the root that have another synset of the folder
            below them, sorted; their images may belong to either.
        too_small: The leaves with fewer images than asked for, each with the
            number of its images that are not ambiguous.
        ambiguous: The images that lie under two leaves or more, as sorted
            paths relative to the folder, such as `n02084071/n02084071_1.JPEG`.
    """

    kept: tuple[str, ...]
    inner: tuple[str, ...]
    too_small: Mapping[str, int]
    ambiguous: tuple[PurePosixPath, ...]


@dataclasses.dataclass(frozen=True)
class _Image:
    synset: str
    path: Path


def select_classes(
    folder: Path,
    is_a_file: Path,
    *,
    root: str = ANIMAL,
    min_images: int = 100,
) -> Selection:
    """Chooses the classes below `root` that have enough images of their own.

    The rules are those of Xiao et al., 2014, section 5:

    1.  Inner synsets are dropped, since an image of one may as well belong to
        a leaf below it. A leaf is a synset of `folder` with no other synset of
        `folder` below it. WordNet knows more synsets than ImageNet has images
        of, so a leaf by the images need not be a leaf of WordNet.
    2.  Leaves with fewer than `min_images` images are dropped. An image with
        the same bytes in two leaves has two labels, and counts in neither.

    Args:
        folder: Holds one folder of images for each synset; anything in it
            that is not named like a synset is ignored.
        is_a_file: ImageNet's `wordnet.is_a.txt`; see `read_is_a`.
        root: The synset below which to choose; "animal" unless told.
        min_images: The fewest images of a class.

    Returns:
        The choice, and what was left out and why. `kept` may be empty.

    Raises:
        UserError: Where the folder or file is missing, the folder has no
            synset folders, the file has a malformed line, or no line of it
            names `root`.
    """
    synsets = _synset_folders(folder)
    children = read_is_a(is_a_file)
    if root not in children:
        raise UserError(
            f"{is_a_file} has no synset below {root}; give the root of the "
            f"classes to choose, such as {ANIMAL} for animals."
        )
    leaves, inner = split_by_position(children, root, synsets)
    images = [image for leaf in leaves for image in _images(folder, leaf)]
    ambiguous = set(_under_two_synsets(images))
    counts = collections.Counter(
        image.synset for image in images if image not in ambiguous
    )
    return Selection(
        kept=tuple(leaf for leaf in leaves if counts[leaf] >= min_images),
        inner=inner,
        too_small={
            leaf: counts[leaf] for leaf in leaves if counts[leaf] < min_images
        },
        ambiguous=tuple(
            sorted(
                PurePosixPath(image.path.relative_to(folder))
                for image in ambiguous
            )
        ),
    )


def read_is_a(path: Path) -> dict[str, tuple[str, ...]]:
    """Reads ImageNet's `wordnet.is_a.txt`: one `parent child` pair a line.

    Args:
        path: The file.

    Returns:
        The children of every synset that has any. A synset may have several
        parents, as in WordNet.

    Raises:
        UserError: Where the file cannot be read or a line is malformed.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(
            f"Cannot read {path}: {error.strerror}; give ImageNet's "
            "wordnet.is_a.txt."
        ) from error
    children: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or not all(map(_SYNSET.fullmatch, fields)):
            raise UserError(
                f"{path}, line {number}: expected two synsets, the parent and "
                f"the child, such as 'n00015388 n01905661'; received {line!r}."
            )
        children.setdefault(fields[0], []).append(fields[1])
    return {parent: tuple(below) for parent, below in children.items()}


def split_by_position(
    children: Mapping[str, Sequence[str]],
    root: str,
    synsets: Collection[str],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Splits the synsets below a root into leaves and inner ones.

    Args:
        children: The children of each synset that has any; synsets may have
            several parents, and a cycle does no harm.
        root: Where to start; one of `synsets` if it is among them.
        synsets: The synsets to split.

    Returns:
        Those with no other of `synsets` below them, and those with one; both
        sorted. Synsets that are not below `root` are in neither.
    """
    candidates = set(synsets) & (_descendants(children, root) | {root})
    inner = {
        synset
        for synset in candidates
        if not candidates.isdisjoint(_descendants(children, synset) - {synset})
    }
    return tuple(sorted(candidates - inner)), tuple(sorted(inner))


def _descendants(
    children: Mapping[str, Sequence[str]], synset: str
) -> set[str]:
    """Everything below a synset; itself too where it is in a cycle."""
    found: set[str] = set()
    to_visit = [synset]
    while to_visit:
        for child in children.get(to_visit.pop(), ()):
            if child not in found:
                found.add(child)
                to_visit.append(child)
    return found


def _synset_folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            synsets = [
                entry.name
                for entry in entries
                if _SYNSET.fullmatch(entry.name) and entry.is_dir()
            ]
    except OSError as error:
        raise UserError(
            f"Cannot read the folder {folder}: {error.strerror}; give the "
            "folder that holds ImageNet's synset folders."
        ) from error
    if not synsets:
        raise UserError(
            f"{folder} holds no synset folders such as n01440764; give the "
            "folder that does (of ILSVRC 2012, train)."
        )
    return synsets


def _images(folder: Path, synset: str) -> list[_Image]:
    """The images of one synset, in the order of their names."""
    return [
        _Image(synset, path)
        for path in sorted((folder / synset).iterdir())
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    ]


def _under_two_synsets(images: Iterable[_Image]) -> list[_Image]:
    """The images whose bytes are found under two synsets or more.

    A digest of everything would read all of ImageNet. So images are told apart
    by size first, then by their first bytes; only where both agree are they
    read in full.
    """
    groups = [list(images)]
    for key in (_size, _digest_of_head, _digest):
        groups = [
            group
            for coarser in groups
            for group in _grouped(coarser, key)
            if len({image.synset for image in group}) > 1
        ]
    return list(itertools.chain.from_iterable(groups))


def _grouped(
    images: Iterable[_Image], key: Callable[[Path], Hashable]
) -> Iterable[list[_Image]]:
    groups: dict[Hashable, list[_Image]] = {}
    for image in images:
        groups.setdefault(key(image.path), []).append(image)
    return groups.values()


def _size(path: Path) -> int:
    return path.stat().st_size


def _digest_of_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(_HEAD_BYTES)).digest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
