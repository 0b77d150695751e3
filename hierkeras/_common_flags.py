"""Flags that several binaries share, defined once."""

from __future__ import annotations

import msgspec
from absl import flags

from hierkeras import _format_flag, _workdir_flag
from hierkeras._float_flag import define_float
from hierkeras.data.source import Cache
from hierkeras.tree.routing import ROUTING_RULES, Routing

WORKDIR = _workdir_flag.WORKDIR
DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Images: digits, folder:PATH, tfds:NAME or npz:FILE. A work directory "
    "remembers its own.",
)
_ROUTING = flags.DEFINE_enum(
    "routing",
    None,
    list(ROUTING_RULES),
    "How a tree answers: hard (the paper's), soft or fused. A work directory "
    "remembers its own; hard in a new one.",
)
_BEAM_WIDTH = flags.DEFINE_integer(
    "beam_width",
    None,
    "Most children that run for an image at one branch, with soft and fused "
    "routing. A work directory remembers its own; 2 in a new one.",
    lower_bound=1,
    upper_bound=10**6,
)
_CONTENTION = define_float(
    "contention",
    None,
    "Part of the most probable class's probability, in [0, 1], that makes a "
    "class a contender. With soft and fused routing children run only where "
    "they hold contenders, of which there must be two; 0: all in the beam. A "
    "work directory remembers its own; 0 in a new one.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_CACHE = flags.DEFINE_enum(
    "cache",
    "auto",
    ["auto", "memory", "none"],
    "Whether decoded images are kept in memory; auto: if they fit into half "
    "of what is free.",
)
FORMAT = _format_flag.FORMAT

flags.adopt_module_key_flags(_format_flag)
flags.adopt_module_key_flags(_workdir_flag)


def cache() -> Cache:
    """Whether the flags ask for decoded images to be kept in memory."""
    return msgspec.convert(_CACHE.value, Cache)


def routing(recorded: Routing) -> Routing:
    """How the flags ask a tree to answer.

    Args:
        recorded: What the work directory remembers.
    """
    return msgspec.convert(
        {
            "rule": _ROUTING.value or recorded.rule,
            "beam_width": _BEAM_WIDTH.value or recorded.beam_width,
            "contention": (
                recorded.contention
                if _CONTENTION.value is None
                else _CONTENTION.value
            ),
        },
        Routing,
    )
