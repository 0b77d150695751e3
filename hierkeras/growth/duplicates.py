"""Finds images that are there twice: in two classes, or in two splits."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Collection, Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from hierkeras.data.catalogue import SPLITS, Catalogue
from hierkeras.tree.generation import Duplicates, Where

_NOTED_PAIRS = 10


def find_duplicates(
    catalogue: Catalogue,
    indices: npt.NDArray[np.int64],
    hashes: npt.NDArray[np.uint64],
    fresh: Collection[str],
) -> tuple[Duplicates, ...]:
    """Finds equal images that are in two classes or in two splits.

    Args:
        catalogue: The examples.
        indices: Shape (n,), sorted: those to compare, all of them in a split.
        hashes: Shape (n,): equal where the images are.
        fresh: Classes that are looked at for the first time: what is equal
            among the others was found before.

    Returns:
        What was found, by place; nothing for a place with none.
    """
    _, group, sizes = np.unique(hashes, return_inverse=True, return_counts=True)
    members = collections.defaultdict(list)
    for row in np.flatnonzero(sizes[group] > 1).tolist():
        members[int(group[row])].append(int(indices[row]))
    looked_for = frozenset(fresh)
    fresh_labels = {
        label
        for label, name in enumerate(catalogue.class_names)
        if name in looked_for
    }
    counts: collections.Counter[Where] = collections.Counter()
    pairs: dict[Where, list[tuple[str, str]]] = collections.defaultdict(list)
    for equal in members.values():
        if fresh_labels.isdisjoint(catalogue.labels[equal].tolist()):
            continue
        for where, pair in _places(catalogue, equal):
            counts[where] += 1
            if len(pairs[where]) < _NOTED_PAIRS:
                one, other = map(_as_text, catalogue.keys[list(pair)].tolist())
                pairs[where].append((one, other))
    return tuple(
        Duplicates(where, count, tuple(pairs[where]))
        for where, count in sorted(counts.items())
    )


def _as_text(key: str) -> str:
    # A file's name may be no UTF-8, which JSON could not hold.
    return key.encode(errors="backslashreplace").decode()


def _places(
    catalogue: Catalogue, equal: list[int]
) -> Iterator[tuple[Where, tuple[int, int]]]:
    """Yields where equal images are, with two of them as an example."""
    # Of several with one label or split, the first is kept.
    of_label = {int(catalogue.labels[i]): i for i in reversed(equal)}
    of_split = {int(catalogue.splits[i]): i for i in reversed(equal)}
    if len(of_label) > 1:
        one, other, *_ = sorted(of_label.values())
        yield "two classes", (one, other)
    for one, other in itertools.combinations(sorted(of_split), 2):
        where = msgspec.convert(f"{SPLITS[one]} and {SPLITS[other]}", Where)
        yield where, (of_split[one], of_split[other])
