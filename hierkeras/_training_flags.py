"""Flags of the networks and of how they are trained."""

from __future__ import annotations

import sys
from typing import get_args

import msgspec
from absl import flags

from hierkeras._float_flag import define_float
from hierkeras.models.registry import (
    BACKBONES,
    MAX_IMAGE_SIZE,
    MAX_WIDTH,
    MIN_WIDTH,
    ModelConfig,
    check_config,
)
from hierkeras.training import spec
from hierkeras.training.context import Runtime
from hierkeras.training.executors import EXECUTORS

_DEFAULT = spec.Recipe()

_BACKBONE = flags.DEFINE_string(
    "backbone", "small_cnn", f"Network of every node: {', '.join(BACKBONES)}."
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    32,
    "Height and width in pixels.",
    lower_bound=1,
    upper_bound=MAX_IMAGE_SIZE,
)
_WIDTH = define_float(
    "width_multiplier",
    1.0,
    "Factor on every layer's channels.",
    lower_bound=MIN_WIDTH,
    upper_bound=MAX_WIDTH,
)
_DROPOUT = define_float(
    "dropout",
    None,
    "Rate in [0, 1); the backbone's own if not given.",
    lower_bound=0.0,
    upper_bound=0.999,
)
_WEIGHTS = flags.DEFINE_string(
    "backbone_weights", "none", "A local file to start from, or none."
)
_SCHEDULE = flags.DEFINE_enum(
    "schedule",
    _DEFAULT.schedule,
    list(get_args(spec.Schedule)),
    "Learning rate: adaptive (the paper's rule), or cosine with a fixed "
    "budget of --max_epochs passes.",
)
_OPTIMIZER = flags.DEFINE_enum(
    "optimizer",
    _DEFAULT.optimizer,
    list(get_args(spec.Optimizer)),
    "sgd has Nesterov momentum; so has muon, whose steps on kernels are "
    "orthogonal matrices, and which the rates of sgd suit.",
)
_RATE = define_float(
    "initial_learning_rate",
    _DEFAULT.initial_learning_rate,
    "Learning rate at the start, greater than 0.",
    lower_bound=1e-12,
    upper_bound=1e3,
)
_MOMENTUM = define_float(
    "momentum",
    _DEFAULT.momentum,
    "Of the optimizer.",
    lower_bound=0.0,
    upper_bound=0.999,
)
_WEIGHT_DECAY = define_float(
    "weight_decay",
    _DEFAULT.weight_decay,
    "Decoupled; not on biases and normalisation.",
    lower_bound=0.0,
    upper_bound=1e3,
)
_BATCH = flags.DEFINE_integer(
    "batch_size",
    _DEFAULT.batch_size,
    "Images in a step, over all devices.",
    lower_bound=1,
    upper_bound=2**20,
)
_EPOCHS = flags.DEFINE_integer(
    "max_epochs",
    _DEFAULT.max_epochs,
    "Most epochs of a training: passes over the images (cosine) or stretches "
    "of --samples_per_check images (adaptive).",
    lower_bound=1,
    upper_bound=10**6,
)
_WARMUP = define_float(
    "warmup_epochs",
    _DEFAULT.warmup_epochs,
    "Epochs of linear warm-up, with cosine.",
    lower_bound=0.0,
    upper_bound=1e6,
)
_SAMPLES = flags.DEFINE_integer(
    "samples_per_check",
    _DEFAULT.samples_per_check,
    "Images between two validations, with adaptive.",
    lower_bound=1,
    upper_bound=10**9,
)
_VALIDATION = flags.DEFINE_integer(
    "validation_samples",
    _DEFAULT.validation_samples,
    "Random validation images in a validation.",
    lower_bound=1,
    upper_bound=10**9,
)
_DROP = define_float(
    "min_error_drop",
    _DEFAULT.min_error_drop,
    "Drop of the validation error, in [0, 1], that counts as progress, with "
    "adaptive.",
    lower_bound=0.0,
    upper_bound=1.0,
)
_PATIENCE = flags.DEFINE_integer(
    "patience",
    _DEFAULT.patience,
    "Validations in a row without progress that cut the learning rate, with "
    "adaptive.",
    lower_bound=1,
    upper_bound=10**6,
)
_CUTS = flags.DEFINE_integer(
    "learning_rate_cuts",
    _DEFAULT.learning_rate_cuts,
    "Cuts of the learning rate before training stops, with adaptive.",
    lower_bound=0,
    upper_bound=10**6,
)
_CUT_FACTOR = define_float(
    "learning_rate_cut_factor",
    _DEFAULT.learning_rate_cut_factor,
    "By what a cut divides the learning rate, with adaptive.",
    lower_bound=1.0,
    upper_bound=1e6,
)
_AUGMENT = flags.DEFINE_enum(
    "augment",
    "auto",
    ["auto", *get_args(spec.Augmentation)],
    "shift_flip: each image moved by up to an eighth of its size, half of "
    "them mirrored; auto: shift_flip for photos, none for digits.",
)
_BALANCED = flags.DEFINE_enum(
    "balanced_softmax",
    "auto",
    ["auto", "true", "false"],
    "Whether the loss makes up for classes that have fewer training images "
    "than others; auto: with --memory_per_class, and where classes have "
    "exemplars.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    _DEFAULT.precision,
    list(get_args(spec.Precision)),
    "Keras dtype policy of the training.",
)
_DEVICES = flags.DEFINE_list(
    "devices",
    [],
    "Devices that train one model together, such as GPU:0,GPU:1; empty: "
    "every GPU, or the CPU.",
)
_JIT = flags.DEFINE_enum(
    "jit_compile",
    "auto",
    ["auto", "true", "false"],
    "Whether XLA compiles the training step; auto: on GPUs only.",
)
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", False, "Use deterministic TensorFlow ops only."
)
EXECUTOR = flags.DEFINE_enum(
    "executor",
    "inline",
    list(EXECUTORS),
    "Where models train: inline, one after another in this process, or "
    "process, several at a time in workers of their own.",
)
NUM_WORKERS = flags.DEFINE_integer(
    "num_workers",
    0,
    "Workers of --executor=process; 0: one for each --gpus_per_job GPUs, or "
    "one where there is no GPU.",
    lower_bound=0,
    upper_bound=1024,
)
GPUS_PER_JOB = flags.DEFINE_integer(
    "gpus_per_job",
    1,
    "GPUs that a worker of --executor=process has.",
    lower_bound=1,
    upper_bound=1024,
)


def model_config() -> ModelConfig:
    """The network that the flags ask for.

    Raises:
        UsageError: If it cannot be had.
    """
    config = ModelConfig(
        backbone=_BACKBONE.value,
        image_size=_IMAGE_SIZE.value,
        width_multiplier=_WIDTH.value,
        dropout=_DROPOUT.value,
        backbone_weights=_WEIGHTS.value,
    )
    check_config(config)
    return config


def recipe(is_photos: bool, has_exemplars: bool = False) -> spec.Recipe:
    """The recipe that the flags ask for.

    Args:
        is_photos: Whether mirrored and moved images are still the same.
        has_exemplars: Whether classes have exemplars, or come to have some.
    """
    augmentation = _AUGMENT.value
    if augmentation == "auto":
        augmentation = "shift_flip" if is_photos else "none"
    balanced = {"auto": has_exemplars, "true": True, "false": False}
    # The enumerations are checked by the flags; this gives them their types.
    return msgspec.convert(
        {
            "schedule": _SCHEDULE.value,
            "optimizer": _OPTIMIZER.value,
            "initial_learning_rate": _RATE.value,
            "momentum": _MOMENTUM.value,
            "weight_decay": _WEIGHT_DECAY.value,
            "batch_size": _BATCH.value,
            "max_epochs": _EPOCHS.value,
            "warmup_epochs": _WARMUP.value,
            "samples_per_check": _SAMPLES.value,
            "validation_samples": _VALIDATION.value,
            "min_error_drop": _DROP.value,
            "patience": _PATIENCE.value,
            "learning_rate_cuts": _CUTS.value,
            "learning_rate_cut_factor": _CUT_FACTOR.value,
            "augmentation": augmentation,
            "precision": _PRECISION.value,
            "balanced_softmax": balanced[_BALANCED.value],
        },
        spec.Recipe,
    )


def runtime() -> Runtime:
    """How the flags ask for jobs to be run on this machine."""
    return Runtime(
        devices=tuple(_DEVICES.value),
        jit_compile={"auto": None, "true": True, "false": False}[_JIT.value],
        deterministic=_DETERMINISTIC.value,
        progress="bar" if sys.stderr.isatty() else "lines",
    )
