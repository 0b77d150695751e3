"""What the study compares: one line each, in the tables at the end.

Epochs are given as shares of `--max_epochs`. A flat increment of share 0.4
sweeps 40 % of the images that training from scratch does, and the leaves of a
tree, which divide the classes among them, together as many as their share; so
a contender whose shares sum to 1 has swept the budget.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from hierkeras.growth.options import GrowthOptions
from hierkeras.growth.plan import JobPlan

from hierkeras._errors import UsageError
from hierkeras.training.spec import Recipe
from hierkeras.tree.routing import Routing

Changes = Mapping[str, Any]
_NONE: Changes = {}


@dataclasses.dataclass(frozen=True)
class Scratch:
    """A model of all classes that starts from random weights in each step.

    Args:
        name: In tables and files.
        share: Of `--max_epochs`.
        draw: 0, or another number for an independent model.
        networks: It is as wide as it takes to have the parameters of so many.
        changes: Fields of `Recipe` that differ from the flags.
    """

    name: str
    share: float = 1.0
    draw: int = 0
    networks: int = 1
    changes: Changes = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Grown:
    """A tree that takes in the classes of each step.

    Args:
        name: In tables and files.
        flat: Share of `--max_epochs` of a flat increment; 0: it has none.
        leaf: The same of cloned leaves; 0: there are none.
        refine: The same of a branch's refinement in later steps.
        branch: The same of a branch that is trained to tell superclasses
            apart; 0: it is the flat increment.
        joint: The same of a branch and its leaves that are trained as one
            network; 0: each is trained alone.
        changes: Fields of `JobPlan`, `GrowthOptions` and `Recipe` that differ
            from the flags and from `_OPTIONS`.
    """

    name: str
    flat: float = 0.0
    leaf: float = 0.0
    refine: float = 0.0
    branch: float = 0.0
    joint: float = 0.0
    changes: Changes = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ClonedLast(Grown):
    """Grown flat up to the last step, in which leaves are cloned."""


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Single networks whose probabilities are averaged.

    Args:
        name: In tables and files.
        members: Names of other contenders.
    """

    name: str
    members: tuple[str, ...]


Contender = Scratch | Grown | Ensemble

_OPTIONS = GrowthOptions(
    growth="clone",
    clone_from="flat",
    refine_branches="head",
    routing=Routing("fused", 2),
)


def epochs(share: float, max_epochs: int) -> int:
    """The most whole epochs within a share of a budget, at least 1.

    Args:
        share: Greater than 0.
        max_epochs: The budget.
    """
    return max(1, math.floor(share * max_epochs + 1e-6))


def apply(
    contender: Scratch | Grown, base: JobPlan
) -> tuple[JobPlan, GrowthOptions]:
    """How a contender is trained, and how it grows.

    Args:
        contender: The contender.
        base: What the flags ask for.

    Raises:
        ValueError: If a change is of no field.
    """
    most = base.recipe.max_epochs
    changes = dict(contender.changes)
    recipe = msgspec.structs.replace(
        base.recipe, **_taken(changes, Recipe.__struct_fields__)
    )
    if isinstance(contender, Scratch):
        recipe = msgspec.structs.replace(
            recipe, max_epochs=epochs(contender.share, most)
        )
        # Seeds of a study are small: draws never meet another seed's.
        plan = dataclasses.replace(
            base, recipe=recipe, seed=base.seed + 1_000_003 * contender.draw
        )
        options = _OPTIONS
    else:
        plan = dataclasses.replace(
            base,
            recipe=recipe,
            flat_epochs=epochs(contender.flat, most),
            leaf_epochs=epochs(contender.leaf, most),
            refine_epochs=epochs(contender.refine, most),
            joint_epochs=(
                epochs(contender.joint, most) if contender.joint else 0
            ),
            **_taken(changes, _fields(JobPlan)),
        )
        has_leaves = contender.leaf or contender.joint
        default = {} if has_leaves else {"growth": "flat"}
        options = dataclasses.replace(
            _OPTIONS, **(default | _taken(changes, _fields(GrowthOptions)))
        )
    if changes:
        raise ValueError(f"{contender.name}: no field {sorted(changes)[0]!r}")
    return plan, options


def growth_in(
    contender: Scratch | Grown, options: GrowthOptions, is_last: bool
) -> GrowthOptions:
    """How a contender grows in one step.

    Args:
        contender: The contender.
        options: What `apply` gave.
        is_last: Whether it is the last step.
    """
    if isinstance(contender, ClonedLast) and not is_last:
        return dataclasses.replace(options, growth="flat")
    return options


def _taken(changes: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: changes.pop(name) for name in names if name in changes}


def _fields(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def choose(
    patterns: Sequence[str], known: Mapping[str, Contender]
) -> list[Contender]:
    """The contenders that patterns such as `flat-*` name, in their order.

    Raises:
        UsageError: If one names none.
    """
    chosen: dict[str, Contender] = {}
    for pattern in patterns:
        found = fnmatch.filter(known, pattern)
        if not found:
            raise UsageError(
                f"--contenders: {pattern!r} names none; valid are "
                + ", ".join(known)
            )
        chosen |= {name: known[name] for name in found}
    return list(chosen.values())


def cost(
    contenders: Iterable[Contender], known: Mapping[str, Contender]
) -> float:
    """What contenders cost to train in a study of two steps.

    Jobs that several have in common are counted once. With exemplars it is
    less: an epoch is reckoned to sweep every image.

    Returns:
        Images swept in the second step, times how many of the usual network a
        wider one is, in units of what training from scratch sweeps.
    """
    jobs: dict[object, float] = {}
    for contender in contenders:
        for job, share in _jobs(contender, known):
            jobs[job] = share
    return sum(jobs.values())


def _jobs(
    contender: Contender, known: Mapping[str, Contender]
) -> Iterable[tuple[object, float]]:
    if isinstance(contender, Ensemble):
        for member in contender.members:
            yield from _jobs(known[member], known)
    elif isinstance(contender, Scratch):
        own = dataclasses.replace(contender, name="")
        yield repr(own), contender.share * contender.networks
    else:
        # Of what differs, the rest is about the leaves only.
        about_leaves = (
            "growth",
            "num_superclasses",
            "leaf_",
            "confusion_",
            "partition_",
            "capacity_",
        )
        flat = {
            name: value
            for name, value in contender.changes.items()
            if not name.startswith((*about_leaves, "clone_from"))
        }
        if contender.flat:
            yield (contender.flat, repr(flat)), contender.flat
        if contender.leaf or contender.joint:
            yield (
                contender.name,
                contender.leaf + contender.branch + contender.joint,
            )


_IMPRINTED = {"new_columns": "imprinted"}

# How a flat increment begins and what it minimises.
_FLAT: dict[str, Changes] = {
    "random": _NONE,
    "imprinted": _IMPRINTED,
    "head": _IMPRINTED | {"head_epochs": 1.0},
    "slow": _IMPRINTED | {"body_rate": 0.3},
    "shrink60": _IMPRINTED | {"shrink": 0.6, "perturb": 0.1},
    "shrink40": _IMPRINTED | {"shrink": 0.4, "perturb": 0.1},
    "distilled": _IMPRINTED | {"flat_distillation": 1.0},
    "smoothed": _IMPRINTED | {"label_smoothing": 0.1},
    "rebn": _IMPRINTED | {"reestimate_batch_norm": True},  # a pass more
    "combined": _IMPRINTED
    | {"shrink": 0.6, "perturb": 0.1, "label_smoothing": 0.1},
}
# The best of them are compared at every share.
_FLAT_SHARES = {"imprinted": (0.3, 0.4, 0.5, 1.0), "shrink60": (0.3, 0.5, 1.0)}

_PREDICTED: Changes = {
    "num_superclasses": 0,
    "partition_by": "predicted_error",
    "confusion_counts": "soft",
    "confusion_from": "flat",
}

# Flat increment and leaves.
_SHRUNK: Changes = {
    "shrink": 0.6,
    "perturb": 0.1,
    "leaf_shrink": 0.5,
    "leaf_perturb": 0.1,
}

_TOP2: Changes = {**_PREDICTED, **_FLAT["shrink60"], "leaf_layers": 2}


def _wide(capacity: float) -> Changes:
    return {
        **_PREDICTED,
        **_SHRUNK,
        "leaf_capacity": capacity,
        "capacity_rule": "all",
    }


# Trees from imprinted flat increments: flat share, leaf share, changes.
_TREES: dict[str, tuple[float, float, Changes]] = {
    "tree2-paper": (
        *(0.5, 0.5),
        {"num_superclasses": 2, "clone_from": "previous", **_IMPRINTED},
    ),
    "tree2-paper-130": (
        *(0.65, 0.65),
        {"num_superclasses": 2, "clone_from": "previous", **_IMPRINTED},
    ),
    "tree2-50": (0.5, 0.5, {"num_superclasses": 2}),
    "tree4-50": (0.5, 0.5, {"num_superclasses": 4}),
    "tree4-40": (0.4, 0.6, {"num_superclasses": 4}),
    "tree4-30": (0.3, 0.7, {"num_superclasses": 4}),
    "tree8-40": (0.4, 0.6, {"num_superclasses": 8}),
    "tree-gap-40": (0.4, 0.6, {"num_superclasses": 0}),
    "tree4-softcounts-40": (
        *(0.4, 0.6),
        {"num_superclasses": 4, "confusion_counts": "soft"},
    ),
    "tree4-flatconfusion-40": (
        *(0.4, 0.6),
        {
            "num_superclasses": 4,
            "confusion_counts": "soft",
            "confusion_from": "flat",
        },
    ),
    "tree4-predicted-40": (0.4, 0.6, {**_PREDICTED, "num_superclasses": 4}),
    # K by the predicted error, too.
    "tree-predicted-40": (0.4, 0.6, _PREDICTED),
    "tree-predicted-30": (0.3, 0.7, _PREDICTED),
    "tree-predicted-shrunk-20": (0.2, 0.8, {**_PREDICTED, **_SHRUNK}),
    "tree-predicted-shrunk-30": (0.3, 0.7, {**_PREDICTED, **_SHRUNK}),
    "tree-predicted-shrunk-50": (0.5, 0.5, {**_PREDICTED, **_SHRUNK}),
    **{
        f"tree{count}-predicted-shrunk-50": (
            *(0.5, 0.5),
            {**_PREDICTED, **_SHRUNK, "num_superclasses": count},
        )
        for count in (2, 4, 6)
    },
    # At 1.25 leaves of 1.5 times the parameters and 1.3 times the operations.
    "tree-predicted-shrunk-wide125-30": (0.3, 0.7, _wide(1.25)),
    "tree-predicted-shrunk-wide125-50": (0.5, 0.5, _wide(1.25)),
    "tree-predicted-shrunk-wide150-50": (0.5, 0.5, _wide(1.5)),
    "tree-predicted-shrunk-top2-60": (
        *(0.6, 0.4),
        {**_PREDICTED, **_SHRUNK, "leaf_layers": 2},
    ),
    # Every depth of cut, from the softmax and the last convolution up.
    **{
        f"tree-predicted-shrunk-top{layers}-50": (
            *(0.5, 0.5),
            {**_PREDICTED, **_SHRUNK, "leaf_layers": layers},
        )
        for layers in range(2, 8)
    },
    # Frozen layers must be good already; the others are not shrunk.
    "tree-predicted-top2-80": (0.8, 0.2, _TOP2),
    "tree-predicted-top2-90": (0.9, 0.1, _TOP2),
    "tree-predicted-capacity150-40": (
        *(0.4, 0.6),
        {**_PREDICTED, "leaf_capacity": 1.5},
    ),
    "tree4-top2-40": (0.4, 0.6, {"num_superclasses": 4, "leaf_layers": 2}),
    "tree4-top3-40": (0.4, 0.6, {"num_superclasses": 4, "leaf_layers": 3}),
    "tree2-top2-40": (0.4, 0.6, {"num_superclasses": 2, "leaf_layers": 2}),
    "tree4-distilled-40": (
        *(0.4, 0.6),
        {"num_superclasses": 4, "leaf_distillation": 1.0},
    ),
    "tree4-smoothed-40": (
        *(0.4, 0.6),
        {"num_superclasses": 4, "label_smoothing": 0.1},
    ),
    "tree4-capacity150-40": (
        *(0.4, 0.6),
        {"num_superclasses": 4, "leaf_capacity": 1.5},
    ),
    "tree4-rebn-40": (  # a pass more of each model
        *(0.4, 0.6),
        {"num_superclasses": 4, "reestimate_batch_norm": True},
    ),
    "tree4-shrink60-40": (
        *(0.4, 0.6),
        {"num_superclasses": 4, "shrink": 0.6, "perturb": 0.1},
    ),
}

# Branch and leaves trained as one network, of which each leaf has so many
# layers of its own.
_JOINT: tuple[Contender, ...] = tuple(
    Grown(
        f"tree{count or ''}-joint-top{layers}{suffix}",
        joint=share,
        changes={
            **_PREDICTED,
            **_FLAT["shrink60"],
            "leaf_layers": layers,
            "num_superclasses": count,
        },
    )
    for share, suffix in ((1.0, ""), (0.5, "-50"))
    for layers in (2, 3, 4, 6)
    for count in (0, 2, 4, 6)
)

_BRANCHES: tuple[Contender, ...] = tuple(
    Grown(
        f"tree4-branch{weight * 100:.0f}-40",
        0.4,
        0.5,
        branch=0.1,
        changes={
            **_IMPRINTED,
            "num_superclasses": 4,
            "superclass_weight": weight,
        },
    )
    for weight in (0.5, 1.0)
)

# What later steps have of earlier classes: so many exemplars; and whether the
# old model is listened to, the columns of new classes are aligned, or the loss
# makes up for how few there are. At equal epochs fewer images are swept.
_REPLAYS: dict[str, Changes] = {
    f"replay{count}-{{}}{suffix}": {
        "memory_per_class": count,
        **changes,
        **_IMPRINTED,
    }
    for count in (20, 50)
    for suffix, changes in {
        "": _NONE,
        "-aligned": {"align_weights": True},
        "-taught": {"flat_distillation": 1.0},
        "-taught-aligned": {"flat_distillation": 1.0, "align_weights": True},
        "-balanced": {"balanced_softmax": True},
        "-taught-balanced": {
            "flat_distillation": 1.0,
            "balanced_softmax": True,
        },
    }.items()
}

# For long streams: the better increment of each leaf stays.
_COMPETE = {"growth": "compete", **_PREDICTED, **_IMPRINTED}

_ALL: tuple[Contender, ...] = (
    Scratch("scratch"),
    Scratch("scratch-again", draw=1),
    Scratch("scratch-half", share=0.5),
    Scratch("scratch-half-again", share=0.5, draw=1),
    Scratch("scratch-smoothed", changes={"label_smoothing": 0.1}),
    Scratch("wider-3", networks=3),  # those of a tree with K=2
    Scratch("wider-4", networks=4),
    Ensemble("ensemble-scratch", ("scratch", "scratch-again")),
    Ensemble("ensemble-half", ("scratch-half", "scratch-half-again")),
    Ensemble("ensemble-flat", ("scratch", "flat-imprinted-50")),
    *(
        Grown(f"flat-{name}-{share * 100:.0f}", share, changes=changes)
        for name, changes in _FLAT.items()
        for share in _FLAT_SHARES.get(name, (0.5,))
    ),
    *(
        Grown(name, flat, leaf, changes={**_IMPRINTED, **changes})
        for name, (flat, leaf, changes) in _TREES.items()
    ),
    *_JOINT,
    *_BRANCHES,
    *(
        Grown(name.format("flat"), 0.4, changes=changes)
        for name, changes in _REPLAYS.items()
    ),
    *(
        Grown(
            name.format("tree"),
            *(0.4, 0.6),
            changes={"num_superclasses": 4, **changes},
        )
        for name, changes in _REPLAYS.items()
    ),
    # A branch with its leaves has no teacher and no columns of its own to
    # align.
    *(
        Grown(
            name.format("joint"),
            joint=1.0,
            changes={
                **_PREDICTED,
                **_FLAT["shrink60"],
                "leaf_layers": 4,
                **changes,
            },
        )
        for name, changes in _REPLAYS.items()
        if "taught" not in name and "aligned" not in name
    ),
    Grown("compete-20", 0.2, 0.2, refine=0.1, changes=_COMPETE),
    Grown("compete-30", 0.3, 0.3, refine=0.1, changes=_COMPETE),
    # Branches as well trained as leaves are; trees where they pay their price.
    Grown(
        "compete-20-full",
        *(0.2, 0.2, 0.2),
        changes=_COMPETE | {"refine_branches": "full"},
    ),
    Grown(
        "compete-20-per-flop",
        *(0.2, 0.2, 0.1),
        changes=_COMPETE | {"compete_by": "error_per_flop"},
    ),
    Grown("stream-flat-20", 0.2, changes=_IMPRINTED),
    ClonedLast(
        "stream-flat-20-cloned-50",
        *(0.2, 0.5),
        changes={
            **_PREDICTED,
            **_IMPRINTED,
            "leaf_shrink": 0.5,
            "leaf_perturb": 0.1,
        },
    ),
    ClonedLast(
        "stream-flat-20-joint-50",
        flat=0.2,
        joint=0.5,
        changes={**_PREDICTED, **_IMPRINTED, "leaf_layers": 4},
    ),
    # Divided as soon as there are so many classes, if that pays.
    *(
        Grown(
            f"stream-compete-20-cloned-50-from-{least}",
            *(0.2, 0.5, 0.1),
            changes={
                **_COMPETE,
                "leaf_shrink": 0.5,
                "leaf_perturb": 0.1,
                "min_classes_to_clone": least,
            },
        )
        for least in (20, 30, 40, 50)
    ),
    Grown("stream-flat-15", 0.15, changes=_IMPRINTED),
)
CONTENDERS: Mapping[str, Contender] = {c.name: c for c in _ALL}

# The default; a wider network from scratch costs as much as four.
MAIN = (
    "scratch",
    "flat-imprinted-50",
    "flat-shrink60-50",
    "flat-shrink60-100",
    "tree2-paper",
    "tree-predicted-shrunk-50",
    "tree-joint-top2",
    "tree-joint-top4",
    "ensemble-scratch",
    "wider-4",
)
STREAM = (
    "scratch",
    "stream-flat-20",
    "stream-flat-20-cloned-50",
    "stream-flat-20-joint-50",
    "stream-compete-20-cloned-50-from-40",
)
