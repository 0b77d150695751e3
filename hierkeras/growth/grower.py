"""What growing needs: how, with which jobs, judged on which images."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from hierkeras.growth.assess import Assessor
from hierkeras.growth.specs import Specs
from hierkeras.recipe.recipe import Recipe
from hierkeras.training.context import Context
from hierkeras.training.executors import Executor
from hierkeras.training.jobs import Jobs
from hierkeras.training.spec import CutOut, JobSpec, Together, leaf_layers
from hierkeras.tree.names import JobId
from hierkeras.tree.nodes import Leaf

if TYPE_CHECKING:
    from hierkeras.training.predictor import Predictor  # imports Keras


@dataclasses.dataclass(frozen=True)
class Grower:
    """What growing needs.

    Args:
        recipe: How the tree grows.
        specs: Makes the jobs.
        jobs: Runs them, and counts what the step used.
        assessor: Judges by validation images.
    """

    recipe: Recipe
    specs: Specs
    jobs: Jobs
    assessor: Assessor

    async def train(self, spec: JobSpec, name: str, part: str) -> Leaf:
        """Runs a job.

        Args:
            spec: The job.
            name: Of the node that it makes, or makes a part of.
            part: What its model is for, in messages.

        Returns:
            Its model as a leaf of that name, which knows its classes.
        """
        await self.jobs.run(spec, f"{name} {part}")
        return Leaf(name, spec.classes, spec.job)

    def is_imported(self, job: JobId) -> bool:
        """Whether a finished model is somebody else's.

        Raises:
            UserError: If the job is damaged.
        """
        return self.jobs.spec(job).is_imported

    def own_layers(self, job: JobId) -> int:
        """How many layers a finished model has of its own; 0: all of them.

        A branch that learnt with its leaves, and was better alone, has all.

        Raises:
            UserError: If the job, or that of its branch, is damaged.
        """
        start = self.jobs.spec(job).start
        if isinstance(start, CutOut):
            return leaf_layers(self.jobs.spec(start.branch).start)
        return 0 if isinstance(start, Together) else leaf_layers(start)


def grower(
    context: Context,
    recipe: Recipe,
    executor: Executor,
    predictor: Predictor,
) -> Grower:
    """What growing a tree in a work directory needs.

    Args:
        context: The work directory and the images.
        recipe: How the tree grows.
        executor: Where jobs run.
        predictor: Runs finished models.
    """
    return Grower(
        recipe,
        Specs(recipe, context.catalogue, bool(context.config.exemplars)),
        Jobs(context, executor),
        Assessor(context.catalogue, predictor, recipe.routing),
    )
