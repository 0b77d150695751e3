"""A generation: the tree after a step, and what each decision rested on."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from hierkeras.tree import nodes
from hierkeras.tree.names import JobId, NodeName

Growth = Literal["first", "flat", "clone", "relearned"]
Where = Literal[
    "two classes",
    "train and validation",
    "train and test",
    "validation and test",
]

_SUM = "sha256"


class JobUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job that a step used.

    Args:
        job: The job id.
        label: What it was for, such as `root.1 flat`.
        images_swept: Training images that went through it, counted again in
            every epoch.
        reused: Whether its result was there before the step asked for it.
    """

    job: JobId
    label: str
    images_swept: int
    reused: bool


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What validation images say about the two increments of a leaf.

    Args:
        num_images: Images that both answered, at least 1.
        only_flat_right: How many of them the flat increment alone has right.
        only_clone_right: How many the clone increment alone has right.
        p_value: How likely such a lead of the clone increment, or a larger
            one, is by chance alone, in [0, 1].
        flat_flops: Operations of the flat increment for an image, a
            multiply-add being 2; greater than 0.
        clone_flops: The mean of the clone increment's, on those images.
    """

    num_images: int
    only_flat_right: int
    only_clone_right: int
    p_value: float
    flat_flops: float
    clone_flops: float


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one leaf grew, and why.

    Args:
        node: Name of the leaf that received classes, or relearned its own.
        received: Those classes; none, if `relearned`.
        growth: `first` (there was no tree), `flat` or `clone`; `relearned`
            where the images of known classes changed.
        reason: One sentence.
        flat: The leaf by flat increment; the first leaf, if `first`; the
            leaf trained again, if `relearned`.
        flat_error: Its top-1 error in [0, 1] on validation images of the
            leaf's classes; None where there are none, as of an imported model
            may be.
        clone: The branch and leaves by clone increment; None where none was
            trained.
        clone_error: Their error, under the step's routing.
        evidence: What was counted where evidence decided; else None.
    """

    node: NodeName
    received: tuple[str, ...]
    growth: Growth
    reason: str
    flat: nodes.Leaf
    flat_error: float | None
    clone: nodes.Branch | None = None
    clone_error: float | None = None
    evidence: Evidence | None = None


class ClassData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a leaf learnt one of its classes from.

    Args:
        images: Number of training and validation images.
        fingerprint: Of them, 16 hexadecimal digits.
    """

    images: int
    fingerprint: str


class Duplicates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Images that are there twice.

    Args:
        where: In which two places.
        count: How many different images; each counts once, however often it
            is there.
        pairs: Keys of two of each, of the first few.
    """

    where: Where
    count: int
    pairs: tuple[tuple[str, str], ...]


class LeftOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files of a data set that were not used, for one reason.

    Args:
        why: The reason.
        count: How many.
        example: One of them.
    """

    why: str
    count: int
    example: str


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an increment step did.

    Args:
        new_classes: The classes that it added; none, if it relearned.
        decisions: One for each leaf that received classes or relearned.
        jobs: Every job that the step used.
        scratch: A model of all classes trained from scratch, for comparison
            only; None where none was asked for.
        unreadable_images: Keys of the images that were left out, also by
            earlier steps, and what they were: one that is mended is another.
        old_error_before: Top-1 error on validation images of the old
            classes before the step; None in the first.
        old_error_after: The same after it; None in the first.
        error_after: Top-1 error on validation images of all classes; None
            where there are none.
        seconds: Wall-clock time.
        learnt: Class to what the leaf that predicts it learnt it from; to
            what is left of it, where exemplars have taken its place.
        duplicates: Images that are there twice, of which one at least was
            new to the step.
        exemplars: Class to the keys of the training images that stand for
            the others from now on, in the order of herding.
        remaining: Job to the fingerprint of what is left of its images, of
            those jobs of the tree whose classes have come to have exemplars
            since they ran.
        left_out: What of the data set was not used, and why.
    """

    new_classes: tuple[str, ...]
    decisions: tuple[Decision, ...]
    jobs: tuple[JobUse, ...]
    scratch: JobUse | None
    unreadable_images: dict[str, str]
    old_error_before: float | None
    old_error_after: float | None
    error_after: float | None
    seconds: float
    learnt: dict[str, ClassData] = {}
    duplicates: tuple[Duplicates, ...] = ()
    exemplars: dict[str, tuple[str, ...]] = {}
    remaining: dict[JobId, str] = {}
    left_out: tuple[LeftOut, ...] = ()


class Generation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tree after step `number`, as `generations/<number>.json` holds it.

    Args:
        number: 1, 2, 3, ….
        settings: What later steps and readers start from: the data set and
            the recipe; see `hierkeras.recipe.remembered`.
        tree: The tree.
        step: What led to it.
        parent: Number of the generation that the step began with; None for
            the first. After rolling back it is not `number - 1`.
    """

    number: int
    settings: dict[str, Any]
    tree: nodes.Tree
    step: Step
    parent: int | None = None

    def __post_init__(self) -> None:
        if self.parent is not None and not 0 < self.parent < self.number:
            raise ValueError(
                f"generation {self.number} cannot come from generation "
                f"{self.parent}"
            )


def check(generation: Generation) -> None:
    """Checks that a step and the tree that came of it fit each other.

    Raises:
        ValueError: If they do not.
    """
    tree, step = generation.tree, generation.step
    if strange := set(step.new_classes).difference(tree.classes):
        raise ValueError(f"the tree lacks the step's class {min(strange)!r}")
    if strange := step.exemplars.keys() - set(tree.classes):
        raise ValueError(
            f"there are exemplars of {min(strange)!r}, which the tree lacks"
        )
    known = {node.name: set(node.classes) for node in tree.nodes()}
    for decision in step.decisions:
        for grown in (decision.flat, decision.clone):
            if grown and known.get(decision.node) != set(grown.classes):
                raise ValueError(
                    f"a decision about node {decision.node!r} is not about "
                    "the classes of that node"
                )


def to_json(generation: Generation) -> bytes:
    """Indented JSON, keys in a fixed order, with a check sum of the rest.

    Raises:
        msgspec.ValidationError: If `from_json` would not give it back, as
            JSON has no NaN.
    """
    content = msgspec.to_builtins(generation) | {_SUM: _sum(generation)}
    raw = msgspec.json.encode(content, order="deterministic")
    text = msgspec.json.format(raw, indent=1) + b"\n"
    if from_json(text) != generation:
        raise msgspec.ValidationError("JSON does not hold it as it is")
    return text


def from_json(text: bytes) -> Generation:
    """Reads what `to_json` wrote.

    Raises:
        msgspec.DecodeError: If it is not JSON, or a field is missing, of the
            wrong type or breaks a promise of the tree, or it was changed.
    """
    try:
        content = msgspec.json.decode(text, type=dict[str, Any])
        expected = content.pop(_SUM, None)
        generation = msgspec.convert(content, type=Generation)
        is_whole = expected == _sum(generation)
    except (RecursionError, UnicodeError) as error:
        raise msgspec.ValidationError(str(error)) from None
    if not is_whole:
        raise msgspec.ValidationError("it is not what was written")
    return generation


def _sum(generation: Generation) -> str:
    raw = msgspec.json.encode(generation, order="deterministic")
    return hashlib.sha256(raw).hexdigest()
