"""Starts TensorFlow: settings that must come first, and less noise."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator

from absl import logging

from hierkeras._errors import UserError

# Measured: with 2 GB it aborts, past every handler; with 3 GB it works here.
_LEAST_ADDRESS_SPACE = 3 * 10**9


def start_tensorflow(deterministic: bool = False) -> None:
    """Imports TensorFlow with the settings that every process shares.

    Call it before anything else imports TensorFlow; again does no harm.

    Args:
        deterministic: Whether only deterministic ops may be used.

    Raises:
        UserError: If the process has no room for it.
    """
    with starting():
        import tensorflow as tf

        tf.config.list_physical_devices()
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    # Writing a SavedModel tells of every part of it.
    logging.set_verbosity(logging.WARNING)
    # It warns of every model's first prediction as if one were retraced.
    tf.get_logger().setLevel("ERROR")


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Holds the settings for what loads TensorFlow's library.

    Drops what its C++ says about GPUs as it starts: it says so past every log
    level. Where there is a GPU, the lines tell why it cannot be used, and
    stay.

    Raises:
        UserError: If the process has no room for it.
    """
    _check_address_space()
    # Not every processor gets oneDNN's convolutions unasked, and without
    # them training is two to three times slower.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if glob.glob("/dev/nvidia[0-9]*"):
        yield
        return
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(nowhere)
        os.close(stderr)


def _check_address_space() -> None:
    """Refuses a limit under which TensorFlow's C++ would end the process."""
    try:
        import resource
    except ImportError:  # there is none on Windows
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _LEAST_ADDRESS_SPACE:
        raise UserError(
            f"this process may use {limit / 1e9:.1f} GB of address space "
            f"(ulimit -v), and TensorFlow needs {_LEAST_ADDRESS_SPACE / 1e9:g} "
            "GB or more; raise that limit, or limit resident memory instead"
        )
