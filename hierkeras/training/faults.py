"""What happens to a job for want of disk, memory or images, in one line."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from hierkeras import _faults
from hierkeras._errors import UserError
from hierkeras.data.images import Images
from hierkeras.training.context import Context
from hierkeras.training.results import JobResult
from hierkeras.training.spec import JobSpec

RunJob = Callable[[JobSpec, str, Context], JobResult]


def naming_the_job(run: RunJob) -> RunJob:
    """Makes a function that runs jobs tell such faults as `UserError`.

    Programming faults are raised as they are.

    Args:
        run: The function, as `run_job.run_job`.
    """

    @functools.wraps(run)
    def wrapped(spec: JobSpec, label: str, context: Context) -> JobResult:
        try:
            return run(spec, label, context)
        except Exception as error:
            told = _faults.explain(error, [context.config.workdir])
            if told is None:
                raise
            context.source.check_present()
            if _faults.is_of_decoding(error):
                told = _undecodable(spec, context) or told
            raise UserError(f"job {spec.job} ({label}): {told}") from None

    return wrapped


def _undecodable(spec: JobSpec, context: Context) -> str | None:
    # The error names no image: look at all that the job reads.
    splits = ("train", "validation")
    indices = [context.catalogue.indices(s, spec.classes) for s in splits]
    config = context.config
    images = Images(
        context.source, config.image_size, config.pixels, cache="none"
    )
    bad = images.prepare(np.sort(np.concatenate(indices)))
    if not bad:
        return None
    return (
        f"{bad[0].key} can no longer be decoded ({bad[0].reason}); mend or "
        "remove it and run the same command again"
    )
