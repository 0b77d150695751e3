"""The report of a tree: one page, from nothing but the work directory.

    WORKDIR/report/index.html

It is made from what the tree answers, and can be made again at any time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from hierkeras.analysis import evaluation, tables
from hierkeras.analysis.answers import Answered, answer
from hierkeras.analysis.evaluation import Evaluation
from hierkeras.data import told
from hierkeras.growth import summary
from hierkeras.models.cost import Cost
from hierkeras.recipe import fields, remembered
from hierkeras.reporting import charts, collected, rendering, steps
from hierkeras.reporting.thumbnails import Thumbnails
from hierkeras.training import sharing
from hierkeras.training.context import Context
from hierkeras.training.predictor import Predictor
from hierkeras.tree import atomic
from hierkeras.tree.generation import Generation
from hierkeras.tree.nodes import Tree
from hierkeras.tree.routing import Routing

# Photos on a page: some 3 kB each.
MOST_PHOTOS = 3000


@dataclasses.dataclass(frozen=True)
class Against:
    """How a tree answers compared with an earlier one, of what both know.

    Args:
        number: The other generation.
        known: Classes that both know.
        count: Images of them.
        before: Share of them that the other one names wrong, and
        now: this one.
        lost: Images that only the other one names right, and
        gained: that only this one does.
        flipped: Classes whose images are answered otherwise.
    """

    number: int
    known: int
    count: int
    before: float
    now: float
    lost: int
    gained: int
    flipped: Sequence[collected.Flipped]


@dataclasses.dataclass(frozen=True)
class Subject:
    """What a report is about.

    Args:
        generation: The tree, and its last step.
        answered: What the tree answers.
        evaluation: What was measured; None: there is no image to measure.
        history: A row a step.
        about: Node name to what else is said of it.
        diagrams: The pictures.
        data_lines: What was read, in words.
        name: Of the work directory.
    """

    generation: Generation
    answered: Answered
    evaluation: Evaluation | None
    history: Sequence[steps.StepRow]
    about: dict[str, dict[str, Any]]
    diagrams: Sequence[charts.Chart]
    data_lines: Sequence[str]
    name: str


def write(
    generation: Generation,
    against: Generation | None,
    context: Context,
    predictor: Predictor,
    routing: Routing,
) -> epath.Path:
    """Writes the report of a tree.

    Args:
        generation: The tree and its last step.
        against: An earlier one to compare it with; None: none.
        context: The work directory and the images.
        predictor: Runs the models.
        routing: How trees answer.

    Returns:
        Where the page is.
    """
    context = context.left_by(generation.step)
    subject = _subject(generation, context, predictor, routing)
    thumbnails = Thumbnails(MOST_PHOTOS)
    values, data = compose(subject, context, thumbnails)
    values["against"] = (
        _against(subject, against, context, predictor, routing, thumbnails)
        if against
        else None
    )
    data["thumbs"] = thumbnails.made(context.images)
    data["keys"] = [str(context.catalogue.keys[i]) for i in thumbnails.indices]
    path = context.store.report / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_file(path, rendering.page(values, data).encode())
    return path


def compose(
    subject: Subject, context: Context, thumbnails: Thumbnails
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the page's template and its script show, but for the photos.

    Args:
        subject: What it is about.
        context: The images.
        thumbnails: Takes photos.
    """
    generation, answered = subject.generation, subject.answered
    tree, catalogue = generation.tree, context.catalogue
    # Mistakes first: there may be no room for all that is asked for.
    cells = collected.cells(answered, thumbnails)
    rows = collected.class_rows(
        tree,
        answered,
        generation.step.new_classes,
        thumbnails,
        lambda name: catalogue.indices("train", [name]),
    )
    recorded = remembered.read(generation)
    values = {
        "title": f"{subject.name}, generation {generation.number}",
        "classes": rows,
        "num_leaves": len(tree.leaves),
        "depth": tree.depth,
        "count": len(answered.indices),
        "split": answered.split,
        "error": _share(~answered.right),
        "evaluation": subject.evaluation,
        "pairs": collected.pairs(cells),
        "num_cells": len(cells),
        "most_cells": collected.MOST_CELLS,
        "most_flipped": collected.MOST_FLIPPED,
        "diagrams": subject.diagrams,
        "history": subject.history,
        "tables": _tables(subject.evaluation),
        "data_lines": subject.data_lines,
        "fingerprint": _fingerprint(generation),
        "preset": recorded.preset,
        "left_out": _left_out(generation),
        "recipe": [
            (
                name,
                fields.as_text(fields.value(recorded.recipe, name)),
                f.meaning,
            )
            for name, f in fields.fields().items()
        ],
    }
    return values, _script_data(subject, rows, cells)


def _subject(
    generation: Generation,
    context: Context,
    predictor: Predictor,
    routing: Routing,
) -> Subject:
    tree, store = generation.tree, context.store
    generations = store.history(generation)
    split = _split(tree, context)
    evaluated, answered = None, _nothing()
    if split:
        evaluated, answered = evaluation.examine(
            generation,
            tuple(map(summary.step_object, generations)),
            context,
            predictor,
            routing,
            split,
        )
    costs = sharing.costs(
        tree, {node.job: predictor.model(node.job) for node in tree.nodes()}
    )
    flops = costs[tree.root.name].flops
    return Subject(
        generation,
        answered,
        evaluated,
        steps.step_rows(generations, context, flops),
        _about(generation, costs),
        [
            *charts.of_scores(answered),
            *charts.of_steps(generations),
            *charts.of_learning(generation, store),
        ],
        told.lines(context.source),
        store.root.name,
    )


def _split(tree: Tree, context: Context) -> str:
    """Test images, or validation images where there are none, or nothing."""
    for split in ("test", "validation"):
        found = context.catalogue.indices(split, tree.classes)
        if len(found) > len(context.images.prepare(found)):
            return split
    return ""


def _nothing() -> Answered:
    none = np.zeros(0, np.int64)
    return Answered("test", none, none, none, np.zeros(0))


def _about(
    generation: Generation, costs: Mapping[str, Cost]
) -> dict[str, dict[str, Any]]:
    """What each node costs beyond those above it, which it shares."""
    swept = {use.job: use.images_swept for use in generation.step.jobs}
    found: dict[str, dict[str, Any]] = {}
    for node in generation.tree.nodes():
        cost = costs[node.name]
        found[node.name] = {
            "million operations an image": f"{cost.flops / 1e6:,.2f}",
            "thousand parameters": f"{cost.parameters / 1e3:,.1f}",
        }
        if node.job in swept:
            times = f"{swept[node.job]:,}"
            found[node.name]["training images swept in the last step"] = times
    return found


def _against(
    subject: Subject,
    against: Generation,
    context: Context,
    predictor: Predictor,
    routing: Routing,
    thumbnails: Thumbnails,
) -> Against | None:
    """The comparison; None where both have no image of a class in common."""
    tree, now, other = (
        subject.generation.tree,
        subject.answered,
        against.tree,
    )
    known = frozenset(other.classes).intersection(tree.classes)
    common = np.array([name in known for name in tree.classes])[now.labels]
    indices, right = now.indices[common], now.right[common]
    if not indices.size:
        return None
    labels = context.catalogue.labels_among(indices, other.classes)
    answers = answer(
        other, indices, labels, predictor, routing, (routing.rule,)
    ).by_routing[routing.rule]
    before = Answered(
        now.split, indices, labels, answers.named, answers.confidence
    )
    return Against(
        against.number,
        len(known),
        len(indices),
        float(1 - before.right.mean()),
        float(1 - right.mean()),
        int((before.right & ~right).sum()),
        int((right & ~before.right).sum()),
        collected.flips(tree, now, other, before, thumbnails),
    )


def _tables(evaluated: Evaluation | None) -> list[tables.Table]:
    return tables.of_the_paper(evaluated) if evaluated else []


def _script_data(
    subject: Subject,
    rows: Sequence[collected.ClassRow],
    cells: Sequence[collected.Cell],
) -> dict[str, Any]:
    tree = subject.generation.tree
    by_leaf = {
        name: place
        for place, name in enumerate(
            name for leaf in tree.leaves for name in leaf.classes
        )
    }
    sizes = [len(leaf.classes) for leaf in tree.leaves]
    return {
        "split": subject.answered.split,
        "classes": [
            {
                "name": row.name,
                "leaf": row.leaf,
                "images": row.images,
                "right": row.right,
                "named": row.named,
                "photos": row.photos,
                "isNew": row.new,
            }
            for row in rows
        ],
        "cells": [[c.true, c.named, c.count, c.photos] for c in cells],
        "tree": collected.outline(tree, subject.answered, subject.about),
        "leafOrder": [by_leaf[name] for name in tree.classes],
        "borders": np.cumsum(sizes)[:-1].tolist(),
    }


def _share(wrong: np.ndarray) -> float | None:
    return float(wrong.mean()) if wrong.size else None


def _fingerprint(generation: Generation) -> str:
    """One text for all that the tree's leaves learnt from."""
    learnt = {
        name: (data.images, data.fingerprint)
        for name, data in sorted(generation.step.learnt.items())
    }
    return hashlib.sha256(json.dumps(learnt).encode()).hexdigest()[:16]


def _left_out(generation: Generation) -> list[str]:
    """What of the data was not used, and why, a line a reason."""
    step = generation.step
    lines = [
        f"{one.count:,} {one.why}, such as {one.example}"
        for one in step.left_out
    ]
    if step.unreadable_images:
        lines.append(
            f"{len(step.unreadable_images):,} an image that cannot be "
            f"read, such as {min(step.unreadable_images)}"
        )
    return [*lines, *summary.duplicate_lines(step.duplicates)]
