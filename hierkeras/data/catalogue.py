"""What a source holds, example by example, without the images."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hierkeras._errors import UserError

SPLITS = ("train", "validation", "test")
EXCLUDED = -1
_NO_ROWS = np.zeros(0, np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class Catalogue:
    """A table with one row for each example of a source.

    The position of a row is the example's index wherever the data package
    speaks of indices.

    Args:
        class_names: names of the classes, in the source's order.
        keys: array of str, shape (n,): the unique name of each example, such
            as "train/bee/n1_0.JPEG", for people.
        labels: int32 array of shape (n,): index into `class_names`, -1 for an
            example of a class that is left out.
        splits: int8 array of shape (n,): index into `SPLITS`, -1 for an
            excluded example.
        digests: array of shape (n,): what the example is, such as a hash of
            its file's bytes.
        assign: gives the splits anew where some examples, `excluded`, bool
            of shape (n,), cannot be used; None: the others stay where they
            are.

    Raises:
        ValueError: if the arrays differ in length.
    """

    class_names: tuple[str, ...]
    keys: npt.NDArray[Any]
    labels: npt.NDArray[np.int32]
    splits: npt.NDArray[np.int8]
    digests: npt.NDArray[Any]
    assign: Callable[..., npt.NDArray[np.int8]] | None = None

    def __post_init__(self) -> None:
        columns = (self.keys, self.labels, self.splits, self.digests)
        if len({len(column) for column in columns}) != 1:
            raise ValueError(
                "Expected columns of one length. Received: "
                f"{[len(column) for column in columns]}"
            )

    def indices(
        self, split: str, classes: Sequence[str]
    ) -> npt.NDArray[np.int64]:
        """Returns the examples of one split and some classes.

        Args:
            split: one of `SPLITS`.
            classes: names of classes, in any order.

        Returns:
            Sorted int64 array of indices.

        Raises:
            UserError: if the source has no class of one of the names.
            ValueError: if there is no such split.
        """
        if split not in SPLITS:
            raise ValueError(f"Expected one of {SPLITS}. Received: {split!r}")
        # What few classes cost follows from these, not from all.
        rows = np.concatenate([_NO_ROWS, *self._rows(classes)])
        return np.unique(rows[self.splits[rows] == SPLITS.index(split)])

    def labels_among(
        self, indices: npt.NDArray[np.int64], classes: Sequence[str]
    ) -> npt.NDArray[np.int32]:
        """Returns each example's class as a position in `classes`.

        Args:
            indices: int array of shape (n,).
            classes: names of classes.

        Returns:
            int32 array of shape (n,).

        Raises:
            UserError: if the source has no class of one of the names.
            ValueError: if an example is of none of the classes.
        """
        positions = self._places(classes)[self.labels[indices]]
        if (positions < 0).any():
            stray = self.keys[indices[positions < 0][0]]
            raise ValueError(
                f"Expected examples of {len(classes)} given classes only. "
                f"Received: {stray}"
            )
        return positions

    def counts(self, classes: Sequence[str]) -> dict[str, dict[str, int]]:
        """Returns the number of images by class and split.

        Args:
            classes: names of classes.

        Returns:
            A dictionary from class to a dictionary from split to number.

        Raises:
            UserError: if the source has no class of one of the names.
        """
        positions = self._positions(classes)
        used = (positions >= 0) & (self.splits >= 0)
        table = np.zeros((len(classes), len(SPLITS)), np.int64)
        np.add.at(table, (positions[used], self.splits[used]), 1)
        return {
            name: dict(zip(SPLITS, row.tolist(), strict=True))
            for name, row in zip(classes, table, strict=True)
        }

    def fingerprint(self, classes: Sequence[str]) -> str:
        """Returns a hash of what a model of these classes learns from.

        It covers the names of the classes and the split and digest of their
        training and validation examples; neither the order of `classes`, nor
        names of examples, nor other classes, nor the test split matter.

        Args:
            classes: names of classes.

        Returns:
            64 hexadecimal digits.

        Raises:
            UserError: if the source has no class of one of the names.
        """
        # All lines in order, of which few are in memory at a time.
        names = sorted(classes)
        return _hash(
            itertools.chain(
                map(_class_line, names),
                itertools.chain.from_iterable(self._learnt(names)),
            )
        )

    def class_fingerprints(
        self, classes: Sequence[str]
    ) -> dict[str, tuple[int, str]]:
        """Returns what a model learns from, class by class.

        Args:
            classes: names of classes.

        Returns:
            A dictionary from class to the number of its training and
            validation images and the fingerprint of that class alone.

        Raises:
            UserError: if the source has no class of one of the names.
        """
        return {
            name: (len(lines), _hash([_class_line(name), *lines]))
            for name, lines in zip(classes, self._learnt(classes), strict=True)
        }

    def digest(self, index: int) -> str:
        """What an example is, as text.

        Args:
            index: its position.
        """
        digest = self.digests[index]
        return (
            digest.tobytes().hex() if digest.dtype.kind == "V" else str(digest)
        )

    def by_content(
        self, indices: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Returns examples in an order in which their names have no part.

        Args:
            indices: int array of examples, whose digests are bytes.
        """
        digests = self.digests[indices].view("S16")
        return indices[np.lexsort((self.labels[indices], digests))]

    def excluding(self, indices: npt.NDArray[np.int64]) -> Catalogue:
        """Returns a catalogue in which some examples belong to no split.

        Args:
            indices: int array of the examples to leave out.
        """
        return self._excluding(indices, self.splits)

    def lacking(self, indices: npt.NDArray[np.int64]) -> Catalogue:
        """As `excluding`, of examples that nobody can use.

        They have no part in how classes are divided: what cannot be used
        leaves no split empty.

        Args:
            indices: int array of the examples to leave out.
        """
        if self.assign is None:
            return self.excluding(indices)
        excluded = self.splits == EXCLUDED
        excluded[indices] = True
        return self._excluding(indices, self.assign(excluded=excluded))

    def _excluding(
        self, indices: npt.NDArray[np.int64], splits: npt.NDArray[np.int8]
    ) -> Catalogue:
        splits = np.where(self.labels < 0, EXCLUDED, splits).astype(np.int8)
        splits[indices] = EXCLUDED
        return dataclasses.replace(self, splits=splits)

    def restricted_to(self, classes: Sequence[str]) -> Catalogue:
        """Returns a catalogue of some classes, in the order given.

        The rows stay in place, so that indices keep their meaning; those of
        other classes belong to no class and no split.

        Args:
            classes: names of classes.

        Raises:
            UserError: if the source has no class of one of the names.
        """
        positions = self._positions(classes)
        return dataclasses.replace(
            self,
            class_names=tuple(classes),
            labels=positions,
            splits=np.where(positions < 0, EXCLUDED, self.splits).astype(
                np.int8
            ),
        )

    def _learnt(self, classes: Sequence[str]) -> Iterator[list[str]]:
        """Yields what `fingerprint` covers of each class's examples, sorted."""
        learnt = SPLITS.index("train"), SPLITS.index("validation")
        for name, rows in zip(classes, self._rows(classes), strict=True):
            yield sorted(
                f"example\0{name}\0{split}\0{self.digest(i)}"
                for i, split in zip(rows, self.splits[rows], strict=True)
                if split in learnt
            )

    def _rows(self, classes: Sequence[str]) -> list[npt.NDArray[np.int64]]:
        """Returns the examples of each class, sorted, of any split or none."""
        order, starts = self._by_label
        labels = map(self._label, classes)
        return [order[starts[n] : starts[n + 1]] for n in labels]

    def _positions(self, classes: Sequence[str]) -> npt.NDArray[np.int32]:
        """Returns every example's position in `classes`, -1 where none."""
        return self._places(classes)[self.labels]

    def _places(self, classes: Sequence[str]) -> npt.NDArray[np.int32]:
        """Returns every label's position in `classes`, -1 where none."""
        # One place more than there are classes: label -1 looks up the last.
        table = np.full(len(self.class_names) + 1, -1, np.int32)
        for position, name in enumerate(classes):
            table[self._label(name)] = position
        return table

    def _label(self, name: str) -> int:
        if name not in self._labels:
            raise UserError(
                f"The data set has no class {name!r} among its "
                f"{len(self.class_names)}; name one that it has."
            )
        return self._labels[name]

    @functools.cached_property
    def _labels(self) -> dict[str, int]:
        """The label of each class."""
        return {name: label for label, name in enumerate(self.class_names)}

    @functools.cached_property
    def _by_label(
        self,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The examples label by label, and where each label's begin."""
        order = np.argsort(self.labels, kind="stable")
        wanted = np.arange(len(self.class_names) + 1)
        return order, np.searchsorted(self.labels[order], wanted)


def _class_line(name: str) -> str:
    return f"class\0{name}"


def _hash(lines: Iterable[str]) -> str:
    found = hashlib.sha256()
    for number, line in enumerate(lines):
        # "\0" cannot occur in a file name; "\0\0" ends a line.
        text = f"\0\0{line}" if number else line
        found.update(text.encode(errors="surrogateescape"))
    return found.hexdigest()
