"""Runs a request part by part, where its rows have nothing to do with others.

A graph that runs cannot be told that nobody waits for it any more, and needs
memory for all rows that it is given. Between two parts there is a look at what
the request may still spend, and others go first.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

import numpy as np
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from hierkeras.serving.local.errors import ServingError
from hierkeras.serving.local.limits import Budget

# To begin with, at most, and seconds that a part should take.
FIRST_ROWS, _MOST_ROWS, _PART_SECONDS = 16, 64, 0.25
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
    if len(counts) != 1 or max(counts) <= FIRST_ROWS:
        return model(feeds)
    parts: list[_Values] = []
    start, rows, count = 0, FIRST_ROWS, max(counts)
    while start < count:
        if start:
            budget.begin_part()
        began = time.monotonic()
        part = _rows(feeds, start, rows)
        parts.append(_run_part(model, part, start))
        if not _is_by_row(part, parts[-1]):
            return model(feeds)
        start += rows
        rows = _next_rows(rows, time.monotonic() - began)
    return {
        alias: np.concatenate([part[alias] for part in parts])
        for alias in parts[0]
    }


def _next_rows(rows: int, seconds: float) -> int:
    """How many to go on with: what is small to send may be long to decode."""
    wanted = int(rows * _PART_SECONDS / max(seconds, 1e-6))
    return max(1, min(wanted, 2 * rows, _MOST_ROWS))


def _rows(feeds: _Values, start: int, count: int) -> _Values:
    return {name: value[start : start + count] for name, value in feeds.items()}


def _is_by_row(feeds: _Values, outputs: _Values) -> bool:
    counts = {len(value) for value in (*feeds.values(), *outputs.values())}
    return len(counts) == 1


def _run_part(
    model: Callable[[_Values], _Values], part: _Values, start: int
) -> _Values:
    """Tells rows that are refused by their number among all."""
    try:
        return model(part)
    except ServingError as error:
        message = _ROW.sub(
            lambda found: f"row {start + int(found[1])} of the request",
            error.message,
        )
        raise ServingError(error.code, message) from None
