"""Which classes of a job are new to the network that it starts from."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from hierkeras.training import results
from hierkeras.training.spec import JobSpec, Preview, parents
from hierkeras.tree.store import Store


@dataclasses.dataclass(frozen=True)
class Columns:
    """A job's classes, by whether what it starts from has learnt them.

    Args:
        old: int64 array of shape (a,), as numbers of the job's classes.
        new: int64 array of shape (b,), the others.
    """

    old: npt.NDArray[np.int64]
    new: npt.NDArray[np.int64]

    @property
    def is_incremental(self) -> bool:
        """Whether there are both."""
        return bool(self.old.size and self.new.size)


def columns(spec: JobSpec, store: Store) -> Columns:
    """Tells a job's old classes from its new ones.

    Args:
        spec: The job. One that starts from nothing has new classes only.
        store: Where the jobs are that it starts from.

    Raises:
        UserError: If one of them is damaged.
    """
    known = _learnt(spec, store)
    is_old = np.array([name in known for name in spec.classes], bool)
    return Columns(np.flatnonzero(is_old), np.flatnonzero(~is_old))


def _learnt(spec: JobSpec, store: Store) -> set[str]:
    """The classes that have been learnt before a job."""
    for parent in parents(spec.start):
        before = results.read(store, parent).spec
        # The columns of a preview are imprinted, and nothing is learnt.
        if isinstance(before.start, Preview):
            return _learnt(before, store)
        return set(before.classes)
    return set()
