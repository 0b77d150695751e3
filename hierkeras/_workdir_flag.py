"""The flag of every binary that reads or writes a work directory."""

from __future__ import annotations

from absl import flags

WORKDIR = flags.DEFINE_string(
    "workdir",
    "",
    "Work directory: models, generations, TensorBoard. Any path that "
    "etils.epath takes.",
)
flags.register_validator(
    WORKDIR, bool, "give the work directory, e.g. --workdir=runs/digits"
)
