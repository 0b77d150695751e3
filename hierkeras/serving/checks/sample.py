"""Validation images, and what the tree itself answers for them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from hierkeras.data import nothing
from hierkeras.data.decoding import formats, graph, problems
from hierkeras.data.decoding.pixels import DEFAULT, Pixels
from hierkeras.serving.graph import signatures
from hierkeras.training.context import Context
from hierkeras.training.predictor import Predictor
from hierkeras.tree import nodes, routing
from hierkeras.tree.routing import Routing

_SEED = 0
# Of files that are sent as they are; more where a format has no other.
_MOST_BYTES = 64_000_000


@dataclasses.dataclass(frozen=True)
class Sample:
    """Images with the answers of a tree in memory.

    Args:
        images: uint8 array of shape (n, size, size, 3).
        encoded: object array of shape (n,), the same as PNG files.
        probabilities: float32 array of shape (n, number of classes), the
            tree's answer.
        named: object array of shape (n,), the most probable class, as bytes.
        second: float array of shape (n,), the second largest probability.
        paths: object array of shape (n,), the path taken, as bytes.
        of_leaves: int array of shape (m,), for each leaf that runs for any of
            the images one that it runs for.
        pixels: How images become squares.
        files: Place of an image to the contents of its file, of those that
            are sent as they are.
        refused: Why files are refused, to the keys of those that are.
        margins: float array of shape (n,): how far the probabilities at the
            branches must move for an image to go elsewhere.
    """

    images: np.ndarray
    encoded: np.ndarray
    probabilities: np.ndarray
    named: np.ndarray
    second: np.ndarray
    paths: np.ndarray
    of_leaves: np.ndarray
    margins: np.ndarray
    pixels: Pixels = DEFAULT
    files: Mapping[int, bytes] = dataclasses.field(default_factory=dict)
    refused: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)


def draw(
    tree: nodes.Tree,
    how: Routing,
    context: Context,
    predictor: Predictor,
    size: int,
    pixels: Pixels,
) -> Sample:
    """Draws validation images so that every leaf runs for one where possible.

    Args:
        tree: The tree.
        how: Its routing.
        context: The images.
        predictor: Runs the models.
        size: Images to draw; a few more are taken for leaves that none of
            them needs, and of files whose names end otherwise.
        pixels: How the served graph decodes.
    """
    all_rows = context.catalogue.indices("validation", tree.classes)
    if not all_rows.size and context.source.kind == nothing.KIND:
        all_rows = np.arange(len(context.catalogue.keys))  # noise
    drawn = np.random.default_rng(_SEED).permutation(all_rows)
    odd = _of_each_ending(context.catalogue.keys, drawn)
    rows = _readable(context, np.union1d(drawn[:size], odd))
    _, needed = _route(tree, how, predictor, rows)
    for leaf in tree.leaves:
        if leaf.name not in needed:
            of_it = context.catalogue.indices("validation", leaf.classes)
            others = _readable(context, of_it)
            _, found = _route(tree, how, predictor, others)
            rows = np.union1d(rows, found.get(leaf.name, rows)[:1])
    answered = _answered(tree, how, context, predictor, rows)
    files, refused = _files(context, rows, pixels)
    return dataclasses.replace(
        answered, pixels=pixels, files=files, refused=refused
    )


def _of_each_ending(keys: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A row of each ending that names of files have, if they differ."""
    endings = [os.path.splitext(key)[1].lower() for key in keys[rows].tolist()]
    first = np.unique(endings, return_index=True)[1]
    return rows[first] if len(first) > 1 else rows[:0]


def _files(
    context: Context, rows: np.ndarray, pixels: Pixels
) -> tuple[dict[int, bytes], dict[str, list[str]]]:
    """What the files of some images hold, and what a server refuses of it.

    Args:
        context: The images.
        rows: Sorted.
        pixels: How a server decodes.
    """
    files: dict[int, bytes] = {}
    refused: dict[str, list[str]] = {}
    kinds: set[str | None] = set()
    reasons, left = problems.reasons(pixels), _MOST_BYTES
    for place, image in enumerate(context.source.read(rows)):
        if image.dtype != tf.string:
            break
        content = image.numpy()
        kind = formats.kind_of(content[: formats.HEAD_BYTES])
        if problem := int(graph.decode(image, pixels).problem):
            key = str(context.catalogue.keys[rows[place]])
            refused.setdefault(reasons[problem], []).append(key)
        elif len(content) <= left or kind not in kinds:
            files[place] = content
            left -= len(content)
            kinds.add(kind)
    return files, refused


def _readable(context: Context, rows: np.ndarray) -> np.ndarray:
    """Those of `rows`, sorted, that have not become unreadable since."""
    bad = [image.index for image in context.images.prepare(rows)]
    return np.setdiff1d(rows, bad)


def _route(
    tree: nodes.Tree, how: Routing, predictor: Predictor, rows: np.ndarray
) -> tuple[routing.Routed, dict[str, np.ndarray]]:
    """The answers for `rows`; by name the leaves that run, and for which."""
    found: dict[str, np.ndarray] = {}

    def noted(node: nodes.Node, rows: np.ndarray) -> np.ndarray:
        if isinstance(node, nodes.Leaf):
            found[node.name] = rows
        return predictor.node_probabilities(node, rows)

    return routing.route(tree, noted, rows, how), found


def _answered(
    tree: nodes.Tree,
    how: Routing,
    context: Context,
    predictor: Predictor,
    rows: np.ndarray,
) -> Sample:
    routed, needed = _route(tree, how, predictor, rows)
    batches = context.images.evaluation_batches(rows, len(rows))
    (images,) = (batch.numpy().astype(np.uint8) for batch in batches)
    classes = np.array([name.encode() for name in tree.classes], object)
    paths = np.array([path.encode() for path in signatures.paths(tree)], object)
    ordered = np.sort(routed.probabilities, axis=1)
    return Sample(
        images=images,
        encoded=np.array(
            [tf.io.encode_png(image).numpy() for image in images], object
        ),
        probabilities=routed.probabilities,
        named=classes[routed.probabilities.argmax(axis=1)],
        second=ordered[:, -2] if len(classes) > 1 else np.zeros(len(rows)),
        paths=paths[routed.leaves],
        of_leaves=_one_for_each(tree, rows, routed.leaves, needed),
        margins=_margins(tree, how, predictor, rows),
    )


def _one_for_each(
    tree: nodes.Tree,
    rows: np.ndarray,
    leaves: np.ndarray,
    needed: dict[str, np.ndarray],
) -> np.ndarray:
    """For each leaf that runs the place of one of its rows, best on its path.

    Args:
        tree: The tree.
        rows: Sorted.
        leaves: For each of them, the leaf at the end of its path.
        needed: By name the leaves that run, and for which of the rows.
    """
    found = []
    for number, leaf in enumerate(tree.leaves):
        if leaf.name in needed:
            places = np.searchsorted(rows, needed[leaf.name])
            on_path = places[leaves[places] == number]
            found.append([*on_path, *places][0])
    return np.array(found, dtype=np.int64)


def _margins(
    tree: nodes.Tree, how: Routing, predictor: Predictor, rows: np.ndarray
) -> np.ndarray:
    margins = np.full(len(rows), np.inf)
    rule = how.acting
    for branch in tree.branches:
        own = predictor.node_probabilities(branch, rows)
        mass = routing.child_probabilities(own, branch.positions())
        ordered = -np.sort(-mass, axis=1)
        for width in {1, rule.beam_width}:
            if width < ordered.shape[1]:
                gap = ordered[:, width - 1] - ordered[:, width]
                margins = np.minimum(margins, gap)
        if rule.contention:
            gap = _contention_margin(own, branch, rule.contention)
            margins = np.minimum(margins, gap)
    return margins


def _contention_margin(
    own: np.ndarray, branch: nodes.Branch, contention: float
) -> np.ndarray:
    """How far, as a part, classes are from asking other children.

    Args:
        own: float array of shape (n, c), the branch's probabilities.
        branch: The branch.
        contention: In (0, 1].
    """
    positions = [np.asarray(columns) for columns in branch.positions()]
    largest = own.max(axis=1, keepdims=True)
    # A child is asked by its most probable class, if there is a second one.
    best = np.stack([own[:, columns].max(axis=1) for columns in positions], 1)
    second = -np.sort(-own, axis=1)[:, 1:2]
    asking = np.concatenate([best, second], axis=1) / largest
    # The most probable class itself is a contender in any case.
    never = np.zeros_like(second, dtype=bool)
    is_sure = np.concatenate([best == largest, never], axis=1)
    margins = np.where(is_sure, np.inf, np.abs(asking / contention - 1.0))
    found = margins.min(axis=1)
    # Which leaf is likely below a branch that is not asked.
    mass = routing.child_probabilities(own, branch.positions())
    for number, child in enumerate(branch.children):
        here = np.flatnonzero(mass.argmax(axis=1) == number)
        if here.size and child.children:
            below = -np.sort(-own[np.ix_(here, positions[number])], axis=1)
            found[here] = np.minimum(found[here], below[:, 0] - below[:, 1])
    return found
