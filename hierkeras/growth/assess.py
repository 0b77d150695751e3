"""Judges trees on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from hierkeras.data.catalogue import Catalogue
from hierkeras.growth import temperatures
from hierkeras.tree import nodes
from hierkeras.tree.routing import Routed, Routing, RoutingRule, route

if TYPE_CHECKING:
    from hierkeras.training.predictor import Predictor  # imports Keras

# Candidate exponents of `fused` routing.
_EXPONENTS = tuple(round(0.1 * i, 1) for i in range(11))


class Assessor:
    """Runs trees on the validation images of some classes.

    Args:
        catalogue: The examples.
        predictor: Runs the models.
        routing: How the trees answer.
    """

    def __init__(
        self, catalogue: Catalogue, predictor: Predictor, routing: Routing
    ) -> None:
        self.catalogue = catalogue
        self.predictor = predictor
        self.routing = routing

    def samples(
        self, classes: Sequence[str]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """The validation images of `classes`, and their labels among them."""
        indices = self.catalogue.indices("validation", classes)
        return indices, self.catalogue.labels_among(indices, classes)

    def preview_samples(
        self, classes: Sequence[str]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """As `samples`, of classes that no model of the tree has learnt.

        Such a model has seen none of their images: where a class has none to
        choose by, those to learn from say as much.
        """
        counts = self.catalogue.counts(classes)
        bare = [name for name in classes if not counts[name]["validation"]]
        indices = np.concatenate(
            [
                self.catalogue.indices("validation", classes),
                self.catalogue.indices("train", bare),
            ]
        )
        return indices, self.catalogue.labels_among(indices, classes)

    def route(self, tree: nodes.Tree, indices: npt.NDArray[np.int64]) -> Routed:
        """Sends images down a tree."""
        return route(
            tree, self.predictor.node_probabilities, indices, self.routing
        )

    def is_right(
        self, tree: nodes.Tree, classes: Sequence[str]
    ) -> npt.NDArray[np.bool_]:
        """Which validation images of `classes` a tree names rightly.

        Args:
            tree: Knows all of `classes`, and may know more.
            classes: Whose images to judge by.

        Returns:
            bool array of shape (n,), in the order of `samples`.
        """
        indices, labels = self.samples(classes)
        answers = self.route(tree, indices).probabilities.argmax(axis=1)
        column = {name: i for i, name in enumerate(tree.classes)}
        wanted = np.array([column[name] for name in classes])[labels]
        right: npt.NDArray[np.bool_] = answers == wanted
        return right

    def error(self, tree: nodes.Tree, classes: Sequence[str]) -> float:
        """Top-1 error in [0, 1]; the arguments are those of `is_right`."""
        return float((~self.is_right(tree, classes)).mean())

    def known_error(
        self, tree: nodes.Tree, classes: Sequence[str]
    ) -> float | None:
        """As `error`; None where the classes have no validation image."""
        indices, _ = self.samples(classes)
        return self.error(tree, classes) if indices.size else None

    def flops(self, tree: nodes.Tree) -> float:
        """Operations that an image takes, a multiply-add being 2.

        The mean over the validation images of the tree's classes, under the
        routing; layers that a node shares with one above it count once, as a
        served tree runs them.

        Args:
            tree: The tree.
        """
        from hierkeras.training import sharing
        from hierkeras.training.predictor import CountingPredictor

        indices, _ = self.samples(tree.classes)
        counting = CountingPredictor(self.predictor)
        route(tree, counting, indices, self.routing)
        models = {
            node.job: self.predictor.model(node.job) for node in tree.nodes()
        }
        return sharing.flops_per_image(
            sharing.costs(tree, models), counting.images, len(indices)
        )

    def with_temperatures(self, tree: nodes.Tree) -> nodes.Tree:
        """Chooses the temperature of a tree's whole answer, for each rule."""
        plain = nodes.Tree(tree.root)
        indices, labels = self.samples(tree.classes)

        def chosen(rule: RoutingRule) -> float:
            answers = route(
                plain,
                self.predictor.node_probabilities,
                indices,
                msgspec.structs.replace(self.routing, rule=rule),
            )
            return temperatures.of_answers(answers.probabilities, labels)

        return nodes.Tree(
            tree.root,
            nodes.Temperatures(
                hard=chosen("hard"), soft=chosen("soft"), fused=chosen("fused")
            ),
        )

    def with_exponent(self, branch: nodes.Branch) -> nodes.Branch:
        """Chooses a branch's fusion exponent.

        It is the candidate in {0, 0.1, …, 1} with the least error on the
        validation images below the branch, and the least cross-entropy among
        equals.

        Args:
            branch: The branch; the exponents below it are chosen already.
        """
        candidates = (
            msgspec.structs.replace(branch, fusion_exponent=exponent)
            for exponent in _EXPONENTS
        )
        return min(candidates, key=self._score)

    def _score(self, branch: nodes.Branch) -> tuple[float, float]:
        indices, labels = self.samples(branch.classes)
        fused = msgspec.structs.replace(self.routing, rule="fused")
        answers = route(
            nodes.Tree(branch),
            self.predictor.node_probabilities,
            indices,
            fused,
        ).probabilities
        own = answers[np.arange(len(labels)), labels]
        error = float((answers.argmax(axis=1) != labels).mean())
        return error, float(-np.log(np.maximum(own, 1e-12)).mean())
