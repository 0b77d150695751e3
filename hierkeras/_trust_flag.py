"""SavedModels of others."""

from __future__ import annotations

from absl import flags

TRUST = flags.DEFINE_bool(
    "trust",
    False,
    "Load a SavedModel whatever is in it. It is a program, which may do what "
    "you may do: only for one whose makers you trust.",
)
