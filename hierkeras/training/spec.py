"""The spec of a job: all that decides what a training gives.

A job is a pure function of its spec. The spec is canonical JSON, its hash is
the job id, and its result is an immutable folder under that id: a job whose
folder exists is not run again.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from hierkeras.models.registry import ModelConfig
from hierkeras.tree.names import JobId

Schedule = Literal["adaptive", "cosine"]
Optimizer = Literal["sgd", "muon"]
Augmentation = Literal["none", "shift_flip"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
Trainable = Literal["all", "head", "none"]
NewColumns = Literal["random", "imprinted"]


# Fields that specs did not always have, and what a spec without one means.
# That is not hashed, so that a new field changes no job's id.
_LATER: dict[str, object] = {
    "balanced_softmax": False,
    "shrink": 1.0,
    "perturb": 0.0,
    "widening_noise": 0.0,
    "leaf": None,
    "top_layers": 0,
    "teacher": None,
    "leaves": None,
}


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model is trained.

    The defaults are the paper's where it names a value (section 5, Training
    Details), else those of Krizhevsky et al. 2012, which it builds on.

    Args:
        schedule: `adaptive` (the paper's rule) or `cosine` with a fixed
            budget of `max_epochs` passes over the images.
        optimizer: `sgd` (with Nesterov momentum) or `muon`.
        initial_learning_rate: Rate at the start, greater than 0.
        momentum: In [0, 1).
        weight_decay: Decoupled, per step and unit of learning rate; not
            applied to biases and normalisation.
        batch_size: Images in a step, over all devices.
        max_epochs: Most epochs; 0 trains nothing. An epoch is a pass over
            the images with `cosine`, `samples_per_check` images with
            `adaptive`.
        warmup_epochs: With `cosine`, epochs of linear warm-up.
        samples_per_check: With `adaptive`, images between two validations.
        validation_samples: Random validation images of one validation.
        min_error_drop: With `adaptive`, the drop of the validation error,
            in [0, 1], that counts as progress.
        patience: With `adaptive`, validations without progress in a row
            that cut the rate.
        learning_rate_cuts: With `adaptive`, how often the rate is cut before
            training stops.
        learning_rate_cut_factor: By what it is divided.
        augmentation: `shift_flip` moves each image by up to an eighth of its
            size and mirrors half of them; `none`.
        precision: Keras dtype policy.
        balanced_softmax: Whether the loss makes up for classes of which there
            are fewer training images than of others (Ren et al. 2020,
            https://arxiv.org/abs/2007.10740).
    """

    schedule: Schedule = "adaptive"
    optimizer: Optimizer = "sgd"
    initial_learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0005
    batch_size: int = 128
    max_epochs: int = 100
    warmup_epochs: float = 0.0
    samples_per_check: int = 30_000
    validation_samples: int = 1_000
    min_error_drop: float = 0.001
    patience: int = 3
    learning_rate_cuts: int = 2
    learning_rate_cut_factor: float = 10.0
    augmentation: Augmentation = "none"
    precision: Precision = "float32"
    balanced_softmax: bool = False


class Initial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model that a job starts from, and how.

    Args:
        job: Id of the job that made it.
        new_columns: How softmax columns of classes that it lacks begin:
            `random`, or `imprinted` from the classes' mean features (Qi et
            al. 2018).
        shrink: Factor, in (0, 1], on the weights that are taken over, and
        perturb: factor, at least 0, on fresh random weights that are added
            to them: shrink and perturb (Ash & Adams 2020, section 4,
            https://arxiv.org/abs/1910.08475).
        widening_noise: Where the job's network is wider than that model,
            standard deviation of the noise on replicated channels, as a part
            of that of the kernel; see `hierkeras.models.widening`.
        leaf: Which of the leaves that the job was trained together with the
            model is, from 0; None: it is the job's own.
    """

    job: JobId
    new_columns: NewColumns = "random"
    shrink: float = 1.0
    perturb: float = 0.0
    widening_noise: float = 0.0
    leaf: int | None = None


class Teacher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model whose opinion of the classes that it knows is kept to.

    Learning without forgetting (Li & Hoiem 2017,
    https://arxiv.org/abs/1606.09282): the loss gains the cross-entropy, over
    the classes that both know, with the teacher's softened probabilities
    (Hinton et al. 2015, https://arxiv.org/abs/1503.02531).

    Args:
        job: Id of the job that made it.
        weight: Of that loss beside the labels', greater than 0.
    """

    job: JobId
    weight: float


class Leaves(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The leaves that a branch is trained together with, as one network.

    HD-CNN (Yan et al. 2015, section 4, https://arxiv.org/abs/1410.0736) trains
    a coarse and several fine classifiers above shared layers so; here an image
    also teaches its own leaf alone, for which the others have no class.

    Args:
        classes: Names of the classes of each; together, those of the job.
        top_layers: How many layers each has of its own, counted from the
            softmax layer down; those below are the branch's. 0: all.
    """

    classes: tuple[tuple[str, ...], ...]
    top_layers: int


class JobSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides what a training gives.

    Args:
        classes: Names of the classes, in the order of the outputs.
        model: The network.
        recipe: How it is trained.
        data: Fingerprint of the training and validation images.
        initial: What it starts from; None: random weights.
        trainable: Which part is trained: `all`, `head` (the softmax layer)
            or `none`.
        top_layers: With `all`, how many layers, counted from the softmax
            layer down, are trained; 0: every one. Normalisation counts with
            the layer before it.
        teacher: A model whose opinion is kept to; None: there is none.
        leaves: The leaves that it is trained together with; None: it is
            trained alone.
        seed: Of initialisation, order and augmentation.
    """

    classes: tuple[str, ...]
    model: ModelConfig
    recipe: Recipe
    data: str
    initial: Initial | None = None
    trainable: Trainable = "all"
    top_layers: int = 0
    teacher: Teacher | None = None
    leaves: Leaves | None = None
    seed: int = 0

    @property
    def job(self) -> str:
        """The job id: 16 hexadecimal digits of the spec's hash."""
        content = msgspec.to_builtins(self)
        for part in (content, content["recipe"], content["initial"] or {}):
            for name, default in _LATER.items():
                if name in part and part[name] == default:
                    del part[name]
        canonical = msgspec.json.encode(content)
        return hashlib.sha256(canonical).hexdigest()[:16]

    @property
    def random_seed(self) -> int:
        """A seed in [0, 2^31) of this job's own, so that jobs differ."""
        return int(self.job, 16) % 2**31
