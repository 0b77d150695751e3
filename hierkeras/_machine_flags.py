"""The machine: changes a result's last digits only."""

from __future__ import annotations

import msgspec
from absl import flags

from hierkeras import _progress_flags
from hierkeras.data.source import Cache
from hierkeras.training import executors
from hierkeras.training.context import Runtime

# What has a flag there --help leaves out: it shows what users set.
_SELDOM = "hierkeras"

_EXECUTOR = flags.DEFINE_enum(
    "executor",
    "inline",
    list(executors.EXECUTORS),
    "Where models train: inline, one after another in this process, or "
    "process, several at a time in workers of their own.",
)
_NUM_WORKERS = flags.DEFINE_integer(
    "num_workers",
    0,
    "Workers of --executor=process; 0: one for each --gpus_per_job GPUs, or "
    "one where there is no GPU.",
    lower_bound=0,
    upper_bound=1024,
)
_GPUS_PER_JOB = flags.DEFINE_integer(
    "gpus_per_job",
    1,
    "GPUs that a worker of --executor=process has.",
    lower_bound=1,
    upper_bound=1024,
    module_name=_SELDOM,
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
    module_name=_SELDOM,
)
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic",
    False,
    "Use deterministic TensorFlow ops only.",
    module_name=_SELDOM,
)
_CACHE = flags.DEFINE_enum(
    "cache",
    "auto",
    ["auto", "memory", "none"],
    "Whether decoded images are kept in memory; auto: if they fit into half "
    "of what is free.",
)


def runtime() -> Runtime:
    """How the flags ask for jobs to be run on this machine."""
    return Runtime(
        devices=tuple(_DEVICES.value),
        jit_compile={"auto": None, "true": True, "false": False}[_JIT.value],
        deterministic=_DETERMINISTIC.value,
        progress=_progress_flags.progress(),
    )


def cache() -> Cache:
    """Whether the flags ask for decoded images to be kept in memory."""
    return msgspec.convert(_CACHE.value, Cache)


def executor() -> executors.Executor:
    """Where the flags ask for models to be trained."""
    if _EXECUTOR.value == "inline":
        return executors.InlineExecutor()
    from hierkeras.training import strategy  # starts TensorFlow

    return executors.ProcessExecutor(
        executors.shares(
            _NUM_WORKERS.value, strategy.share_gpus(), _GPUS_PER_JOB.value
        )
    )
