"""Which devices a model trains on."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf

from hierkeras._errors import UsageError


def choose_strategy(devices: Sequence[str] = ()) -> tf.distribute.Strategy:
    """The strategy under which a model is built and trained.

    Several devices train one model together under `MirroredStrategy`: each
    takes an equal part of every batch. A single device needs no strategy;
    TensorFlow's default one adds nothing to a step.

    Args:
        devices: Logical devices such as `GPU:0`; empty: every GPU, or the
            CPU where there is none.

    Returns:
        The strategy; models are built inside its `scope()`.

    Raises:
        UsageError: If there is no such device.
    """
    present = [
        device.name.removeprefix("/device:")
        for device in tf.config.list_logical_devices()
    ]
    missing = [name for name in devices if name not in present]
    if missing:
        raise UsageError(
            f"--devices: there is no device {missing[0]!r}; "
            f"present are {', '.join(present)}"
        )
    chosen = list(devices) or [n for n in present if n.startswith("GPU:")]
    if len(chosen) > 1:
        return _mirrored(tuple(chosen))
    if devices:
        return tf.distribute.OneDeviceStrategy(f"/{chosen[0]}")
    return tf.distribute.get_strategy()


def check_batch_size(batch_size: int, num_replicas: int) -> None:
    """Checks that replicas can take equal parts of a batch.

    Args:
        batch_size: Images in a batch.
        num_replicas: How many take part.

    Raises:
        UsageError: If they cannot.
    """
    if batch_size % num_replicas:
        raise UsageError(
            f"--batch_size={batch_size} cannot be divided equally among "
            f"{num_replicas} devices; give a multiple of {num_replicas}"
        )


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """One strategy for all jobs of a process.

    A second one on the same devices would number its collective operations
    from the start again, which TensorFlow takes for those of the first.
    """
    return tf.distribute.MirroredStrategy(devices)


def share_gpus() -> int:
    """Lets other processes use the GPUs too: memory is taken as needed.

    Returns:
        The number of GPUs.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return len(gpus)
