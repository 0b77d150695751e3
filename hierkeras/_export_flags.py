"""Flags of what makes an export, alone or at the end of an increment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from absl import flags

from hierkeras._float_flag import define_float
from hierkeras.tree.routing import Routing

if TYPE_CHECKING:
    from hierkeras.serving.exporting import ExportConfig  # imports TensorFlow

_TOP = flags.DEFINE_integer(
    "top",
    5,
    "Most classes in a served answer.",
    lower_bound=1,
    upper_bound=10**6,
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels",
    50_000_000,
    "Most pixels of an image that a server decodes.",
    lower_bound=1,
    upper_bound=10**9,
)
_BAD_IMAGES = flags.DEFINE_enum(
    "bad_images",
    "error",
    ["error", "empty"],
    "What a server answers to a request with an image that cannot be decoded: "
    "an error that names the row, or an empty class of score 0 in that row.",
)
_MAX_OLD_CLASS_REGRESSION = define_float(
    "max_old_class_regression",
    0.05,
    "A generation is not exported if its validation error on the old classes, "
    "in [0, 1], grew by more.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_KEEP_VERSIONS = flags.DEFINE_integer(
    "keep_versions",
    0,
    "Most exported versions that stay, the latest ones; 0: all.",
    lower_bound=0,
    upper_bound=10**6,
)


def export_config(routing: Routing, force: bool = False) -> ExportConfig:
    """How the flags ask for trees to be exported.

    Args:
        routing: How the tree answers.
        force: Whether the quality gate is off.
    """
    from hierkeras.serving.exporting import ExportConfig
    from hierkeras.serving.graph.signatures import ServingConfig

    return ExportConfig(
        routing=routing,
        serving=msgspec.convert(serving_fields(), ServingConfig),
        max_old_class_regression=_MAX_OLD_CLASS_REGRESSION.value,
        force=force,
        keep_versions=keep_versions(),
    )


def serving_fields() -> dict[str, Any]:
    """What the flags ask served trees to answer: fields of ServingConfig."""
    return {
        "top": _TOP.value,
        "max_pixels": _MAX_PIXELS.value,
        "bad_images": _BAD_IMAGES.value,
    }


def keep_versions() -> int:
    """Most exported versions that the flags ask to stay; 0: all."""
    return _KEEP_VERSIONS.value
