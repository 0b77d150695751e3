"""The order in which classes arrive."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from hierkeras._errors import UsageError

SOURCE_ORDER = -1


def class_batches(
    class_names: Sequence[str], sizes: Sequence[int], seed: int
) -> list[tuple[str, ...]]:
    """Draws batches of classes.

    The order is that of the hashes of seed and name, so that it depends on
    neither the order of `class_names` nor any library's random numbers.

    Args:
        class_names: all classes, in the source's order.
        sizes: number of classes in each batch; together they may leave
            classes out.
        seed: non-negative; -1 for the source's order.

    Returns:
        One tuple of names for each of `sizes`.

    Raises:
        UsageError: if a size is not positive, the sizes ask for more classes
            than there are, or the seed is below -1.
    """
    sizes_text = ",".join(map(str, sizes))
    if any(size <= 0 for size in sizes):
        raise UsageError(
            f"Expected positive sizes of class batches. Received: {sizes_text}"
        )
    if sum(sizes) > len(class_names):
        raise UsageError(
            f"Class batches {sizes_text} ask for {sum(sizes)} classes but the "
            f"data set has {len(class_names)}; ask for fewer."
        )
    if seed < SOURCE_ORDER:
        raise UsageError(
            "Expected a non-negative class seed, or -1 for the source's "
            f"order. Received: {seed}"
        )
    order = list(class_names)
    if seed != SOURCE_ORDER:
        order.sort(key=lambda name: _draw(seed, name))
    batches = []
    for size in sizes:
        batches.append(tuple(order[:size]))
        order = order[size:]
    return batches


def pending_batches(
    class_names: Sequence[str],
    sizes: Sequence[int],
    seed: int,
    known: Collection[str],
) -> list[tuple[str, ...]]:
    """Returns what has yet to be learnt.

    Args:
        class_names: all classes, in the source's order.
        sizes: number of classes in each batch; empty: all that are not known,
            in one batch, in the source's order.
        seed: as for `class_batches`.
        known: the classes that have been learnt.

    Returns:
        The batches that hold an unknown class, without the known ones.

    Raises:
        UsageError: as `class_batches`.
    """
    known = frozenset(known)
    batches = (
        class_batches(class_names, sizes, seed)
        if sizes
        else [tuple(class_names)]
    )
    pending = (
        tuple(name for name in batch if name not in known) for batch in batches
    )
    return [batch for batch in pending if batch]


def _draw(seed: int, name: str) -> bytes:
    text = f"{seed}\0{name}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()
