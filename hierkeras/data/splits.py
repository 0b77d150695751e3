"""Which examples are for training, for choosing, and for reporting errors.

The fractions are the paper's (section 5, Dataset): 85 % training, 5 %
validation and 10 % test. An example's split follows from its place in [0, 1)
alone, which a hash of its content or key gives, so that images which arrive
later never move one that was tested on into training.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt

from hierkeras._errors import UsageError, UserError
from hierkeras.data.catalogue import EXCLUDED, SPLITS, Catalogue

_TRAIN, _VALIDATION, _TEST = range(len(SPLITS))
# What people call them, in lower case.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def assign_splits(
    places: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int32],
    given: npt.NDArray[Any] | None,
    *,
    validation_fraction: float = 0.05,
    test_fraction: float = 0.10,
    num_classes: int,
    excluded: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int8]:
    """Assigns every example to training, validation or test.

    An example whose place is below `test_fraction` goes to test, the next
    `validation_fraction` to validation, the rest to training. Only where a
    split of a class would be empty are these limits moved, to the example of
    next place. Examples of one place stay together.

    A source's own splits are kept if it has all three. If it has training and
    one other, the other becomes the test split and validation is carved out
    of training. If it has one only, that is split as if it were none.

    Args:
        places: float64 array of shape (n,), in [0, 1): see `places`.
        labels: int array of shape (n,), in [0, num_classes), or -1.
        given: array of str, shape (n,), with the source's own splits, of
            `SPLITS`; None if it has none.
        validation_fraction: share of the examples, in (0, 1).
        test_fraction: share of the examples, in (0, 1).
        num_classes: number of classes.
        excluded: bool array of shape (n,): examples that belong to no split;
            None: there are none.

    Returns:
        int8 array of shape (n,): index into `SPLITS`, -1 of the excluded.

    Raises:
        UsageError: if the fractions leave nothing for one of the splits.
        UserError: if the source has two splits, neither of them training.
    """
    _check_fractions(validation_fraction, test_fraction)
    own = _own_splits(given, len(places))
    present = set(np.unique(own).tolist())
    used = np.ones(len(places), bool) if excluded is None else ~excluded
    if len(present) == len(SPLITS):
        return np.where(used, own, EXCLUDED).astype(np.int8)
    if len(present) == 2:
        if _TRAIN not in present:
            raise UserError(
                "The data set has the splits 'validation' and 'test' but no "
                "'train'; add one, or give its images without splits."
            )
        splits = np.where(own == _TRAIN, _TRAIN, _TEST).astype(np.int8)
        fractions = {_VALIDATION: validation_fraction}
    else:
        splits = np.zeros(len(places), np.int8)
        fractions = {_TEST: test_fraction, _VALIDATION: validation_fraction}
    splits[~used] = EXCLUDED
    _carve(splits, places, labels, num_classes, fractions)
    return splits


def places(keys: Iterable[str]) -> npt.NDArray[np.float64]:
    """Returns each key's place in [0, 1), which its SHA-256 decides."""
    digests = b"".join(
        hashlib.sha256(key.encode(errors="surrogateescape")).digest()[:8]
        for key in keys
    )
    return np.frombuffer(digests, ">u8") / 2.0**64


def check_enough(
    catalogue: Catalogue,
    classes: Sequence[str],
    besides: str = "",
    least: int = len(SPLITS),
    known: Sequence[str] = (),
) -> None:
    """Checks that every class can be learnt, and be chosen by.

    A class needs three images, of which two splits at least have some: a test
    split of the data set's own may lack it, as `untested` tells. Where an
    image to learn from is enough, one of the classes, or of those that are
    known by then, must have one to choose by.

    Args:
        catalogue: the examples.
        classes: the classes that are about to be learnt.
        besides: what was left out of it, for the message.
        least: images of a class, 3; or 1: one to learn from.
        known: the classes that a tree knows before; the data set may lack
            some of them.

    Raises:
        UserError: if a class has too few images, naming it and the number.
    """
    counts = catalogue.counts(classes)
    lacking = {
        name: count
        for name, count in counts.items()
        if not count["train"]
        or (least > 1 and not count["validation"])
        or sum(count.values()) < least
    }
    if not lacking and classes:
        _check_chosen_by(catalogue, {*classes, *known})
    if not lacking:
        return
    name = next(iter(lacking))
    count = lacking.pop(name)
    more = f" (and {len(lacking)} more)" if lacking else ""
    held = ", ".join(f"{number} {split}" for split, number in count.items())
    held += f"; {besides}" if besides else ""
    raise UserError(
        f"Class {name!r}{more} has {sum(count.values())} images ({held}); a "
        f"class needs at least {least}, "
        + ("one in each split" if least > 1 else "to learn from")
        + ": add images or leave a new class out."
    )


def _check_chosen_by(catalogue: Catalogue, classes: Set[str]) -> None:
    here = [name for name in catalogue.class_names if name in classes]
    if not catalogue.indices("validation", here).size:
        raise UserError(
            f"None of the {len(classes)} classes of the step has two images, "
            "one to learn from and one to choose by: add an image of one "
            "class at least, or let a class with more come first."
        )


def untested(catalogue: Catalogue, classes: Sequence[str]) -> list[str]:
    """The classes without test images: nothing tells their error.

    Args:
        catalogue: the examples.
        classes: the classes to ask for.
    """
    counts = catalogue.counts(classes)
    return [name for name in classes if not counts[name]["test"]]


def _check_fractions(validation: float, test: float) -> None:
    if validation <= 0 or test <= 0 or validation + test >= 1:
        raise UsageError(
            "Expected validation and test fractions above 0 with a sum below "
            f"1. Received: {validation} and {test}; the paper's are 0.05 and "
            "0.1."
        )


def _own_splits(
    given: npt.NDArray[Any] | None, size: int
) -> npt.NDArray[np.int8]:
    if given is None:
        return np.zeros(size, np.int8)
    codes = {name: number for number, name in enumerate(SPLITS)}
    return np.fromiter((codes[name] for name in given), np.int8, size)


def _carve(
    splits: npt.NDArray[np.int8],
    places: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int32],
    num_classes: int,
    fractions: Mapping[int, float],
) -> None:
    """Moves each class's examples of lowest place out of training."""
    rows = np.flatnonzero(splits == _TRAIN)
    rows = rows[np.lexsort((places[rows], labels[rows]))]
    starts = np.searchsorted(labels[rows], np.arange(num_classes + 1))
    limits = np.cumsum(list(fractions.values()))
    for start, stop in itertools.pairwise(starts):
        members = rows[start:stop]
        # What shares a place moves together.
        distinct, firsts = np.unique(places[members], return_index=True)
        ends = np.searchsorted(distinct, limits).tolist()
        borders = [*firsts.tolist(), len(members)]
        ends = [borders[end] for end in _without_empty(ends, len(distinct))]
        for split, first, last in zip(
            fractions, [0, *ends[:-1]], ends, strict=True
        ):
            splits[members[first:last]] = split


def _without_empty(ends: list[int], size: int) -> list[int]:
    """Moves the ends of consecutive ranges so that none of them is empty.

    Args:
        ends: where each range ends; a last one runs from there to `size`.
        size: number of members; with fewer than ranges, the first are empty.

    Returns:
        The ends, moved as little as possible.
    """
    moved: list[int] = []
    for end in ends:
        moved.append(max(end, moved[-1] + 1 if moved else 1))
    room = range(size - len(ends), size)
    return [
        max(min(end, most), 0) for end, most in zip(moved, room, strict=True)
    ]
