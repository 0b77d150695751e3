"""Runs in TensorBoard, which nothing waits for and nothing ends for."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator, Mapping

import tensorflow as tf
from etils import epath
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.scalar import summary_v2 as scalar_summary

from hierkeras import _faults
from hierkeras.tree.store import Store


class RunWriter:
    """Writes one run, as far as the disk takes it.

    If the disk does not take it, that is told once, and the rest of the run
    is dropped.

    Args:
        folder: The run's folder, below TensorBoard's.
    """

    def __init__(self, folder: epath.Path) -> None:
        self._folder = folder
        self._writer: tf.summary.SummaryWriter | None = None
        with self._giving_up():
            self._writer = tf.summary.create_file_writer(str(folder))

    @contextlib.contextmanager
    def as_default(self, step: int) -> Iterator[None]:
        """Takes what `tf.summary` writes in the block; then flushes it."""
        with self._giving_up(), contextlib.ExitStack() as stack:
            if self._writer is not None:
                stack.enter_context(self._writer.as_default(step=step))
            yield
            self.flush()

    def flush(self) -> None:
        """Has what was written so far reach the disk."""
        with self._giving_up():
            if self._writer is not None:
                self._writer.flush()

    def close(self) -> None:
        """Ends the run."""
        with self._giving_up():
            if self._writer is not None:
                self._writer.close()

    @contextlib.contextmanager
    def _giving_up(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.InvalidArgumentError:
            raise  # what was to be written is wrong
        except tf.errors.OpError as error:
            self._writer = None
            _tell_once(str(self._folder.parent), _faults.reason(error))


def step_folder(store: Store, number: int) -> epath.Path:
    """The folder of the run of the step to a generation.

    Args:
        store: The work directory.
        number: The generation's.
    """
    return store.tensorboard / f"step-{number:06d}"


def write_scalars(values: Mapping[str, float], step: int) -> None:
    """Writes many scalars as one event, into the default writer.

    Args:
        values: By tag.
        step: Of all of them.
    """
    together = summary_pb2.Summary()
    for tag, value in values.items():
        together.MergeFrom(scalar_summary.scalar_pb(tag, value))
    tf.summary.experimental.write_raw_pb(together.SerializeToString(), step)


@functools.cache
def _tell_once(folder: str, reason: str) -> None:
    print(
        f"TensorBoard's files in {folder} cannot be written ({reason}); the "
        "training goes on without them",
        file=sys.stderr,
    )
