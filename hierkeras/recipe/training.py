"""How a model is trained."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hierkeras._option import option
from hierkeras.data.source import Augmentation

Schedule = Literal["adaptive", "cosine"]
Optimizer = Literal["sgd", "muon"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
Heads = Literal["trained", "solved"]


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model is trained.

    The defaults are the paper's where it names a value (section 5, Training
    Details), else those of Krizhevsky et al. 2012, which it builds on.
    """

    max_epochs: Annotated[
        int,
        option(
            "Most epochs of a training: passes over the images (cosine) or "
            "stretches of samples_per_check images (adaptive); 0: by the "
            "number of images.",
            0,
            10**6,
            flag="max_epochs",
        ),
    ] = 100
    batch_size: Annotated[
        int,
        option(
            "Images in a step, over all devices; 0: by the number of images.",
            0,
            2**20,
            flag="batch_size",
        ),
    ] = 128
    initial_learning_rate: Annotated[
        float,
        option(
            "Learning rate at the start.",
            1e-12,
            1e3,
        ),
    ] = 0.01
    augment: Annotated[
        Augmentation,
        option(
            "How images are changed at random while they are learnt: moved by "
            "up to an eighth of their size (shift), half of them mirrored "
            "(mirror), or both; auto: none for digits, both for photos, but "
            "shift where classes are mirror images of each other.",
            flag="augment",
        ),
    ] = "auto"
    seed: Annotated[
        int, option("Of every random choice.", 0, 2**32 - 1, flag="seed")
    ] = 0
    heads: Annotated[
        Heads,
        option(
            "trained: every node's network, by gradient descent; solved: a "
            "head above a trunk that stays as it is, in closed form, from "
            "features that are computed once.",
        ),
    ] = "trained"
    crops: Annotated[
        int,
        option(
            "With solved heads, random crops of each image that count as "
            "images beside it; mirrored or not, by augment.",
            0,
            100,
        ),
    ] = 0
    shrinkage: (
        Annotated[
            float,
            option(
                "With solved heads, the part of the covariance within classes "
                "that is a multiple of the identity; unset: chosen by images "
                "that are held out.",
                0.0,
                1.0,
            ),
        ]
        | None
    ) = None
    schedule: Annotated[
        Schedule,
        option(
            "Learning rate: adaptive (the paper's rule), or cosine with a "
            "fixed budget of max_epochs passes."
        ),
    ] = "adaptive"
    optimizer: Annotated[
        Optimizer,
        option(
            "sgd has Nesterov momentum; so has muon, whose steps on kernels "
            "are orthogonal matrices, and which the rates of sgd suit."
        ),
    ] = "sgd"
    momentum: Annotated[float, option("Of sgd and muon.", 0.0, 0.999)] = 0.9
    weight_decay: Annotated[
        float,
        option(
            "Decoupled, per step and unit of learning rate; not on biases "
            "and normalisation.",
            0.0,
            1e3,
        ),
    ] = 0.0005
    warmup_epochs: Annotated[
        float, option("Epochs of linear warm-up, with cosine.", 0.0, 1e6)
    ] = 0.0
    samples_per_check: Annotated[
        int,
        option("Images between two validations, with adaptive.", 1, 10**9),
    ] = 30_000
    validation_samples: Annotated[
        int, option("Random validation images in a validation.", 1, 10**9)
    ] = 1_000
    min_error_drop: Annotated[
        float,
        option(
            "Drop of the validation error, in [0, 1], that counts as "
            "progress, with adaptive.",
            0.0,
            1.0,
        ),
    ] = 0.001
    patience: Annotated[
        int,
        option(
            "Validations in a row without progress that cut the learning "
            "rate, with adaptive.",
            1,
            10**6,
        ),
    ] = 3
    learning_rate_cuts: Annotated[
        int,
        option(
            "Cuts of the learning rate before training stops, with adaptive.",
            0,
            10**6,
        ),
    ] = 2
    learning_rate_cut_factor: Annotated[
        float,
        option(
            "By what a cut divides the learning rate, with adaptive.", 1.0, 1e6
        ),
    ] = 10.0
    precision: Annotated[
        Precision, option("Keras dtype policy of the training.")
    ] = "float32"
    balanced_softmax: Annotated[
        bool,
        option(
            "Whether the loss makes up for classes that have fewer training "
            "images than others, where classes have exemplars only (Ren et "
            "al. 2020, https://arxiv.org/abs/2007.10740)."
        ),
    ] = True

    @property
    def least_images(self) -> int:
        """How many images a class needs.

        One in each split where networks are trained; a head is solved from
        one.
        """
        return 1 if self.heads == "solved" else 3
