"""The jobs of a step: run once, reused when they are there, counted."""

from __future__ import annotations

from hierkeras.models.registry import ModelConfig
from hierkeras.training import importing, results
from hierkeras.training.context import Context
from hierkeras.training.executors import Executor
from hierkeras.training.importing import Classifier
from hierkeras.training.results import JobResult
from hierkeras.training.spec import JobSpec
from hierkeras.tree.generation import JobUse
from hierkeras.tree.names import JobId


class Jobs:
    """Runs jobs and keeps count of those that a step used.

    Args:
        context: What they run in.
        executor: Where they run.
    """

    def __init__(self, context: Context, executor: Executor) -> None:
        self._context = context
        self._executor = executor
        self._uses: dict[str, JobUse] = {}

    async def run(self, spec: JobSpec, label: str) -> JobResult:
        """Runs a job, unless its result is there.

        Args:
            spec: The job.
            label: What it is for.
        """
        reused = self._context.store.has_job(spec.job)
        if reused:
            result = results.read(self._context.store, spec.job)
        else:
            result = await self._executor.run(spec, label, self._context)
        self._uses.setdefault(
            spec.job, JobUse(spec.job, label, result.images_swept, reused)
        )
        return result

    def take_over(
        self, classifier: Classifier, network: ModelConfig, label: str
    ) -> JobResult:
        """Writes the result of a job that somebody else did.

        Args:
            classifier: What they trained.
            network: Names the trunk below it.
            label: What it is for.
        """
        job = classifier.spec(network).job
        reused = self._context.store.has_job(job)
        result = importing.write(
            self._context.store, classifier, network, label
        )
        self._uses.setdefault(job, JobUse(job, label, 0, reused))
        return result

    def spec(self, job: JobId) -> JobSpec:
        """What a finished job was asked.

        Raises:
            UserError: If it is missing or damaged.
        """
        return results.read(self._context.store, job).spec

    def uses(self) -> tuple[JobUse, ...]:
        """Every job run so far, in order of completion."""
        return tuple(self._uses.values())
