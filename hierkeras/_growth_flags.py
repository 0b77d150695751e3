"""Flags of how a tree grows."""

from __future__ import annotations

from typing import get_args

import msgspec
from absl import flags

from hierkeras import _common_flags, _training_flags
from hierkeras._errors import UsageError
from hierkeras.growth import settings
from hierkeras.growth.options import (
    CLONE_SOURCES,
    CONFUSION_COUNTS,
    GROWTH_MODES,
    REFINEMENTS,
    GrowthOptions,
)
from hierkeras.growth.plan import JobPlan
from hierkeras.models.registry import ModelConfig
from hierkeras.training.spec import NewColumns
from hierkeras.tree.generation import Generation
from hierkeras.tree.routing import Routing

_GROWTH = flags.DEFINE_enum(
    "growth",
    "compete",
    list(GROWTH_MODES),
    "How a leaf with new classes grows: compete (the paper's rule: both "
    "increments, the better one stays), flat, or clone.",
)
_NUM_SUPERCLASSES = flags.DEFINE_integer(
    "num_superclasses",
    0,
    "K, leaves of a clone increment, at least 2; 0: chosen from the "
    "confusion matrix.",
    lower_bound=0,
    upper_bound=10**6,
)
_CLONE_FROM = flags.DEFINE_enum(
    "clone_from",
    "previous",
    list(CLONE_SOURCES),
    "What cloned leaves start from: previous, the leaf before the step (the "
    "paper), or flat, its finished flat increment.",
)
_REFINE = flags.DEFINE_enum(
    "refine_branches",
    "head",
    list(REFINEMENTS),
    "What is trained of a branch above a leaf that grew: its softmax layer "
    "(head), all of it (full), or none.",
)
_COUNTS = flags.DEFINE_enum(
    "confusion_counts",
    "hard",
    list(CONFUSION_COUNTS),
    "What counts as a confusion: an image's most probable class (hard, the "
    "paper's), or its probabilities (soft).",
)
_SCRATCH = flags.DEFINE_bool(
    "scratch_baseline",
    False,
    "Also train a model of all classes from scratch in each step, for "
    "comparison only.",
)
_FLAT_EPOCHS = flags.DEFINE_integer(
    "flat_epochs",
    0,
    "Most epochs of a flat increment; 0: --max_epochs.",
    lower_bound=0,
    upper_bound=10**6,
)
_LEAF_EPOCHS = flags.DEFINE_integer(
    "leaf_epochs",
    0,
    "Most epochs of a cloned leaf; 0: --max_epochs.",
    lower_bound=0,
    upper_bound=10**6,
)
_REFINE_EPOCHS = flags.DEFINE_integer(
    "refine_epochs",
    0,
    "Most epochs of a branch's refinement; 0: --max_epochs.",
    lower_bound=0,
    upper_bound=10**6,
)
_NEW_COLUMNS = flags.DEFINE_enum(
    "new_columns",
    "random",
    list(get_args(NewColumns)),
    "How softmax columns of new classes begin: random (the paper), or "
    "imprinted from the classes' mean features.",
)
RELEARN = flags.DEFINE_bool(
    "relearn",
    False,
    "Train again, after what is pending, the leaves that know classes whose "
    "images changed, and refine the branches above them.",
)
_SEED = flags.DEFINE_integer(
    "seed",
    0,
    "Of every random choice.",
    lower_bound=0,
    upper_bound=2**32 - 1,
)


def job_plan(model: ModelConfig, is_photos: bool) -> JobPlan:
    """How the flags ask for jobs to be made.

    Args:
        model: The network of every node.
        is_photos: Whether mirrored and moved images are still the same.
    """
    return JobPlan(
        model=model,
        recipe=_training_flags.recipe(is_photos),
        flat_epochs=_FLAT_EPOCHS.value,
        leaf_epochs=_LEAF_EPOCHS.value,
        refine_epochs=_REFINE_EPOCHS.value,
        new_columns=msgspec.convert(_NEW_COLUMNS.value, NewColumns),
        seed=_SEED.value,
    )


def growth_options(latest: Generation | None) -> GrowthOptions:
    """How the flags ask a tree to grow.

    Args:
        latest: What the work directory remembers; None in a new one.

    Raises:
        UsageError: If that makes no sense.
    """
    if _NUM_SUPERCLASSES.value == 1:
        raise UsageError(
            "--num_superclasses=1 divides nothing; give at least 2, or 0 to "
            "have it chosen"
        )
    recorded = settings.routing(latest) if latest else Routing()
    # The enumerations are checked by the flags; this gives them their types.
    return msgspec.convert(
        {
            "growth": _GROWTH.value,
            "num_superclasses": _NUM_SUPERCLASSES.value,
            "clone_from": _CLONE_FROM.value,
            "refine_branches": _REFINE.value,
            "routing": _common_flags.routing(recorded),
            "confusion_counts": _COUNTS.value,
            "scratch_baseline": _SCRATCH.value,
        },
        GrowthOptions,
    )
