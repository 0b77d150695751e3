"""Where jobs run: shares of the machine, and workers that are real."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from hierkeras._errors import UserError
from hierkeras.training import results
from hierkeras.training.context import Context
from hierkeras.training.executors import (
    InlineExecutor,
    ProcessExecutor,
    shares,
)
from hierkeras.training.jobs import Jobs
from hierkeras.training.run_job import run_job


@pytest.fixture
def cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


@pytest.mark.parametrize(
    ("workers", "threads"), [(0, ["8"]), (1, ["8"]), (3, ["2"] * 3)]
)
def test_workers_share_the_cores(cores, workers, threads):
    found = shares(workers, num_gpus=0)

    assert [share["TF_NUM_INTRAOP_THREADS"] for share in found] == threads
    assert [share["OMP_NUM_THREADS"] for share in found] == threads


def test_more_workers_than_cores_have_one_each(cores):
    assert [s["OMP_NUM_THREADS"] for s in shares(9, 0)] == ["1"] * 9


@pytest.mark.parametrize(
    ("workers", "per_job", "sets"),
    [
        (0, 1, ["0", "1", "2", "3", "4"]),
        (0, 2, ["0,1", "2,3"]),  # the fifth is left over
        (1, 2, ["0,1"]),
        (7, 5, ["0,1,2,3,4"]),
    ],
)
def test_workers_share_the_gpus(monkeypatch, workers, per_job, sets):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    found = shares(workers, num_gpus=5, gpus_per_job=per_job)

    assert [share["CUDA_VISIBLE_DEVICES"] for share in found] == sets


def test_workers_share_the_gpus_that_this_process_was_given(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")

    found = shares(0, num_gpus=3)

    assert [s["CUDA_VISIBLE_DEVICES"] for s in found] == ["4", "6", "7"]


def test_a_job_cannot_have_more_gpus_than_there_are():
    with pytest.raises(UserError, match="--gpus_per_job=4: the machine has 2"):
        shares(0, num_gpus=2, gpus_per_job=4)


def test_executors_start_without_tensorflow():
    code = (
        "import sys, hierkeras.training.executors\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )

    assert done.stdout == "False\n", done.stderr


@pytest.mark.slow
def test_workers_train_what_this_process_would(
    tmp_path, open_context, make_spec
):
    context = open_context(tmp_path / "workers")
    specs = [
        make_spec(context, classes) for classes in (("0", "1"), ("2", "3"))
    ]
    executor = ProcessExecutor([{"OMP_NUM_THREADS": "1"}] * 2)

    async def run_both():
        jobs = [executor.run(spec, "leaf", context) for spec in specs]
        return await asyncio.gather(*jobs)

    try:
        found = asyncio.run(run_both())
    finally:
        executor.close()

    assert [result.spec for result in found] == specs
    here = open_context(tmp_path / "here")
    run_job(specs[0], "leaf", here)
    there, own = (
        results.load_model(c.store, specs[0].job).get_weights()
        for c in (context, here)
    )
    for one, other in zip(there, own, strict=True):
        # Another number of threads may add in another order.
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3)
    assert results.read(context.store, specs[1].job) == found[1]


def test_a_killed_worker_is_one_line(tmp_path, open_context, make_spec):
    context = open_context(tmp_path)
    spec = make_spec(context)
    executor = ProcessExecutor([{}])
    before = set(psutil.Process().children(recursive=True))

    async def kill_the_worker():
        job = asyncio.create_task(executor.run(spec, "root flat", context))
        workers = []
        while not workers:
            await asyncio.sleep(0.05)
            started = set(psutil.Process().children(recursive=True)) - before
            workers = [p for p in started if "spawn_main" in str(p.cmdline())]
        os.kill(workers[0].pid, signal.SIGKILL)
        await job

    try:
        with pytest.raises(UserError) as raised:
            asyncio.run(kill_the_worker())
    finally:
        executor.close()

    assert str(raised.value).startswith(
        f"the worker of job {spec.job} (root flat) was killed"
    )
    assert "\n" not in str(raised.value)
    assert raised.value.__suppress_context__  # no traceback of the pool


# Prints what a worker is, which then has nothing to do but outlive it.
PARENT = """
import multiprocessing
import time
from hierkeras.training.executors import ProcessExecutor

executor = ProcessExecutor([{}])
executor._pool.submit(time.sleep, 0).result()
executor._pool.submit(time.sleep, 600)
while not (workers := multiprocessing.active_children()):
    time.sleep(0.01)
print(*(worker.pid for worker in workers), flush=True)
time.sleep(600)
"""


def test_workers_end_with_a_parent_that_is_killed():
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
    )
    with parent:
        workers = [
            psutil.Process(int(w)) for w in parent.stdout.readline().split()
        ]
        assert workers
        parent.kill()

        _, alive = psutil.wait_procs(workers, timeout=30)
        for worker in alive:
            worker.kill()
        assert alive == []


class PublicOnly:
    """What a process pool promises to have."""

    def __init__(self, pool):
        self._pool = pool

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._pool, name)


def test_closing_ends_its_own_workers_by_public_means():
    other = multiprocessing.get_context("spawn").Process(
        target=time.sleep, args=(600,)
    )
    other.start()
    executor = ProcessExecutor([{}])
    executor._pool = PublicOnly(executor._pool)
    try:
        executor._pool.submit(time.sleep, 600)
        [worker] = set(multiprocessing.active_children()) - {other}

        executor.close()

        assert not worker.is_alive()
        assert other.is_alive()
    finally:
        other.kill()
        other.join()


def test_workers_divide_the_free_memory(tmp_path, open_context, monkeypatch):
    executor = ProcessExecutor([{}] * 4)
    asked = []

    def submit(function, spec, label, config):
        asked.append(config)
        done = concurrent.futures.Future()
        done.set_result(None)
        return done

    monkeypatch.setattr(executor._pool, "submit", submit)
    context = open_context(tmp_path)
    asyncio.run(executor.run(SimpleNamespace(job="1"), "root flat", context))
    executor.close()

    [config] = asked
    assert config.memory_share == 0.25
    # Which reaches what decides whether images are kept.
    assert Context(config, context.source).images._memory_share == 0.25


def test_jobs_are_counted_and_reused(trained):
    context, result = trained
    jobs = Jobs(context, InlineExecutor())

    found = asyncio.run(jobs.run(result.spec, "root first"))
    asyncio.run(jobs.run(result.spec, "asked twice"))

    assert found == result
    [use] = jobs.uses()
    assert (use.job, use.label) == (result.job, "root first")
    assert use.reused and use.images_swept == result.images_swept
