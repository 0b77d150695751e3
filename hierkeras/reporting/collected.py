"""What the report shows of a tree, as plain values."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from hierkeras.analysis.answers import Answered
from hierkeras.reporting.thumbnails import Thumbnails
from hierkeras.tree.nodes import Branch, Leaf, Tree

# Photos behind a cell of the confusion matrix, and samples of a class.
_PER_CELL, _PER_CLASS = 6, 3
_MOST_PAIRS = 24
# Cells of the confusion matrix, and changed classes, that a page shows.
MOST_CELLS, MOST_FLIPPED = 40_000, 200


@dataclasses.dataclass(frozen=True)
class ClassRow:
    """A class.

    Args:
        name: Its name.
        leaf: Name of the leaf that knows it.
        images: Images of the split that are of it.
        right: How many of them are named right.
        named: How many images of all classes are named as it.
        photos: Numbers of thumbnails.
        new: Whether the last step brought it.
    """

    name: str
    leaf: str
    images: int
    right: int
    named: int
    photos: list[int]
    new: bool

    @property
    def recall(self) -> float | None:
        """Share of its images that are named right."""
        return self.right / self.images if self.images else None

    @property
    def precision(self) -> float | None:
        """Share of what is named as it that is of it."""
        return self.right / self.named if self.named else None


@dataclasses.dataclass(frozen=True)
class Cell:
    """Images of one class that are taken for another.

    Args:
        true: Place of the class in the tree's classes.
        named: Place of what they are taken for.
        count: How many they are.
        photos: Numbers of the thumbnails of some, the surest mistakes first.
    """

    true: int
    named: int
    count: int
    photos: list[int]


def class_rows(
    tree: Tree,
    answered: Answered,
    new_classes: Sequence[str],
    thumbnails: Thumbnails,
    others: Callable[[str], np.ndarray],
) -> list[ClassRow]:
    """A row for each class, in the tree's order.

    Args:
        tree: The tree.
        answered: What it answers.
        new_classes: Those of the last step.
        thumbnails: Takes sample photos; fewer of each class where there are
            many.
        others: Photos of a class that the tree was not asked for.
    """
    size = len(tree.classes)
    images = np.bincount(answered.labels, minlength=size)
    named = np.bincount(answered.named, minlength=size)
    right = np.bincount(answered.labels[answered.right], minlength=size)
    leaf_of = {name: leaf.name for leaf in tree.leaves for name in leaf.classes}
    new = frozenset(new_classes)
    samples = _by_class(answered)
    each = min(_PER_CLASS, max(1, thumbnails.most // (2 * size)))
    return [
        ClassRow(
            name,
            leaf_of[name],
            int(images[place]),
            int(right[place]),
            int(named[place]),
            thumbnails.numbers(
                samples[place] if place in samples else others(name), each
            ),
            name in new,
        )
        for place, name in enumerate(tree.classes)
    ]


def _by_class(answered: Answered) -> dict[int, np.ndarray]:
    """Examples of each class, those first that are named right surely."""
    best = np.lexsort((-answered.confidence, ~answered.right))
    found: dict[int, list[int]] = collections.defaultdict(list)
    for row in best.tolist():
        own = found[int(answered.labels[row])]
        if len(own) < _PER_CLASS:
            own.append(int(answered.indices[row]))
    return {place: np.array(own) for place, own in found.items()}


def cells(answered: Answered, thumbnails: Thumbnails) -> list[Cell]:
    """The cells beside the diagonal of the confusion matrix, largest first.

    Args:
        answered: What the tree answers.
        thumbnails: Takes photos: of the largest cells, as long as there is
            room.

    Returns:
        The largest, if there are very many.
    """
    wrong = np.flatnonzero(~answered.right)
    surest = wrong[np.argsort(-answered.confidence[wrong], kind="stable")]
    behind: dict[tuple[int, int], list[int]] = collections.defaultdict(list)
    for row in surest.tolist():
        pair = int(answered.labels[row]), int(answered.named[row])
        behind[pair].append(int(answered.indices[row]))
    ordered = sorted(behind.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        Cell(
            *pair,
            len(examples),
            thumbnails.numbers(np.array(examples), _PER_CELL),
        )
        for pair, examples in ordered[:MOST_CELLS]
    ]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two classes that are taken for each other.

    Args:
        one: Place of a class, and
        other: of the other.
        count: Images of either that are taken for the other.
        photos: Thumbnails of images of `one` taken for `other`, and
        back: the other way round.
    """

    one: int
    other: int
    count: int
    photos: list[int]
    back: list[int]


def pairs(found: Sequence[Cell]) -> list[Pair]:
    """The pairs that are confused most, both ways together."""
    by_pair: dict[tuple[int, int], dict[bool, Cell]] = {}
    for cell in found:
        low, high = sorted((cell.true, cell.named))
        by_pair.setdefault((low, high), {})[cell.true == low] = cell
    made = []
    for (low, high), ways in by_pair.items():
        photos = [
            ways[way].photos if way in ways else [] for way in (True, False)
        ]
        count = sum(cell.count for cell in ways.values())
        made.append(Pair(low, high, count, *photos))
    made.sort(key=lambda pair: (-pair.count, pair.one, pair.other))
    return made[:_MOST_PAIRS]


def outline(
    tree: Tree, answered: Answered, about: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The tree's nodes, one in another, for the page's script.

    Args:
        tree: The tree.
        answered: What it answers.
        about: Node name to what else is said of it.
    """
    place = {name: number for number, name in enumerate(tree.classes)}
    wrong = np.bincount(
        answered.labels[~answered.right], minlength=len(tree.classes)
    )
    images = np.bincount(answered.labels, minlength=len(tree.classes))

    def shown(node: Leaf | Branch) -> dict[str, Any]:
        own = [place[name] for name in node.classes]
        return {
            "name": node.name,
            "classes": own if isinstance(node, Leaf) else len(own),
            "images": int(images[own].sum()),
            "wrong": int(wrong[own].sum()),
            "about": about.get(node.name, {}),
            "children": [shown(child) for child in node.children],
        }

    return shown(tree.root)


@dataclasses.dataclass(frozen=True)
class Flipped:
    """A class whose images are answered otherwise than by another tree.

    Args:
        name: The class.
        images: Images of it.
        before: How many of them the other tree names right, and
        now: this one.
        lost: Thumbnails of images that only the other one names right, and
        gained: that only this one does.
    """

    name: str
    images: int
    before: int
    now: int
    lost: list[int]
    gained: list[int]


def flips(
    tree: Tree,
    now: Answered,
    other: Tree,
    before: Answered,
    thumbnails: Thumbnails,
) -> list[Flipped]:
    """What got better and worse, of the classes that both trees know.

    Args:
        tree: This tree.
        now: What it answers.
        other: The other tree.
        before: What that answers, of images of its classes.
        thumbnails: Takes photos.

    Returns:
        The classes of which an image flipped, those that lost most first; of
        very many those that lost and those that gained most.
    """
    known = frozenset(other.classes)
    was_right = dict(
        zip(before.indices.tolist(), before.right.tolist(), strict=True)
    )
    found = []
    for place, name in enumerate(tree.classes):
        rows = np.flatnonzero(now.labels == place)
        if name not in known or not rows.size:
            continue
        examples, right = now.indices[rows], now.right[rows]
        was = np.array([was_right.get(e, False) for e in examples.tolist()])
        if (was == right).all():
            continue
        found.append((name, examples, was, right))
    found.sort(key=lambda one: int(one[3].sum()) - int(one[2].sum()))
    if len(found) > MOST_FLIPPED:  # the middle changed least
        half = MOST_FLIPPED // 2
        found = [*found[:half], *found[-half:]]
    return list(_flipped(found, thumbnails))


def _flipped(
    found: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]],
    thumbnails: Thumbnails,
) -> Iterator[Flipped]:
    for name, examples, was, right in found:
        yield Flipped(
            name,
            len(examples),
            int(was.sum()),
            int(right.sum()),
            thumbnails.numbers(examples[was & ~right], _PER_CELL),
            thumbnails.numbers(examples[right & ~was], _PER_CELL),
        )
