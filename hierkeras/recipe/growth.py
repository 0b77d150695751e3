"""How a tree grows."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hierkeras._option import option

Increments = Literal["compete", "flat", "clone"]
Criterion = Literal["evidence", "error"]
LeafLearning = Literal["beside", "after", "together"]
Refinement = Literal["none", "head", "full"]
ConfusionCounts = Literal["hard", "soft"]
PartitionRule = Literal["spectral", "predicted_error"]
NewColumns = Literal["random", "imprinted"]


class Growth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a tree grows; the defaults are the paper's where it names one."""

    increments: Annotated[
        Increments,
        option(
            "How a leaf with new classes grows: compete (Algorithm 1: both "
            "increments, the better one stays), flat, or clone.",
            flag="growth",
        ),
    ] = "compete"
    leaves: Annotated[
        LeafLearning,
        option(
            "How the leaves of a clone increment learn: beside the flat "
            "increment, from the leaf before the step (the paper); after it, "
            "from the finished flat increment; or together with their "
            "branch, as one network.",
            flag="leaves",
        ),
    ] = "beside"
    num_superclasses: Annotated[
        int,
        option(
            "K, leaves of a clone increment, at least 2; 0: chosen from the "
            "confusion matrix.",
            0,
            10**6,
            flag="num_superclasses",
        ),
    ] = 0
    min_classes_to_clone: Annotated[
        int,
        option(
            "Classes, old and new, with fewer of which a leaf grows flat: a "
            "branch keeps the features that told few classes apart.",
            2,
            10**6,
        ),
    ] = 2
    memory_per_class: Annotated[
        int,
        option(
            "Training images that are kept of each class that a step learns, "
            "chosen by herding; later steps train on no others of it. 0: on "
            "all.",
            0,
            10**9,
            flag="memory_per_class",
        ),
    ] = 0
    scratch_baseline: Annotated[
        bool,
        option(
            "Also train a model of all classes from scratch in each step, "
            "for comparison only.",
            flag="scratch_baseline",
        ),
    ] = False
    compete_by: Annotated[
        Criterion,
        option(
            "What decides between both increments: error (the paper: the "
            "lower one on validation images stays), or evidence: the clone "
            "increment has to be better beyond chance, and worth what it "
            "costs to serve."
        ),
    ] = "evidence"
    significance: Annotated[
        float,
        option(
            "With evidence: the largest p-value, of McNemar's exact test, at "
            "which the clone increment is taken.",
            1e-12,
            1.0,
        ),
    ] = 0.05
    # An ensemble of two networks takes off 1.7 points where 59 % are wrong, 3 %
    # of the errors (docs/results.md); half a point is as much where 17 % are.
    min_gain_per_doubling: Annotated[
        float,
        option(
            "With evidence: share of the images, in [0, 1], that the clone "
            "increment has to name right and the flat one not, net, for each "
            "doubling of the operations of an image.",
            0.0,
            1.0,
        ),
    ] = 0.005
    partition_by: Annotated[
        PartitionRule,
        option(
            "How classes are divided: spectral clustering of their "
            "confusions (the paper), or predicted_error: so that what leaves "
            "are expected to take off is most, which weighs sizes and K too; "
            "it needs leaves that learn after or together."
        ),
    ] = "spectral"
    confusion_counts: Annotated[
        ConfusionCounts,
        option(
            "What counts as a confusion: an image's most probable class "
            "(hard, the paper's), or its probabilities (soft)."
        ),
    ] = "hard"
    leaf_layers: Annotated[
        int,
        option(
            "Layers of a leaf's own, counted from the softmax layer down; 0: "
            "all. The others are its parent's, and a served tree runs them "
            "once.",
            0,
            10**6,
        ),
    ] = 0
    refine_branches: Annotated[
        Refinement,
        option(
            "What is trained of a branch above a leaf that grew: its softmax "
            "layer (head), all of it (full), or none."
        ),
    ] = "head"
    new_columns: Annotated[
        NewColumns,
        option(
            "How softmax columns of new classes begin: random (the paper), "
            "or imprinted from the classes' mean features (Qi et al. 2018). "
            "A branch that learns together with its leaves begins imprinted."
        ),
    ] = "random"
    flat_share: Annotated[
        float,
        option("Epochs of a flat increment, by max_epochs.", 1e-6, 100.0),
    ] = 1.0
    leaf_share: Annotated[
        float,
        option(
            "Epochs of leaves, by max_epochs; with leaves that learn "
            "together, also those of their branch.",
            1e-6,
            100.0,
        ),
    ] = 1.0
    refine_share: Annotated[
        float,
        option("Epochs of a branch's refinement, by max_epochs.", 1e-6, 100.0),
    ] = 1.0
    shrink: Annotated[
        float,
        option(
            "Factor on the weights that a flat increment, or a branch that "
            "learns with its leaves, takes over (Ash & Adams 2020, "
            "https://arxiv.org/abs/1910.08475); 1: as they are.",
            0.01,
            1.0,
        ),
    ] = 1.0
    perturb: Annotated[
        float,
        option(
            "Factor on fresh random weights that are added to them.", 0.0, 1.0
        ),
    ] = 0.0
    leaf_shrink: Annotated[
        float,
        option(
            "Factor on the weights that a cloned leaf takes over and trains, "
            "beside or after the flat increment; 1: as they are.",
            0.01,
            1.0,
        ),
    ] = 1.0
    leaf_perturb: Annotated[
        float,
        option(
            "Factor on fresh random weights that are added to them.", 0.0, 1.0
        ),
    ] = 0.0
    flat_distillation: Annotated[
        float,
        option(
            "Weight of the old model's opinion of the old classes in the loss "
            "of a flat increment, where classes have exemplars only; 0: none.",
            0.0,
            1000.0,
        ),
    ] = 1.0
    calibrate: Annotated[
        bool,
        option(
            "Whether the tree's scores are brought in line, on validation "
            "images, with how often they are right; no answer changes."
        ),
    ] = True
