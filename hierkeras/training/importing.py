"""A model that somebody trained, as the first job of a work directory.

The paper begins there too: "we assume there is a model M0 that is already
trained on N0 classes" (section 4.1). Its trunk becomes the work directory's,
its head the job's result: nothing is trained, and no image is needed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

import numpy as np

from hierkeras._errors import UserError
from hierkeras.data import nothing
from hierkeras.models.registry import ModelConfig
from hierkeras.recipe.training import Training
from hierkeras.training import results, solutions
from hierkeras.training.results import JobResult
from hierkeras.training.spec import Imported, JobSpec
from hierkeras.tree.store import Store

if TYPE_CHECKING:
    from hierkeras.models.heads import Head  # imports Keras

_DIGITS = 16


@dataclasses.dataclass(frozen=True)
class Classifier:
    """What was on top of a trunk when it was imported.

    Args:
        classes: Names of its classes, in the order of its outputs.
        head: The linear classifier of the trunk's features.
    """

    classes: tuple[str, ...]
    head: Head

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.head.bias):
            raise UserError(
                f"--import_classes names {len(self.classes)} classes, and the "
                f"model of --import_model has {len(self.head.bias)} outputs; "
                "give a line for each of them, in their order"
            )

    def spec(self, network: ModelConfig) -> JobSpec:
        """The job whose result it is.

        Args:
            network: Names the trunk.
        """
        return JobSpec(
            classes=self.classes,
            network=network,
            training=Training(),  # of which nothing matters
            data=nothing.catalogue(self.classes).fingerprint(self.classes),
            start=Imported(_digest(self.head)),
        )


def classifier(classes: tuple[str, ...], head: Head | None) -> Classifier:
    """What was on top of a trunk, if that can be taken over.

    Args:
        classes: Names of its classes, in the order of its outputs.
        head: As it was found; None: it was not.

    Raises:
        UserError: If there is none, or it has another number of classes.
    """
    if head is None:
        raise UserError(
            "the model of --import_model does not end in a linear classifier "
            "of at least two classes (a Dense layer, perhaps with a softmax), "
            "so that nothing tells its classes; give it as --backbone"
        )
    return Classifier(classes, head)


def check_there(store: Store, wanted: Classifier, network: ModelConfig) -> None:
    """Checks that a work directory began with a model.

    Args:
        store: The work directory, which has a tree.
        wanted: The model.
        network: Names the trunk.

    Raises:
        UserError: If it did not.
    """
    if not store.has_job(wanted.spec(network).job):
        raise UserError(
            f"work directory {store.root} has a tree that did not begin with "
            "the model and the classes of --import_model; import them into "
            "another --workdir"
        )


def write(
    store: Store, classifier: Classifier, network: ModelConfig, label: str
) -> JobResult:
    """Writes the result of the job, unless it is there.

    Args:
        store: The work directory, which holds the trunk.
        classifier: What is imported.
        network: Names the trunk.
        label: What the job is for.

    Returns:
        The result.

    Raises:
        UserError: If the result is there and damaged.
    """
    spec = classifier.spec(network)
    if store.has_job(spec.job):
        return results.read(store, spec.job)
    result = JobResult(
        spec=spec,
        label=label,
        measured=None,
        images_swept=0,
        epochs=0,
        seconds=0.0,
        versions=results.versions(),
    )
    head = classifier.head
    with store.new_job(spec.job) as folder:
        solutions.write_head(folder, head.kernel, head.bias)
        results.write(folder, result, [])
    return result


def _digest(head: Head) -> str:
    digest = hashlib.sha256()
    for array in (head.kernel, head.bias):
        array = np.ascontiguousarray(array, "<f4")
        digest.update(f"{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:_DIGITS]
