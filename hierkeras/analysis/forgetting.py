"""How well a classifier did along a stream of classes, as single numbers."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def average_incremental_accuracy(accuracies: Sequence[float]) -> float:
    """Average incremental accuracy (Rebuffi et al. 2017, iCaRL, section 4.1).

    https://arxiv.org/abs/1611.07725. The first step counts, as it does there;
    some later papers leave it out.

    Args:
        accuracies: After each step, in [0, 1], on the test images of all
            classes known by then; at least one.

    Returns:
        Their mean.
    """
    return statistics.fmean(accuracies)


def average_forgetting(accuracies: Sequence[Sequence[float]]) -> float | None:
    """Average forgetting after the last step (Chaudhry et al. 2018).

    Equations 3 and 4 of "Riemannian Walk for Incremental Learning",
    https://arxiv.org/abs/1801.10112: what was forgotten of a batch of classes
    is its best accuracy after any step before the last, less that after the
    last. With one classifier over all classes, as here, a batch's accuracy
    also falls because there are more classes to mistake it for: compare with
    what training from scratch in each step "forgets".

    Args:
        accuracies: For each step, in [0, 1], the accuracy on each batch of
            classes known by then, in the order in which they arrived: the
            `k`-th of `k + 1` rows has `k + 1` entries.

    Returns:
        The mean over all batches but the last, in [-1, 1]; negative where
        later steps helped. None after a single step.

    Raises:
        ValueError: If a row is not one longer than the row before it.
    """
    lengths = [len(row) for row in accuracies]
    if lengths != list(range(1, len(lengths) + 1)):
        raise ValueError(
            "average_forgetting expected rows of 1, 2, 3, … accuracies. "
            f"Received: rows of {lengths}"
        )
    *before, last = accuracies
    if not before:
        return None
    return statistics.fmean(
        max(row[batch] for row in before[batch:]) - last[batch]
        for batch in range(len(before))
    )
