"""What a step did, and what a tree looks like, for people and programs."""

from __future__ import annotations

from typing import Any

from hierkeras.tree import nodes
from hierkeras.tree.generation import Generation

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


def step_lines(generation: Generation) -> list[str]:
    """A step in words."""
    step = generation.step
    numbers = step_object(generation)
    lines = [
        f"generation {generation.number}: "
        f"{counted(len(step.new_classes), 'new class', 'new classes')}, "
        f"validation error {step.error_after:.1%}, "
        f"{numbers['images_swept']:,} images swept by "
        f"{counted(numbers['jobs'], 'job')} "
        f"({numbers['jobs_reused']} reused) in {step.seconds:.0f} s"
    ]
    lines += [
        f"  {decision.node} received {_some(decision.received)}: "
        f"{decision.growth} ({decision.reason})"
        for decision in step.decisions
    ]
    if step.old_error_before is not None:
        lines.append(
            f"  validation error on the old classes: "
            f"{step.old_error_before:.1%} before, {step.old_error_after:.1%} "
            "after"
        )
    if step.unreadable_images:
        lines.append(
            f"  {counted(len(step.unreadable_images), 'unreadable image')} "
            "left out: "
            f"{_some(step.unreadable_images)}"
        )
    return lines


def tree_lines(tree: nodes.Tree) -> list[str]:
    """A tree as an indented outline."""
    lines = [
        f"tree: {counted(len(tree.classes), 'class', 'classes')}, "
        f"{counted(len(tree.leaves), 'leaf', 'leaves')}, depth {tree.depth}"
    ]
    for node in tree.nodes():
        indent = "  " * len(tree.path(node.name))
        if isinstance(node, nodes.Leaf):
            lines.append(f"{indent}{node.name}: {_some(node.classes)}")
        else:
            lines.append(
                f"{indent}{node.name}: branch over {len(node.classes)} classes"
            )
    return lines


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun, such as `1 job` or `2 jobs`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_SHOWN_CLASSES])
    more = len(names) - _SHOWN_CLASSES
    return f"{shown} and {more} more" if more > 0 else shown
