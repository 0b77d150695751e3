"""What a step did, and what a tree looks like, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hierkeras.data import names
from hierkeras.growth.changes import ChangedClass, Changes
from hierkeras.tree import nodes
from hierkeras.tree.generation import Decision, Duplicates, Generation, Step
from hierkeras.tree.names import shown

_SHOWN_CLASSES = 6


def step_object(generation: Generation) -> dict[str, Any]:
    """A step in numbers; errors in [0, 1], on validation images."""
    step = generation.step
    return {
        "generation": generation.number,
        "new_classes": len(step.new_classes),
        "images_swept": sum(use.images_swept for use in step.jobs),
        "jobs": len(step.jobs),
        "jobs_reused": sum(use.reused for use in step.jobs),
        "seconds": round(step.seconds, 3),
        "decision": ", ".join(
            f"{decision.node}: {decision.growth}" for decision in step.decisions
        ),
    }


def new_unreadable(
    generation: Generation, before: Generation | None
) -> tuple[str, ...]:
    """Keys of the images that a step was the first to leave out.

    Args:
        generation: The step.
        before: The generation that it began with.
    """
    known = set(before.step.unreadable_images) if before else set()
    return tuple(
        key for key in generation.step.unreadable_images if key not in known
    )


def step_lines(
    generation: Generation, before: Generation | None = None
) -> list[str]:
    """A step in words.

    Args:
        generation: The step.
        before: The generation that it began with; None for the first.
    """
    step = generation.step
    numbers = step_object(generation)
    lines = [
        f"generation {generation.number}: "
        f"{counted(len(step.new_classes), 'new class', 'new classes')}, "
        f"{_error(step.error_after)}, "
        f"{numbers['images_swept']:,} images swept by "
        f"{counted(numbers['jobs'], 'job')} "
        f"({numbers['jobs_reused']} reused) in {step.seconds:.0f} s"
    ]
    lines += [
        f"  {decision.node} {_received(decision)}{decision.growth} "
        f"({decision.reason})"
        for decision in step.decisions
    ]
    if step.old_error_before is not None:
        lines.append(
            f"  validation error on the old classes: "
            f"{step.old_error_before:.1%} before, {step.old_error_after:.1%} "
            "after"
        )
    unreadable = new_unreadable(generation, before)
    if unreadable:
        lines.append(
            f"  {counted(len(unreadable), 'unreadable image')} left out: "
            f"{some(unreadable)}"
        )
    lines += [f"  {line}" for line in duplicate_lines(step.duplicates)]
    lines += [f"  {line}" for line in exemplar_lines(step)]
    return lines


def _error(error: float | None) -> str:
    """A validation error in words."""
    if error is None:
        return "no validation image that tells an error"
    return f"validation error {error:.1%}"


def exemplar_lines(step: Step) -> list[str]:
    """What is left to train on of classes with exemplars, in words."""
    if not step.exemplars:
        return []
    images = sum(map(len, step.exemplars.values()))
    return [
        f"{counted(images, 'exemplar')} of "
        f"{counted(len(step.exemplars), 'class', 'classes')}: no other "
        "training images of these are used from now on"
    ]


def duplicate_lines(duplicates: Sequence[Duplicates]) -> list[str]:
    """What a step found twice, in words: a line a place."""
    return [
        f"{counted(found.count, 'image')} in {found.where}, "
        + " and ".join(map(shown, found.pairs[0]))
        + (" first" if found.count > 1 else "")
        for found in duplicates
    ]


def note_lines(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """What may surprise in the pixels of images, in words.

    Args:
        notes: What it is, to the keys of the images.
    """
    return [
        f"{counted(len(keys), 'image')}, {keys[0]} first: {note}"
        for note, keys in notes.items()
    ]


def change_lines(changes: Changes) -> list[str]:
    """Which images changed, in words; nothing if none did."""
    if not changes.classes:
        return []
    told = some([_change(changed) for changed in changes.classes])
    return [f"images changed since they were learnt: {told}"]


def case_lines(
    known: Sequence[str], batches: Sequence[Sequence[str]]
) -> list[str]:
    """Which new classes may be others' in another spelling, in words.

    Args:
        known: The classes that the tree knows.
        batches: The new classes of each step.
    """
    new = [name for batch in batches for name in batch]
    groups = [
        " and ".join(map(repr, group))
        for group in names.differing_in_case((*known, *new))
        if not set(new).isdisjoint(group)
    ]
    if not groups:
        return []
    return [f"classes that differ only in case: {some(groups)}"]


def relearnable(changes: Changes) -> str:
    """What changed and what to do about it; empty if nothing did."""
    if not changes.leaves:
        return ""
    classes = counted(len(changes.classes), "class", "classes")
    leaves = "leaf that they touch"
    if len(changes.leaves) > 1:
        leaves = "leaves that they touch"
    return (
        f"images of {classes} changed: --relearn trains the "
        f"{len(changes.leaves)} {leaves}"
    )


def tree_lines(tree: nodes.Tree) -> list[str]:
    """A tree as an indented outline."""
    lines = [
        f"tree: {counted(len(tree.classes), 'class', 'classes')}, "
        f"{counted(len(tree.leaves), 'leaf', 'leaves')}, depth {tree.depth}"
    ]
    for node in tree.nodes():
        indent = "  " * len(tree.path(node.name))
        if isinstance(node, nodes.Leaf):
            lines.append(f"{indent}{node.name}: {some(node.classes)}")
        else:
            lines.append(
                f"{indent}{node.name}: branch over {len(node.classes)} classes"
            )
    return lines


def pending_lines(batches: Sequence[Sequence[str]]) -> list[str]:
    """The steps that are pending, in words.

    Args:
        batches: The new classes of each step.
    """
    return [
        f"pending: {counted(len(batch), 'new class', 'new classes')}: "
        f"{some(batch)}"
        for batch in batches
    ]


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun, such as `1 job` or `2 jobs`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _received(decision: Decision) -> str:
    if not decision.received:
        return ""
    return f"received {some(decision.received)}: "


def _change(changed: ChangedClass) -> str:
    if changed.learnt is None:
        return f"{changed.name} (perhaps)"
    more = changed.images - changed.learnt
    what = f"{abs(more):,} {'more' if more > 0 else 'fewer'}"
    return f"{changed.name} ({what if more else 'as many, but others'})"


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    some = ", ".join(map(shown, names[:_SHOWN_CLASSES]))
    more = len(names) - _SHOWN_CLASSES
    return f"{some} and {more} more" if more > 0 else some
