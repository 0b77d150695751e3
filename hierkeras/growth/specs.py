"""The jobs of a step as specs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import msgspec

from hierkeras.data.catalogue import Catalogue
from hierkeras.recipe.recipe import Recipe
from hierkeras.recipe.remembered import without_weights
from hierkeras.training.spec import (
    Clone,
    CutOut,
    Flat,
    JobSpec,
    Preview,
    Refined,
    Scratch,
    Solved,
    Start,
    Together,
)
from hierkeras.tree.names import JobId


@dataclasses.dataclass(frozen=True)
class Specs:
    """Makes the specs of the jobs that growing asks for.

    Args:
        recipe: How models are trained and grow.
        catalogue: The examples.
        has_exemplars: Whether exemplars stand for the images of some classes,
            so that the loss makes up for how few they are.
    """

    recipe: Recipe
    catalogue: Catalogue
    has_exemplars: bool = False

    @property
    def solves(self) -> bool:
        """Whether heads are solved, so that nothing is trained."""
        return self.recipe.training.heads == "solved"

    def scratch(self, classes: Sequence[str]) -> JobSpec:
        """A model of `classes` that starts from none of the tree's."""
        return self._spec(Solved(None) if self.solves else Scratch(), classes)

    def flat(self, parent: JobId, classes: Sequence[str]) -> JobSpec:
        """The flat increment of a job to `classes`."""
        if self.solves:
            return self._spec(Solved(parent), classes)
        growth = self.recipe.growth
        start = Flat(
            parent,
            growth.new_columns,
            growth.shrink,
            growth.perturb,
            growth.flat_distillation if self.has_exemplars else 0.0,
        )
        return self._spec(start, classes, growth.flat_share)

    def clone(self, parent: JobId, classes: Sequence[str]) -> JobSpec:
        """A leaf of `classes`, cloned from a job."""
        return self.relearnt(parent, classes, self.recipe.growth.leaf_layers)

    def relearnt(
        self, parent: JobId, classes: Sequence[str], leaf_layers: int
    ) -> JobSpec:
        """A leaf that goes on from a job with layers of its own; 0: all."""
        if self.solves:
            # Its own classes alone: what is apart within them is another
            # thing than what is within all.
            return self._spec(Solved(None), classes)
        growth = self.recipe.growth
        start = Clone(
            parent,
            growth.new_columns,
            growth.leaf_shrink,
            growth.leaf_perturb,
            leaf_layers,
        )
        return self._spec(start, classes, growth.leaf_share)

    def preview(self, parent: JobId, classes: Sequence[str]) -> JobSpec:
        """A job whose columns of new `classes` are imprinted.

        It has learnt nothing of them, and tells what they are confused with.
        """
        return self._spec(Preview(parent), classes)

    def together(
        self,
        preview: JobId,
        superclasses: tuple[tuple[str, ...], ...],
        classes: Sequence[str],
    ) -> JobSpec:
        """A branch and its leaves as one network, from a preview."""
        growth = self.recipe.growth
        start = Together(
            preview,
            growth.shrink,
            growth.perturb,
            superclasses,
            growth.leaf_layers,
        )
        return self._spec(start, classes, growth.leaf_share)

    def cut_out(
        self, branch: JobId, leaf: int, classes: Sequence[str]
    ) -> JobSpec:
        """The leaf of a number, from 0, that learnt together with a branch."""
        return self._spec(CutOut(branch, leaf), classes)

    def refined(self, parent: JobId, classes: Sequence[str]) -> JobSpec:
        """A branch's job, brought to cover `classes`.

        Where the body of the network stays as it is, new columns are
        imprinted: there is little or no training to find them.
        """
        if self.solves:
            return self._spec(Solved(parent), classes)
        growth = self.recipe.growth
        starts: dict[str, Start] = {
            "none": Preview(parent),
            "head": Refined(parent),
            "full": Flat(parent, growth.new_columns, 1.0, 0.0, 0.0),
        }
        start = starts[growth.refine_branches]
        return self._spec(start, classes, growth.refine_share)

    def _spec(
        self, start: Start, classes: Sequence[str], share: float = 1.0
    ) -> JobSpec:
        recipe = self.recipe
        if not isinstance(start, Scratch | Solved):
            # The parent's weights take the place of a file's.
            recipe = without_weights(recipe)
        training = recipe.training
        return JobSpec(
            classes=tuple(classes),
            network=recipe.network,
            training=msgspec.structs.replace(
                training,
                max_epochs=epochs(share, training.max_epochs),
                balanced_softmax=(
                    training.balanced_softmax and self.has_exemplars
                ),
            ),
            data=self.catalogue.fingerprint(classes),
            start=start,
        )


def epochs(share: float, max_epochs: int) -> int:
    """The most whole epochs within a share of a budget, at least 1.

    Args:
        share: Greater than 0.
        max_epochs: The budget; 0: nothing is trained.
    """
    return max(min(1, max_epochs), math.floor(share * max_epochs + 1e-6))
