"""What decides how a tree grows."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from hierkeras.tree.routing import Routing

GrowthMode = Literal["compete", "flat", "clone"]
Criterion = Literal["error", "error_per_flop"]
CloneSource = Literal["previous", "flat"]
Refinement = Literal["none", "head", "full"]
ConfusionCounts = Literal["hard", "soft"]
PartitionRule = Literal["spectral", "predicted_error"]
CapacityRule = Literal["need", "all"]
Calibration = Literal["none", "nodes", "tree", "both"]

GROWTH_MODES: tuple[str, ...] = get_args(GrowthMode)
CRITERIA: tuple[str, ...] = get_args(Criterion)
CLONE_SOURCES: tuple[str, ...] = get_args(CloneSource)
REFINEMENTS: tuple[str, ...] = get_args(Refinement)
CONFUSION_COUNTS: tuple[str, ...] = get_args(ConfusionCounts)
PARTITION_RULES: tuple[str, ...] = get_args(PartitionRule)
CAPACITY_RULES: tuple[str, ...] = get_args(CapacityRule)
CALIBRATIONS: tuple[str, ...] = get_args(Calibration)


@dataclasses.dataclass(frozen=True)
class GrowthOptions:
    """What decides how a tree grows.

    Args:
        growth: `compete` (Algorithm 1: the better of both increments),
            `flat` or `clone` (that one, whatever its error).
        compete_by: What decides there: the `error` on validation images (the
            paper), or `error_per_flop`: the clone increment also has to take
            off enough error for what it costs to run.
        error_per_doubling: How much, in [0, 1], for each doubling of the
            operations of an image.
        min_classes_to_clone: With fewer classes, old and new, a leaf grows
            flat, at least 2. A branch keeps the features that told apart the
            classes that it was made of: too few of them make a poor one for
            all that come later.
        num_superclasses: K, at least 2; 0: chosen by the eigengap of the
            confusion matrix, or by the predicted error.
        partition_by: `spectral` clustering of confusions (the paper), or the
            least `predicted_error` of the tree, which needs
            `confusion_from="flat"`.
        clone_from: What a clone's leaves start from: `previous`, the leaf
            before the step (the paper), beside the flat increment; or
            `flat`, the finished flat increment.
        confusion_from: Whose confusion matrix is clustered: that of the leaf
            before the step, which previews the new classes (`previous`, the
            paper), or that of the finished `flat` increment, which knows
            them.
        refine_branches: What is trained of a branch above a leaf that grew:
            `full`, `head` (its softmax layer) or `none`. In every case it
            covers the new classes afterwards.
        routing: How the tree answers; the competition is judged under it.
        confusion_counts: `hard`: a confusion is an image whose most probable
            class is another (the paper); `soft`: every image counts by its
            probabilities.
        calibrate: Whose temperatures are chosen on validation images: those
            of the models that a step trains (`nodes`), of the tree's whole
            answer (`tree`), of both or of none.
        memory_per_class: Exemplars that are kept of each class that a step
            learns, at least 0; its other training images are never used
            again. 0: every image is used.
        leaf_capacity: At least 1; with more, and `clone_from="flat"`, each
            cloned leaf is so many times as wide as its parent, as wide, or
            that much narrower.
        capacity_rule: What decides which: `need`, how confused its classes
            stay; or `all` are so many times as wide.
        scratch_baseline: Whether to train a model of all classes from
            scratch too, for comparison.

    Raises:
        ValueError: If `partition_by` lacks what it needs.
    """

    growth: GrowthMode = "compete"
    compete_by: Criterion = "error"
    error_per_doubling: float = 0.02
    min_classes_to_clone: int = 2
    num_superclasses: int = 0
    partition_by: PartitionRule = "spectral"
    clone_from: CloneSource = "previous"
    confusion_from: CloneSource = "previous"
    refine_branches: Refinement = "head"
    routing: Routing = dataclasses.field(default_factory=Routing)
    confusion_counts: ConfusionCounts = "hard"
    calibrate: Calibration = "tree"
    memory_per_class: int = 0
    leaf_capacity: float = 1.0
    capacity_rule: CapacityRule = "need"
    scratch_baseline: bool = False

    def __post_init__(self) -> None:
        if (
            self.partition_by == "predicted_error"
            and self.confusion_from != "flat"
        ):
            raise ValueError("predicted_error needs confusion_from='flat'")
