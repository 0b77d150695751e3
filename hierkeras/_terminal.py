"""What a person at a terminal sees of a step: its contenders, and the tree."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree as Drawn

from hierkeras.growth import summary
from hierkeras.tree.generation import Decision, Generation
from hierkeras.tree.nodes import Branch, Leaf, Tree


def is_watched() -> bool:
    """Whether results go to a terminal, and not to a file or a program."""
    return sys.stdout.isatty()


def draw(generation: Generation) -> None:
    """Draws the contenders of a step, if some competed, on stdout."""
    competed = [
        decision
        for decision in generation.step.decisions
        if decision.clone_error is not None
    ]
    if competed:
        Console().print(_contenders(competed))


def draw_tree(tree: Tree) -> None:
    """Draws a tree on stdout."""
    Console().print(_drawn(tree))


def _contenders(decisions: list[Decision]) -> Table:
    table = Table(
        "node",
        "increment",
        "networks",
        "validation error",
        "taken",
        title="contenders",
        title_justify="left",
    )
    for decision in decisions:
        for row in _rows(decision):
            table.add_row(*map(Text, row))
    return table


def _rows(decision: Decision) -> Iterator[tuple[str, ...]]:
    """A row for each contender: it, its networks, its error, if it won."""
    contenders = [("flat", 1, decision.flat_error)]
    if decision.clone is not None:
        networks = 1 + len(decision.clone.children)
        contenders.append(("clone", networks, decision.clone_error))
    for growth, networks, error in contenders:
        yield (
            decision.node,
            growth,
            f"{networks}",
            "" if error is None else f"{error:.1%}",
            "yes" if growth == decision.growth else "",
        )


def _drawn(tree: Tree) -> Drawn:
    head = summary.tree_lines(tree)[0]
    drawn = Drawn(Text(head))
    _add(drawn, tree.root)
    return drawn


def _add(above: Drawn, node: Leaf | Branch) -> None:
    if isinstance(node, Leaf):
        below = above.add(Text(f"{node.name}, {_counted(node)}"))
        below.add(Text(summary.some(node.classes), style="dim"))
        return
    below = above.add(Text(f"{node.name}, branch over {_counted(node)}"))
    for child in node.children:
        _add(below, child)


def _counted(node: Leaf | Branch) -> str:
    return summary.counted(len(node.classes), "class", "classes")
