"""What the study compares: a name, and fields that differ from the recipe.

A share is of `max_epochs`: a flat increment of share 0.4 sweeps 40 % of the
images that training from scratch does, and the leaves of a tree, which divide
the classes among them, together as many as their share.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from hierkeras._errors import UsageError
from hierkeras.growth.specs import epochs
from hierkeras.recipe import fields
from hierkeras.recipe.recipe import Recipe, check

Fields = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Contender:
    """A way of taking in new classes: a tree that grows, unless it says else.

    Args:
        fields: Fields of the recipe, and their values.
        last: Fields that differ from these in the last step.
        width: Factor on the network's width.
        scratch: Share of `max_epochs` of a model of all classes that starts
            from random weights in each step but the first, where it is
            everyone's; 0: it is a tree.
        draw: 0, or another number for another such model.
        members: Names of contenders, single networks, whose probabilities are
            averaged; none: it is no ensemble.
    """

    fields: Fields = dataclasses.field(default_factory=dict)
    last: Fields = dataclasses.field(default_factory=dict)
    width: float = 1.0
    scratch: float = 0.0
    draw: int = 0
    members: tuple[str, ...] = ()

    def __str__(self) -> str:
        plain = vars(Contender())
        return "; ".join(
            f"{name}: {_told(value)}"
            for name, value in vars(self).items()
            if value != plain[name]
        )

    def recipes(self, base: Recipe, num_steps: int) -> list[Recipe]:
        """The recipe of each step.

        Args:
            base: What it differs from.
            num_steps: How many steps there are, at least 2.

        Raises:
            UsageError: If its fields do not fit the base.
        """
        width = base.network.width_multiplier * self.width
        plain = fields.changed(base, PLAIN)
        own = fields.changed(
            plain, {"width_multiplier": round(width, 4), **self.fields}
        )
        found = [*[own] * (num_steps - 1), fields.changed(own, self.last)]
        if self.scratch:
            most, seed = base.training.max_epochs, base.training.seed
            # Seeds of a study are small: draws never meet another seed's.
            drawn = seed + 1_000_003 * self.draw
            changes = {"max_epochs": epochs(self.scratch, most), "seed": drawn}
            own = fields.changed(own, changes)
            found = [plain, *[own] * (num_steps - 1)]
        for recipe in found:
            check(recipe)
        return found


def _told(value: Any) -> str:
    if isinstance(value, dict):
        assigned = ((name, fields.as_text(v)) for name, v in value.items())
        return " ".join(map("=".join, assigned))
    return " and ".join(value) if isinstance(value, tuple) else f"{value:.3g}"


def choose(patterns: Sequence[str]) -> list[str]:
    """The names that patterns such as `flat-*` match, in their order.

    Raises:
        UsageError: If one matches none.
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = fnmatch.filter(CONTENDERS, pattern)
        if not found:
            raise UsageError(
                f"--contenders: {pattern!r} names none; valid are "
                + ", ".join(CONTENDERS)
            )
        chosen |= dict.fromkeys(found)
    return list(chosen)


# How trees grow is compared: it begins with the bare recipe's values, whatever
# the preset, but for what contenders leave to it.
_LEFT = {
    *("compete_by", "significance", "min_gain_per_doubling"),
    "refine_branches",
}
PLAIN: Fields = {
    name: field.default
    for name, field in fields.fields().items()
    if field.section == "growth" and name not in _LEFT
}

# How a flat increment begins.
_RANDOM: Fields = dict(increments="flat")
_IMPRINTED = {**_RANDOM, "new_columns": "imprinted"}
_SHRUNK = {**_IMPRINTED, "shrink": 0.6, "perturb": 0.1}
_FLAT = {"random": _RANDOM, "imprinted": _IMPRINTED, "shrink60": _SHRUNK}
# What there is beside it where there are leaves.
_PREDICTED: Fields = dict(
    increments="clone", partition_by="predicted_error", confusion_counts="soft"
)
_TOGETHER = {**_PREDICTED, "leaves": "together"}
_AFTER = {
    **{**_PREDICTED, "leaves": "after"},
    **{"leaf_shrink": 0.5, "leaf_perturb": 0.1},
}
_FOUR: Fields = dict(increments="clone", leaves="after", num_superclasses=4)
_TWO: Fields = dict(increments="clone", leaves="beside", num_superclasses=2)
# What makes up for exemplars being few; the recipe's default is both.
_REMEDIES: dict[str, Fields] = {
    "": dict(flat_distillation=0.0, balanced_softmax=False),
    "-taught": dict(balanced_softmax=False),
    "-balanced": dict(flat_distillation=0.0),
    "-taught-balanced": {},
}


def _grown(*parts: Fields, **more: Any) -> Contender:
    return Contender({k: v for part in (*parts, more) for k, v in part.items()})


_STREAM = {**_IMPRINTED, "flat_share": 0.2, "leaf_share": 0.5}
CONTENDERS: Mapping[str, Contender] = {
    "scratch": Contender(scratch=1.0),
    "scratch-again": Contender(scratch=1.0, draw=1),
    # Parameters and operations grow about as the square of the width.
    "wider-4": Contender(scratch=1.0, width=2.0),
    # As dear to serve (2.0 networks) and to train (2.54) as tree-joint-top4.
    "equal-scratch": Contender(scratch=1.27, width=2**0.5),
    "equal-flat": Contender(_SHRUNK | {"flat_share": 1.27}, width=2**0.5),
    "ensemble-scratch": Contender(members=("scratch", "scratch-again")),
    "ensemble-flat": Contender(members=("scratch", "flat-imprinted-50")),
    **{
        f"flat-{name}-{percent}": _grown(begun, flat_share=percent / 100)
        for name, begun in _FLAT.items()
        for percent in (30, 50, 100)
    },
    # The paper's, but for the imprinted columns.
    "tree2-paper": _grown(_IMPRINTED, _TWO, flat_share=0.5, leaf_share=0.5),
    **{
        f"tree-predicted-shrunk-{flat}": _grown(
            *(_SHRUNK, _AFTER),
            flat_share=flat / 100,
            leaf_share=1 - flat / 100,
        )
        for flat in (20, 30, 50)
    },
    **{
        f"tree-joint-top{layers}{end}": _grown(
            _SHRUNK, _TOGETHER, leaf_layers=layers, leaf_share=share
        )
        for end, share in (("", 1.0), ("-50", 0.5))
        for layers in (2, 4)
    },
    # What later steps have of earlier classes is so many exemplars.
    **{
        f"replay{count}-{kind}{end}": _grown(
            *(_IMPRINTED, leaves, remedy),
            flat_share=0.4,
            leaf_share=0.6,
            memory_per_class=count,
        )
        for kind, leaves in (("flat", _RANDOM), ("tree", _FOUR))
        for count in (20, 50)
        for end, remedy in _REMEDIES.items()
    },
    "stream-flat-20": Contender(_STREAM),
    "stream-flat-20-cloned-50": Contender(_STREAM, last=_AFTER),
    "stream-flat-20-joint-50": Contender(
        _STREAM, last=_TOGETHER | {"leaf_layers": 4}
    ),
    # Divided as soon as there are so many classes, if that pays.
    "stream-compete-20-cloned-50-from-40": _grown(
        *(_STREAM, _AFTER),
        increments="compete",
        min_classes_to_clone=40,
        refine_share=0.1,
    ),
}
MAIN = (
    *("scratch", "flat-imprinted-50", "flat-shrink60-50"),
    *("flat-shrink60-100", "tree2-paper", "tree-predicted-shrunk-50"),
    *("tree-joint-top2", "tree-joint-top4", "ensemble-scratch"),
    *("equal-scratch", "equal-flat"),
)
STREAM = ("scratch", "stream-*")
