"""The jobs of a step as specs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec

from hierkeras.data.catalogue import Catalogue
from hierkeras.growth.options import Refinement
from hierkeras.models.registry import MAX_WIDTH, MIN_WIDTH, ModelConfig
from hierkeras.training.spec import (
    Initial,
    JobSpec,
    Leaves,
    NewColumns,
    Recipe,
    Teacher,
    Trainable,
)

# Of the kernel's standard deviation: replicas part, answers hardly change.
_WIDENING_NOISE = 0.05


@dataclasses.dataclass(frozen=True)
class JobPlan:
    """Makes the specs of the jobs that growing asks for.

    Args:
        model: The network; its width is that of what a job starts from.
        recipe: How a model is trained from scratch.
        flat_epochs: Epochs of a flat increment; 0: as from scratch.
        leaf_epochs: Epochs of a cloned leaf; 0: as from scratch.
        joint_epochs: Epochs in which a branch and its leaves are trained as
            one network, in place of a flat increment and leaves; 0: each is
            trained alone.
        refine_epochs: Epochs of a branch's refinement; 0: as from scratch.
        new_columns: How softmax columns of new classes begin.
        shrink: Factor on what a flat increment, or a branch with its leaves,
            takes over, and
        perturb: on the random weights that are added to it.
        leaf_shrink: The same of a cloned leaf, and
        leaf_perturb: the same; what it does not train stays as it is.
        leaf_layers: Layers of a cloned leaf that are trained, counted from
            the softmax layer down; 0: all. The others stay those of its
            parent, which a served tree runs once. Those that are trained with
            their branch have so many of their own.
        flat_distillation: Weight of the old model's opinion of the old
            classes in a flat increment's loss.
        seed: Of every job.
    """

    model: ModelConfig
    recipe: Recipe
    flat_epochs: int = 0
    leaf_epochs: int = 0
    joint_epochs: int = 0
    refine_epochs: int = 0
    new_columns: NewColumns = "random"
    shrink: float = 1.0
    perturb: float = 0.0
    leaf_shrink: float = 1.0
    leaf_perturb: float = 0.0
    leaf_layers: int = 0
    flat_distillation: float = 0.0
    seed: int = 0

    def with_width(self, width_multiplier: float) -> JobPlan:
        """The same for networks of another width."""
        model = dataclasses.replace(
            self.model, width_multiplier=width_multiplier
        )
        return dataclasses.replace(self, model=model)

    def from_scratch(
        self, classes: Sequence[str], catalogue: Catalogue
    ) -> JobSpec:
        """A model of `classes` from random weights."""
        return JobSpec(
            classes=tuple(classes),
            model=self.model,
            recipe=self.recipe,
            data=catalogue.fingerprint(classes),
            seed=self.seed,
        )

    def flat(
        self, parent: str, classes: Sequence[str], catalogue: Catalogue
    ) -> JobSpec:
        """The flat increment of job `parent` to `classes`."""
        initial = Initial(
            parent,
            self.new_columns,
            shrink=self.shrink,
            perturb=self.perturb,
        )
        spec = self._from_parent(initial, classes, catalogue, self.flat_epochs)
        return self._taught(spec, self.flat_distillation)

    def leaf(
        self,
        parent: str,
        classes: Sequence[str],
        catalogue: Catalogue,
        capacity: float = 1.0,
    ) -> JobSpec:
        """A leaf of `classes` cloned from job `parent`.

        Args:
            parent: The job, of a network as wide as the plan's.
            classes: The classes.
            catalogue: The examples.
            capacity: Factor on that width, greater than 0; what comes out is
                kept within what `--width_multiplier` takes.
        """
        before = self.model.width_multiplier
        after = before
        if capacity != 1:
            # Rounded, so that a wider one's narrower one is as wide as before.
            scaled = round(before * capacity, 4)
            after = min(max(scaled, MIN_WIDTH), MAX_WIDTH)
        initial = Initial(
            parent,
            self.new_columns,
            shrink=self.leaf_shrink,
            perturb=self.leaf_perturb,
            widening_noise=_WIDENING_NOISE if after > before else 0.0,
        )
        spec = self.with_width(after)._from_parent(
            initial, classes, catalogue, self.leaf_epochs
        )
        return msgspec.structs.replace(spec, top_layers=self.leaf_layers)

    def preview(
        self, parent: str, classes: Sequence[str], catalogue: Catalogue
    ) -> JobSpec:
        """Job `parent`, whose columns of new `classes` are imprinted.

        It has learnt nothing of them, and tells what they are confused with.
        """
        initial = Initial(parent, "imprinted")
        spec = self._from_parent(initial, classes, catalogue, 0)
        return msgspec.structs.replace(spec, trainable="none")

    def joint(
        self,
        preview: str,
        superclasses: Sequence[tuple[str, ...]],
        classes: Sequence[str],
        catalogue: Catalogue,
    ) -> JobSpec:
        """A branch and its leaves as one network, from job `preview`."""
        initial = Initial(preview, shrink=self.shrink, perturb=self.perturb)
        spec = self._from_parent(initial, classes, catalogue, self.joint_epochs)
        leaves = Leaves(tuple(superclasses), self.leaf_layers)
        return msgspec.structs.replace(spec, leaves=leaves)

    def cut_out(
        self,
        branch: str,
        number: int,
        classes: Sequence[str],
        catalogue: Catalogue,
    ) -> JobSpec:
        """The leaf that job `branch` trained together with its own model.

        Args:
            branch: The job.
            number: Which of its leaves, from 0.
            classes: That leaf's classes.
            catalogue: The examples.
        """
        initial = Initial(branch, leaf=number)
        spec = self._from_parent(initial, classes, catalogue, 0)
        return msgspec.structs.replace(spec, trainable="none")

    def refined(
        self,
        parent: str,
        classes: Sequence[str],
        catalogue: Catalogue,
        refinement: Refinement,
    ) -> JobSpec:
        """The branch of job `parent`, brought to cover `classes`.

        Where the body of the network stays as it is, new columns are
        imprinted: there is little or no training to find them.
        """
        trainable: Trainable = "all"
        new_columns: NewColumns = self.new_columns
        if refinement != "full":
            trainable = "head" if refinement == "head" else "none"
            new_columns = "imprinted"
        spec = self._from_parent(
            Initial(parent, new_columns), classes, catalogue, self.refine_epochs
        )
        return msgspec.structs.replace(spec, trainable=trainable)

    def _from_parent(
        self,
        initial: Initial,
        classes: Sequence[str],
        catalogue: Catalogue,
        epochs: int,
    ) -> JobSpec:
        return msgspec.structs.replace(
            self.from_scratch(classes, catalogue),
            # The parent's weights take the place of a file's.
            model=dataclasses.replace(self.model, backbone_weights="none"),
            recipe=msgspec.structs.replace(
                self.recipe, max_epochs=epochs or self.recipe.max_epochs
            ),
            initial=initial,
        )

    def _taught(self, spec: JobSpec, weight: float) -> JobSpec:
        """A job that also keeps to the opinion of what it starts from."""
        if not weight or spec.initial is None:
            return spec
        teacher = Teacher(spec.initial.job, weight)
        return msgspec.structs.replace(spec, teacher=teacher)
