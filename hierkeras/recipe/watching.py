"""What is told of trainings beside their results."""

from __future__ import annotations

from typing import Annotated

import msgspec

from hierkeras._option import option


class Watching(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is told of trainings beside their results.

    Nothing here changes what is learnt, and so nothing is part of a job's id.
    """

    probes: Annotated[
        int,
        option(
            "Batches between two looks inside a network that is trained: "
            "norms of gradients, activations and error derivatives, errors "
            "of old and new classes, distances of confused ones; 0: none, "
            "100: at most 5 % of the time.",
            0,
            10**6,
        ),
    ] = 0
