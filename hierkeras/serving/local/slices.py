"""Runs a request part by part, where its rows have nothing to do with others.

A graph that runs cannot be told that nobody waits for it any more, and needs
memory for all rows that it is given. Between two parts there is a look at what
the request may still spend, and others go first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from hierkeras.serving.local.errors import ServingError
from hierkeras.serving.local.limits import Budget

ROWS_AT_ONCE = 32
_Values = dict[str, np.ndarray]
# As an exported tree names a row that it refuses.
_ROW = re.compile(r"row (\d+) of the request")


def are_rows(signature: SignatureDef, aliases: Sequence[str]) -> bool:
    """Whether a signature takes and gives rows, any number of them.

    Args:
        signature: The signature.
        aliases: The outputs that are asked for.
    """
    infos = list(signature.inputs.values())
    infos += [signature.outputs[alias] for alias in aliases]
    return all(map(_has_rows, infos))


def _has_rows(info: TensorInfo) -> bool:
    sizes = info.tensor_shape.dim
    return bool(sizes) and sizes[0].size == -1


def run(
    model: Callable[[_Values], _Values], feeds: _Values, budget: Budget
) -> _Values:
    """Runs a model on some rows at a time.

    Args:
        model: From inputs to outputs by name.
        feeds: All inputs by name.
        budget: Of the request.

    Returns:
        The outputs of all rows.

    Raises:
        ServingError: As the model does; rows are told by their number among
            all.
    """
    counts = {len(value) for value in feeds.values()}
    if len(counts) != 1 or max(counts) <= ROWS_AT_ONCE:
        return model(feeds)
    parts = []
    for start, part in _parts(feeds, max(counts)):
        if start:
            budget.begin_part()
        try:
            parts.append(model(part))
        except ServingError as error:
            raise _renumbered(error, start) from None
        rows = len(next(iter(part.values())))
        if any(len(value) != rows for value in parts[-1].values()):
            return model(feeds)  # what it answers is not row by row
    return {
        alias: np.concatenate([part[alias] for part in parts])
        for alias in parts[0]
    }


def _parts(feeds: _Values, count: int) -> Iterator[tuple[int, _Values]]:
    """Some rows of each input, and the number of the first."""
    for start in range(0, count, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        yield start, {name: value[rows] for name, value in feeds.items()}


def _renumbered(error: ServingError, start: int) -> ServingError:
    message = _ROW.sub(
        lambda found: f"row {start + int(found[1])} of the request",
        error.message,
    )
    return ServingError(error.code, message)
