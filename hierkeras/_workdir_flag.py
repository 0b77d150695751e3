"""Where things are."""

from __future__ import annotations

from absl import flags

from hierkeras._errors import UsageError
from hierkeras.tree.store import Store

WORKDIR = flags.DEFINE_string(
    "workdir",
    "",
    "Work directory: models, generations, TensorBoard. Any path that "
    "etils.epath takes.",
)


def store() -> Store:
    """The work directory that the flag names.

    Raises:
        UsageError: If it names none.
    """
    if not WORKDIR.value:
        raise UsageError(
            "--workdir is not given; give the work directory, e.g. "
            "--workdir=runs/digits"
        )
    return Store(WORKDIR.value)
