"""Why a request is refused, told the same over every transport."""

from __future__ import annotations

import grpc
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from hierkeras import _faults

_LONGEST_MESSAGE = 1024
# Nobody knows when there is room; it is asked again in so long, or later.
_RETRY_SECONDS = 0.2


class ServingError(Exception):
    """A request that is refused.

    Args:
        code: The status of the answer.
        message: What is wrong with it.
        retry_seconds: How long to wait before it may be taken; None: waiting
            does not help.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        retry_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_seconds = retry_seconds

    @property
    def told(self) -> str:
        """What a client is told: the message, cut off where it is long.

        As TensorFlow Serving's grpc_status_util.cc does; its REST API sends
        all of it.
        """
        if len(self.message) <= _LONGEST_MESSAGE:
            return self.message
        return f"{self.message[:_LONGEST_MESSAGE]}...TRUNCATED"

    @classmethod
    def of(cls, error: Exception) -> ServingError:
        """What TensorFlow raised, less its graph's names."""
        if isinstance(error, ServingError):
            return error
        if isinstance(error, tf.errors.OpError):
            # Where Python rewrote the message, the original stands behind.
            behind = error.__context__
            original = (
                behind if isinstance(behind, tf.errors.OpError) else error
            )
            return cls(
                _CODES[error.error_code], _faults.sentence(original.message)
            )
        damaged = isinstance(error, OSError)  # a graph that cannot be parsed
        code = grpc.StatusCode.DATA_LOSS if damaged else grpc.StatusCode.UNKNOWN
        return cls(code, str(error) or repr(error))


_CODES = {code.value[0]: code for code in grpc.StatusCode}


def invalid(message: str) -> ServingError:
    """A request that makes no sense, whatever is served."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def missing(message: str) -> ServingError:
    """A request for what is not there."""
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


def exhausted(message: str) -> ServingError:
    """A request for more than there ever is to give."""
    return ServingError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


def busy(message: str) -> ServingError:
    """A request for more than there is to give just now."""
    return ServingError(
        grpc.StatusCode.RESOURCE_EXHAUSTED, message, _RETRY_SECONDS
    )


def type_name(number: int) -> str:
    """The name of a DataType as TensorFlow's C++ writes it."""
    try:
        return types_pb2.DataType.Name(number).removeprefix("DT_").lower()
    except ValueError:
        return f"unknown type {number}"
