"""This run."""

from __future__ import annotations

from absl import flags

FORMAT = flags.DEFINE_enum(
    "format",
    "text",
    ["text", "json"],
    "Of the result on stdout.",
)
