"""The spec of a job: all that decides what a training gives.

A job is a pure function of its spec. The spec is canonical JSON, its hash is
the job id, and its result is an immutable folder under that id: a job whose
folder exists is not run again.
"""

from __future__ import annotations

import hashlib

import msgspec

from hierkeras.models.registry import ModelConfig
from hierkeras.recipe.growth import NewColumns
from hierkeras.recipe.training import Training
from hierkeras.tree.names import JobId


class _Start(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"
):
    """What a job starts from, and what it trains of it."""


class Scratch(_Start, frozen=True, tag="scratch"):
    """Random weights; all is trained."""


class Flat(_Start, frozen=True, tag="flat"):
    """A model that takes in classes with a wider softmax; all is trained.

    Args:
        parent: Id of the job that made it.
        new_columns: How the columns of classes that it lacks begin: `random`,
            or `imprinted` from the classes' mean features (Qi et al. 2018).
        shrink: Factor, in (0, 1], on the weights that are taken over, and
        perturb: factor, at least 0, on fresh random weights that are added
            to them: shrink and perturb (Ash & Adams 2020, section 4,
            https://arxiv.org/abs/1910.08475).
        distillation: Weight, in the loss, of the parent's opinion of the
            classes that it knows; 0: none.
    """

    parent: JobId
    new_columns: NewColumns
    shrink: float
    perturb: float
    distillation: float


class Clone(_Start, frozen=True, tag="clone"):
    """A model of which a leaf is made, or that is trained again.

    Args:
        parent: As of `Flat`, as are
        new_columns, shrink, perturb: these; of what is trained.
        leaf_layers: How many layers are trained, counted from the softmax
            layer down, normalisation with the layer before it; 0: all.
    """

    parent: JobId
    new_columns: NewColumns
    shrink: float
    perturb: float
    leaf_layers: int


class Preview(_Start, frozen=True, tag="preview"):
    """A model with imprinted columns for new classes; nothing is trained.

    Args:
        parent: As of `Flat`.
    """

    parent: JobId


class Refined(_Start, frozen=True, tag="refined"):
    """As `Preview`, of which then the softmax layer is trained.

    Args:
        parent: As of `Flat`.
    """

    parent: JobId


class Together(_Start, frozen=True, tag="together"):
    """A model that becomes a branch, trained with its leaves as one network.

    HD-CNN (Yan et al. 2015, section 4, https://arxiv.org/abs/1410.0736) trains
    a coarse and several fine classifiers above shared layers so; here an image
    also teaches its own leaf alone, for which the others have no class.

    Args:
        parent: As of `Flat`, as are
        shrink, perturb: these.
        superclasses: The classes of each leaf; together, those of the job.
        leaf_layers: How many layers each leaf has of its own, counted from
            the softmax layer down; those below are the branch's. 0: all.
    """

    parent: JobId
    shrink: float
    perturb: float
    superclasses: tuple[tuple[str, ...], ...]
    leaf_layers: int


class CutOut(_Start, frozen=True, tag="cut_out"):
    """A leaf that was trained together with its branch; nothing is trained.

    Args:
        branch: Id of the job that trained both.
        leaf: Its number there, from 0.
    """

    branch: JobId
    leaf: int


class Solved(_Start, frozen=True, tag="solved"):
    """A head above a frozen trunk, solved from its features of images.

    Args:
        parent: Id of a job whose sums are gone on from, which saves time and
            changes no more than rounding; None: all images are added up.
    """

    parent: JobId | None


class Imported(_Start, frozen=True, tag="imported"):
    """A classifier that somebody trained, as it is, above its own trunk.

    Nothing of it follows from images: a spec of this kind holds the
    fingerprint of its classes without any.

    Args:
        head: 16 hexadecimal digits of a SHA-256 sum of its kernel and bias.
    """

    head: str


Start = (
    Scratch
    | Flat
    | Clone
    | Preview
    | Refined
    | Together
    | CutOut
    | Solved
    | Imported
)


class JobSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides what a training gives.

    Args:
        classes: Names of the classes, in the order of the outputs.
        network: The network.
        training: How it is trained, for how many epochs, with which seed.
        data: Fingerprint of the training and validation images.
        start: What it starts from.
    """

    classes: tuple[str, ...]
    network: ModelConfig
    training: Training
    data: str
    start: Start = Scratch()

    @property
    def job(self) -> str:
        """The job id: 16 hexadecimal digits of the spec's hash."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]

    @property
    def is_imported(self) -> bool:
        """Whether somebody else trained the model."""
        return isinstance(self.start, Imported)

    @property
    def random_seed(self) -> int:
        """A seed in [0, 2^31) of this job's own, so that jobs differ."""
        return int(self.job, 16) % 2**31


def leaf_layers(start: Start) -> int:
    """How many layers a model has of its own; 0: all of them.

    Args:
        start: What its job started from; of a leaf that was cut out, that of
            its branch's job.
    """
    return start.leaf_layers if isinstance(start, Clone | Together) else 0


def parents(start: Start) -> tuple[JobId, ...]:
    """Ids of the jobs that a job starts from."""
    if isinstance(start, Scratch | Imported):
        return ()
    if isinstance(start, Solved):
        return () if start.parent is None else (start.parent,)
    return (start.branch if isinstance(start, CutOut) else start.parent,)
