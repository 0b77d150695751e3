"""Checks of trunks and of features on disk; needs neither TensorFlow nor Keras.

What is lost costs time only: images are embedded again, and a trunk is made
again of the network that it was made of.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from etils import epath

from hierkeras.features import shards
from hierkeras.tree import atomic, sums
from hierkeras.tree.finding import Finding, command
from hierkeras.tree.store import Store

# Those of `hierkeras.models.trunks`, which imports Keras.
_TRUNK_FILES = ("trunk.keras", "trunk.id")


def check_features(store: Store, needed: Collection[str]) -> list[Finding]:
    """Checks every trunk and every shard of a work directory.

    Args:
        store: The work directory.
        needed: Ids of the trunks that its generations name.
    """
    found = [
        _missing(store.trunk(trunk))
        for trunk in sorted(needed)
        if not store.trunk(trunk).exists()
    ]
    for folder in store.trunks():
        trunk = store.trunk(folder.name)
        if trunk.exists():
            found += _damaged_trunk(trunk)
        for view in store.views(folder.name):
            for shard in atomic.whole(view):
                found += _damaged_shard(shard)
    return found


def _missing(trunk: epath.Path) -> Finding:
    return Finding(
        "damage",
        os.fspath(trunk),
        "this trunk, which the tree stands on, is missing",
        "run the increment again with the network that it was made of, "
        "--backbone=FILE: it writes it anew",
    )


def _damaged_trunk(trunk: epath.Path) -> list[Finding]:
    why = sums.problems(trunk, trunk / sums.SUMS_FILE, _TRUNK_FILES)
    if not why:
        return []
    return [
        Finding(
            "damage",
            os.fspath(trunk),
            f"this trunk is damaged: {'; '.join(why)}",
            "restore it; or remove its folder, and run the increment again "
            "with the network that it was made of, --backbone=FILE",
            (command("rm", "-r", trunk),),
        )
    ]


def _damaged_shard(shard: epath.Path) -> list[Finding]:
    why = sums.problems(shard, shard / sums.SUMS_FILE, shards.FILES)
    if not why:
        return []
    return [
        Finding(
            "damage",
            os.fspath(shard),
            f"these features are damaged: {'; '.join(why)}",
            "remove that folder, and its images are embedded again",
            (command("rm", "-r", shard),),
        )
    ]
