"""Checks of jobs and of checkpoints; needs neither TensorFlow nor Keras."""

from __future__ import annotations

import collections
import dataclasses
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from etils import epath

from hierkeras import _archives
from hierkeras.training import results, solutions
from hierkeras.training.spec import JobSpec, Solved, parents
from hierkeras.tree import atomic, nodes, sums
from hierkeras.tree.finding import Finding, command
from hierkeras.tree.generation import Generation
from hierkeras.tree.store import Store

_FILES = (results.JOB_FILE, results.HISTORY_FILE)
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Jobs:
    """The jobs of a work directory.

    Args:
        whole: Those whose every file is what was written.
        damaged: Id to what is wrong with the folder.
    """

    whole: Mapping[str, results.JobResult]
    damaged: Mapping[str, str]

    def lacking(self, generations: Mapping[int, Generation]) -> dict[int, str]:
        """The generations that a job is missing or damaged of.

        Returns:
            Number to a few words that follow the generation's name.
        """
        found = {}
        for number, generation in generations.items():
            jobs = dict.fromkeys(use.job for use in _uses(generation))
            bad = [job for job in jobs if job not in self.whole]
            if bad:
                found[number] = f"lacks {_counted(bad, 'job')}"
            elif any(self.contradicts(use) for use in _uses(generation)):
                found[number] = "names other classes than its jobs"
        return found

    def contradicts(self, use: _Use) -> bool:
        """Whether a whole job has other classes than its node."""
        return (
            use.job in self.whole
            and use.classes is not None
            and use.classes != self.whole[use.job].spec.classes
        )


@dataclasses.dataclass(frozen=True)
class _Use:
    """A job as a generation uses it; with a node's name and classes."""

    job: str
    node: str | None = None
    classes: tuple[str, ...] | None = None


def read_jobs(store: Store) -> Jobs:
    """Reads every file of every job."""
    whole, damaged = {}, {}
    for folder in atomic.whole(store.models):
        found = _read_job(folder)
        if isinstance(found, results.JobResult):
            whole[folder.name] = found
        else:
            damaged[folder.name] = found
    return Jobs(whole, damaged)


def _read_job(folder: epath.Path) -> results.JobResult | str:
    """A job whose every file is whole; or what is wrong with its folder."""
    try:
        raw = (folder / results.JOB_FILE).read_bytes()
        result = msgspec.json.decode(raw, type=results.JobResult)
    except (OSError, ValueError, RecursionError, msgspec.DecodeError) as error:
        needed: tuple[str, ...] = ()
        others = [f"{results.JOB_FILE} cannot be read ({error})"]
    else:
        needed = _made(result.spec)
        others = [f"it is the folder of job {result.job}"]
        if result.job == folder.name:
            others = []
    listed = folder / results.SUMS_FILE
    wrong = sums.problems(folder, listed, (*_FILES, *needed)) or others
    return "; ".join(wrong) or result


def _made(spec: JobSpec) -> tuple[str, ...]:
    """The files that a job leaves beside those that each has."""
    if spec.is_imported:
        return (solutions.HEAD_FILE,)
    if isinstance(spec.start, Solved):
        return solutions.FILES
    return (results.MODEL_FILE,)


def check_jobs(
    store: Store,
    jobs: Jobs,
    generations: Mapping[int, Generation],
    latest: int | None,
) -> list[Finding]:
    """Checks that what generations use is there, and tells what they do not.

    Args:
        store: The work directory.
        jobs: Its jobs.
        generations: Those that can be read, by number.
        latest: The number that `LATEST` holds.
    """
    users = collections.defaultdict(list)
    for number, generation in generations.items():
        for job in dict.fromkeys(use.job for use in _uses(generation)):
            users[job].append(number)
    missing = sorted(users.keys() - jobs.whole.keys() - jobs.damaged.keys())
    return [
        *(
            _damaged(store, job, why, users[job])
            for job, why in jobs.damaged.items()
        ),
        *(_missing(store, job, users[job], latest) for job in missing),
        *_contradicting(store, jobs, generations),
        *_orphans(store, jobs, {*missing}),
        *_unlisted(store, jobs),
        *_unused(store, [job for job in jobs.whole if job not in users]),
    ]


def check_checkpoints(store: Store) -> list[Finding]:
    """Checks how far each unfinished job is."""
    found = []
    # Not by glob, to which a bracket in the path means something.
    paths = store.checkpoints.iterdir() if store.checkpoints.exists() else ()
    for path in sorted(path for path in paths if path.suffix == ".checkpoint"):
        try:
            done = _done(path)
        except FileNotFoundError:
            continue  # The job was finished just now.
        except (OSError, ValueError) as error:
            found.append(
                Finding(
                    "damage",
                    os.fspath(path),
                    f"the checkpoint is damaged ({error})",
                    "remove it; the training starts over, as it would with it",
                    (command("rm", path),),
                )
            )
            continue
        found.append(
            Finding(
                "information",
                os.fspath(path),
                f"the training of job {path.stem} has done {done}",
                "if it was cut off, run its command again: it goes on there",
            )
        )
    return found


def _uses(generation: Generation) -> Iterator[_Use]:
    trees = [generation.tree.root]
    for decision in generation.step.decisions:
        trees.append(decision.flat)
        if decision.clone is not None:
            trees.append(decision.clone)
    for tree in trees:
        for node in nodes.Tree(tree).nodes():
            yield _Use(node.job, node.name, node.classes)
    step = generation.step
    for use in (*step.jobs, *filter(None, [step.scratch])):
        yield _Use(use.job)


def _damaged(store: Store, job: str, why: str, users: list[int]) -> Finding:
    folder = store.job_folder(job)
    if not users and not re.fullmatch("[0-9a-f]{16}", job):
        return Finding(
            "information", os.fspath(folder), "it is no job; nothing reads it"
        )
    return Finding(
        "damage",
        os.fspath(folder),
        f"job {job}, which {_used_by(users)}, is damaged: {why}",
        "restore it; or remove its folder, so that a step that needs it "
        "makes it again",
        (command("rm", "-r", folder),),
    )


def _missing(
    store: Store, job: str, users: list[int], latest: int | None
) -> Finding:
    place = os.fspath(store.job_folder(job))
    what = f"job {job}, which {_used_by(users)}, is missing"
    if latest in users:
        return Finding(
            "damage", place, what, "restore it; or do what is said of LATEST"
        )
    return Finding(
        "information",
        place,
        what,
        "it takes part only in evaluating, exporting and growing from "
        f"{_counted(list(map(str, users)), 'generation')}; LATEST points "
        "elsewhere",
    )


def _contradicting(
    store: Store, jobs: Jobs, generations: Mapping[int, Generation]
) -> Iterator[Finding]:
    for number, generation in generations.items():
        for use in _uses(generation):
            if jobs.contradicts(use):
                path = store.generations / f"{number:06d}.json"
                yield Finding(
                    "damage",
                    os.fspath(path),
                    f"node {use.node} has other classes, or in another order, "
                    f"than its job {use.job}",
                    "restore the file; or, when LATEST points at another, put "
                    "it aside under a name that keeps its number taken",
                    (command("mv", path, path.with_suffix(".damaged")),),
                )
                break


def _orphans(store: Store, jobs: Jobs, known: set[str]) -> Iterator[Finding]:
    there = {*jobs.whole, *jobs.damaged, *known}
    for job, result in jobs.whole.items():
        for parent in parents(result.spec.start):
            if parent not in there:
                yield Finding(
                    "information",
                    os.fspath(store.job_folder(job)),
                    f"job {parent}, from which job {job} started, is missing",
                    "nothing has to be done: it is needed only to train this "
                    "one again",
                )


def _unlisted(store: Store, jobs: Jobs) -> Iterator[Finding]:
    for job in jobs.whole:
        folder = store.job_folder(job)
        names = sums.unlisted(folder, folder / results.SUMS_FILE)
        if names:
            yield Finding(
                "information",
                os.fspath(folder),
                f"{results.SUMS_FILE} does not name {', '.join(names)}",
                "nothing reads it; remove it if you know whose it is",
            )


def _unused(store: Store, jobs: list[str]) -> Iterator[Finding]:
    if jobs:
        size = sum(sums.size(store.job_folder(job)) for job in jobs)
        yield Finding(
            "information",
            os.fspath(store.models),
            f"no generation that can be read needs {_counted(jobs, 'job')} "
            f"({size / 1e6:.1f} MB)",
            "the next run may reuse them; remove their folders for space",
        )


class _Done(msgspec.Struct):
    """The part of a checkpoint's state that says how far it is."""

    history: list[Any]
    steps: int


def _done(path: epath.Path) -> str:
    """How far a checkpoint is.

    `hierkeras.training.checkpoint` writes it, and needs Keras.

    Raises:
        ValueError: If it is damaged.
    """
    with path.open("rb") as file:
        expected, actual = file.read(4), 0
        while block := file.read(1 << 20):
            actual = zlib.crc32(block, actual)
        if expected != actual.to_bytes(4, "big"):
            raise ValueError("its check sum is wrong")
        with (
            _archives.told_damaged(),
            zipfile.ZipFile(file) as arrays,
            arrays.open("state.npy") as entry,
        ):
            raw = np.lib.format.read_array(entry, allow_pickle=False).tobytes()
            state = msgspec.json.decode(raw, type=_Done)
    return f"{len(state.history)} epochs, and {state.steps} steps"


def _used_by(users: list[int]) -> str:
    return (
        f"{_counted(list(map(str, users)), 'generation')} "
        f"{'needs' if len(users) == 1 else 'need'}"
        if users
        else "no generation that can be read needs"
    )


def _counted(names: list[str], noun: str) -> str:
    """Some names, not too many: `jobs 1a, 2b, 3c and 4 more`."""
    shown = ", ".join(names[:_SHOWN])
    more = len(names) - _SHOWN
    return (
        f"{noun}{'s' if len(names) > 1 else ''} {shown}"
        f"{f' and {more} more' if more > 0 else ''}"
    )
