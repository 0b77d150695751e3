"""Where jobs run: in this process, or in workers of their own.

Nothing here imports TensorFlow: a worker chooses its GPUs and threads before
TensorFlow starts.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import functools
import multiprocessing
import multiprocessing.context
import multiprocessing.queues
import os
import signal
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hierkeras import _faults
from hierkeras._errors import UserError
from hierkeras.training import interruption
from hierkeras.training.context import Context, ContextConfig
from hierkeras.training.results import JobResult
from hierkeras.training.spec import JobSpec

EXECUTORS = ("inline", "process")
# A worker that was told to end and does not is killed.
_SECONDS_TO_END = 30.0


class Executor(Protocol):
    """Runs jobs."""

    async def run(
        self, spec: JobSpec, label: str, context: Context
    ) -> JobResult:
        """Runs one job to its end; as `training.run_job.run_job`."""
        ...  # pragma: no cover - a protocol

    def close(self) -> None:
        """Ends the workers."""
        ...  # pragma: no cover - a protocol


class InlineExecutor:
    """Runs each job in this process, one after another."""

    async def run(
        self, spec: JobSpec, label: str, context: Context
    ) -> JobResult:
        """Runs one job to its end."""
        from hierkeras.training.run_job import run_job  # needs TensorFlow

        return run_job(spec, label, context)

    def close(self) -> None:
        """Nothing to end."""


class _Spawn(multiprocessing.context.SpawnContext):
    """Starts fresh interpreters, and knows which.

    Attributes:
        started: Each process, also those that have ended.
    """

    def __init__(self) -> None:
        self.started: list[multiprocessing.context.SpawnProcess] = []

    def Process(  # type: ignore[override]
        self, *arguments: Any, **options: Any
    ) -> multiprocessing.context.SpawnProcess:
        """Makes a process, which is not started yet."""
        process = multiprocessing.context.SpawnProcess(*arguments, **options)
        self.started.append(process)
        return process


class ProcessExecutor:
    """Runs each job in a process of its own, several at a time.

    GPU memory is not reliably given back inside a process, so a worker does
    one job and ends.

    Args:
        environments: For each worker the environment variables that give it
            its share of the machine; see `shares`.
    """

    def __init__(self, environments: Sequence[Mapping[str, str]]) -> None:
        # A fresh interpreter: TensorFlow does not survive a fork.
        self._spawn = _Spawn()
        self._num_workers = len(environments)
        self._environments = self._spawn.Queue()
        for environment in environments:
            self._environments.put(dict(environment))
        self._pool = concurrent.futures.ProcessPoolExecutor(
            len(environments),
            mp_context=self._spawn,
            initializer=functools.partial(_take_share, self._environments),
            max_tasks_per_child=1,
        )

    async def run(
        self, spec: JobSpec, label: str, context: Context
    ) -> JobResult:
        """Runs one job to its end.

        Raises:
            UserError: As `run_job`, and if the worker dies.
        """
        runtime = dataclasses.replace(
            context.config.runtime,
            # Bars of several workers would overwrite each other.
            progress="lines"
            if context.config.runtime.progress == "bar"
            else context.config.runtime.progress,
        )
        config = dataclasses.replace(
            context.config,
            runtime=runtime,
            memory_share=context.config.memory_share / self._num_workers,
        )
        try:
            return await asyncio.wrap_future(
                self._pool.submit(_work, spec, label, config)
            )
        except concurrent.futures.process.BrokenProcessPool:
            raise UserError(
                f"the worker of job {spec.job} ({label}) was killed; run the "
                "same command again: finished jobs are kept"
            ) from None

    def close(self) -> None:
        """Ends the workers, also those that a failed step left running."""
        workers = [p for p in self._spawn.started if p.is_alive()]
        for worker in workers:
            worker.terminate()
        # One that trains ends its batch and writes its checkpoint first.
        deadline = time.monotonic() + _SECONDS_TO_END
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                worker.kill()
        self._pool.shutdown(cancel_futures=True)


def shares(
    num_workers: int, num_gpus: int, gpus_per_job: int = 1
) -> list[dict[str, str]]:
    """Divides the machine among workers.

    Args:
        num_workers: Workers to have; 0: one for each set of GPUs, or one
            where there is no GPU.
        num_gpus: GPUs of the machine.
        gpus_per_job: GPUs that train one model together.

    Returns:
        For each worker its environment variables: its GPUs, or its share of
        the processor's cores.

    Raises:
        UserError: If there are fewer GPUs than a job asks for.
    """
    if num_gpus:
        sets = num_gpus // gpus_per_job
        if not sets:
            raise UserError(
                f"--gpus_per_job={gpus_per_job}: the machine has "
                f"{num_gpus}; ask for at most that many"
            )
        # A scheduler may have given this process some of the machine's GPUs.
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else map(str, range(num_gpus))
        gpus = list(names)
        return [
            {
                "CUDA_VISIBLE_DEVICES": ",".join(
                    gpus[k * gpus_per_job : (k + 1) * gpus_per_job]
                )
            }
            for k in range(min(num_workers or sets, sets))
        ]
    workers = max(1, num_workers)
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")  # not on every system
        else os.cpu_count() or 1
    )
    threads = str(max(1, cores // workers))
    # Read by TensorFlow and by the library that runs its convolutions.
    return [
        {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
        for _ in range(workers)
    ]


# The queue of shares and this worker's own; set once, before its only job.
_worker: dict[str, object] = {}


def _take_share(
    environments: multiprocessing.queues.Queue[dict[str, str]],
) -> None:
    # Ctrl-C reaches every process of the terminal; the parent passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    share = environments.get()
    os.environ.update(share)
    _worker.update(environments=environments, share=share)


def _end_with_parent() -> None:
    """Ends this worker when its parent is killed, which cannot do so itself.

    The work directory's lock is free then: another increment may write.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(spec: JobSpec, label: str, config: ContextConfig) -> JobResult:
    signal.signal(signal.SIGTERM, interruption.interrupt_once())
    try:
        from hierkeras.training import startup

        startup.start_tensorflow()  # after the share is set
        from hierkeras.training import strategy
        from hierkeras.training.run_job import run_job

        strategy.share_gpus()  # with the parent, which runs finished models
        return run_job(spec, label, Context(config))
    except UserError:
        raise
    except Exception as error:
        # Words always arrive; an exception that cannot be pickled and read
        # back would look as if the worker had been killed.
        told = _faults.explain(error, [config.workdir])
        if told is not None:
            raise UserError(f"job {spec.job} ({label}): {told}") from None
        words = "".join(traceback.format_exception(error))
        raise RuntimeError(f"in job {spec.job} ({label}):\n{words}") from None
    finally:
        _worker["environments"].put(_worker["share"])  # type: ignore[attr-defined]
