"""Flags of how a tree grows."""

from __future__ import annotations

from typing import get_args

import msgspec
from absl import flags

from hierkeras import _common_flags, _training_flags
from hierkeras._errors import UsageError
from hierkeras._float_flag import define_float
from hierkeras.growth import settings
from hierkeras.growth.options import (
    CALIBRATIONS,
    CAPACITY_RULES,
    CLONE_SOURCES,
    CONFUSION_COUNTS,
    CRITERIA,
    GROWTH_MODES,
    PARTITION_RULES,
    REFINEMENTS,
    GrowthOptions,
)
from hierkeras.growth.plan import JobPlan
from hierkeras.models.registry import ModelConfig, check_resizable
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
_COMPETE_BY = flags.DEFINE_enum(
    "compete_by",
    "error",
    list(CRITERIA),
    "What decides between both increments: the error on validation images "
    "(the paper's rule), or error_per_flop: the clone increment also has to "
    "take off enough error for what it costs to run.",
)
_ERROR_PER_DOUBLING = define_float(
    "error_per_doubling",
    0.02,
    "With --compete_by=error_per_flop, the drop of the error that each "
    "doubling of an image's operations has to pay with.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_NUM_SUPERCLASSES = flags.DEFINE_integer(
    "num_superclasses",
    0,
    "K, leaves of a clone increment, at least 2; 0: chosen from the "
    "confusion matrix.",
    lower_bound=0,
    upper_bound=10**6,
)
_MIN_CLASSES = flags.DEFINE_integer(
    "min_classes_to_clone",
    2,
    "Classes, old and new, with fewer of which a leaf grows flat: a branch "
    "keeps the features that told few classes apart.",
    lower_bound=2,
    upper_bound=10**6,
)
_PARTITION_BY = flags.DEFINE_enum(
    "partition_by",
    "spectral",
    list(PARTITION_RULES),
    "How classes are divided: spectral clustering of their confusions (the "
    "paper), or predicted_error: so that what leaves are expected to take off "
    "is most, which weighs sizes and K too; that needs --confusion_from=flat.",
)
_CLONE_FROM = flags.DEFINE_enum(
    "clone_from",
    "previous",
    list(CLONE_SOURCES),
    "What cloned leaves start from: previous, the leaf before the step (the "
    "paper), or flat, its finished flat increment.",
)
_CONFUSION_FROM = flags.DEFINE_enum(
    "confusion_from",
    "previous",
    list(CLONE_SOURCES),
    "Whose confusion matrix is clustered: previous, that of the leaf before "
    "the step (the paper), or flat, that of its finished flat increment; with "
    "--joint_epochs, of that leaf with imprinted columns for the new classes.",
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
_CALIBRATE = flags.DEFINE_enum(
    "calibrate",
    "tree",
    list(CALIBRATIONS),
    "Whose scores are brought in line, on validation images, with how often "
    "they are right: those of each model that is trained (nodes), of the "
    "tree's whole answer (tree, which changes no answer), both, or none.",
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
_JOINT_EPOCHS = flags.DEFINE_integer(
    "joint_epochs",
    0,
    "Most epochs in which the branch of a clone increment and its leaves are "
    "trained as one network, each leaf with --leaf_layers of its own, in place "
    "of a flat increment and leaves. 0: each is trained alone.",
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
_SHRINK = define_float(
    "shrink",
    1.0,
    "Factor on the weights that a flat increment, or a branch that is trained "
    "with its leaves, takes over; 1: as they are.",
    lower_bound=0.01,
    upper_bound=1.0,
)
_PERTURB = define_float(
    "perturb",
    0.0,
    "Factor on fresh random weights that are added to them.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_LEAF_SHRINK = define_float(
    "leaf_shrink",
    1.0,
    "Factor on the weights that a cloned leaf takes over and trains; 1: as "
    "they are.",
    lower_bound=0.01,
    upper_bound=1.0,
)
_LEAF_PERTURB = define_float(
    "leaf_perturb",
    0.0,
    "Factor on fresh random weights that are added to them.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_LEAF_LAYERS = flags.DEFINE_integer(
    "leaf_layers",
    0,
    "Layers of a cloned leaf that are trained, counted from the softmax "
    "layer down; 0: all. With --clone_from=flat the others are the branch's, "
    "and a served tree runs them once.",
    lower_bound=0,
    upper_bound=10**6,
)
_LEAF_CAPACITY = define_float(
    "leaf_capacity",
    1.0,
    "With --clone_from=flat: how many times as wide as its parent a cloned "
    "leaf is whose classes stay confused with each other; one whose classes "
    "are told apart is narrower by the same factor (but see "
    "--capacity_rule). 1: all are as wide.",
    lower_bound=1.0,
    upper_bound=4.0,
)
_CAPACITY_RULE = flags.DEFINE_enum(
    "capacity_rule",
    "need",
    list(CAPACITY_RULES),
    "Which cloned leaves are as wide as --leaf_capacity says: by need, those "
    "whose classes stay confused with each other; or all.",
)
_FLAT_DISTILLATION = define_float(
    "flat_distillation",
    None,
    "Weight of the old model's opinion of the old classes in the loss of a "
    "flat increment; 0: none. If not given, 1 with --memory_per_class and "
    "where classes have exemplars, else 0.",
    lower_bound=0.0,
    upper_bound=1000.0,
)
_MEMORY = flags.DEFINE_integer(
    "memory_per_class",
    0,
    "Training images that are kept of each class that a step learns, chosen "
    "by herding; later steps train on no others of it. 0: on all.",
    lower_bound=0,
    upper_bound=10**9,
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


def job_plan(
    model: ModelConfig, is_photos: bool, latest: Generation | None
) -> JobPlan:
    """How the flags ask for jobs to be made.

    Args:
        model: The network.
        is_photos: Whether mirrored and moved images are still the same.
        latest: What the work directory remembers; None in a new one.
    """
    has_exemplars = bool(_MEMORY.value or (latest and latest.step.exemplars))
    return JobPlan(
        model=model,
        recipe=_training_flags.recipe(is_photos, has_exemplars),
        flat_epochs=_FLAT_EPOCHS.value,
        leaf_epochs=_LEAF_EPOCHS.value,
        joint_epochs=_JOINT_EPOCHS.value,
        refine_epochs=_REFINE_EPOCHS.value,
        new_columns=msgspec.convert(_NEW_COLUMNS.value, NewColumns),
        shrink=_SHRINK.value,
        perturb=_PERTURB.value,
        leaf_shrink=_LEAF_SHRINK.value,
        leaf_perturb=_LEAF_PERTURB.value,
        leaf_layers=_LEAF_LAYERS.value,
        flat_distillation=_flat_distillation(has_exemplars),
        seed=_SEED.value,
    )


def _flat_distillation(has_exemplars: bool) -> float:
    if _FLAT_DISTILLATION.value is not None:
        return float(_FLAT_DISTILLATION.value)
    return float(has_exemplars)


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
    if (
        _PARTITION_BY.value == "predicted_error"
        and _CONFUSION_FROM.value != "flat"
    ):
        raise UsageError(
            "--partition_by=predicted_error needs --confusion_from=flat, "
            "which tells what new classes are confused with"
        )
    if _LEAF_CAPACITY.value > 1:
        _check_leaf_capacity()
    if _JOINT_EPOCHS.value:
        _check_joint_epochs()
    recorded = settings.routing(latest) if latest else Routing()
    # The enumerations are checked by the flags; this gives them their types.
    return msgspec.convert(
        {
            "growth": _GROWTH.value,
            "compete_by": _COMPETE_BY.value,
            "error_per_doubling": _ERROR_PER_DOUBLING.value,
            "min_classes_to_clone": _MIN_CLASSES.value,
            "num_superclasses": _NUM_SUPERCLASSES.value,
            "partition_by": _PARTITION_BY.value,
            "clone_from": _CLONE_FROM.value,
            "confusion_from": _CONFUSION_FROM.value,
            "refine_branches": _REFINE.value,
            "routing": _common_flags.routing(recorded),
            "confusion_counts": _COUNTS.value,
            "calibrate": _CALIBRATE.value,
            "memory_per_class": _MEMORY.value,
            "leaf_capacity": _LEAF_CAPACITY.value,
            "capacity_rule": _CAPACITY_RULE.value,
            "scratch_baseline": _SCRATCH.value,
        },
        GrowthOptions,
    )


def _check_joint_epochs() -> None:
    asked = f"--joint_epochs={_JOINT_EPOCHS.value}"
    for flag, neutral in (
        (_LEAF_EPOCHS, 0),
        (_LEAF_CAPACITY, 1),
    ):
        if flag.value != neutral:
            raise UsageError(
                f"{asked} and --{flag.name}={flag.value:g} exclude each "
                "other: the latter is about models that are trained alone"
            )


def _check_leaf_capacity() -> None:
    asked = f"--leaf_capacity={_LEAF_CAPACITY.value:g}"
    if _CLONE_FROM.value != "flat":
        raise UsageError(
            f"{asked} needs --clone_from=flat, whose errors tell which leaf "
            "is to be wider"
        )
    if _LEAF_LAYERS.value:
        raise UsageError(
            f"{asked} and --leaf_layers={_LEAF_LAYERS.value} exclude each "
            "other: a leaf of another width can share no layers with its branch"
        )
    try:
        check_resizable(_training_flags.model_config())
    except UsageError as error:
        raise UsageError(f"{asked}: {error}") from None
