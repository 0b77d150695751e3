"""What the probes of a job saw, as its folder holds it.

models/<job id>/
  probes.json     a `Record`; only of a job that was looked at
"""

from __future__ import annotations

import msgspec
from etils import epath

from hierkeras.training import results
from hierkeras.tree import sums
from hierkeras.tree.store import Store

PROBES_FILE = "probes.json"


class Look(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was seen at one time of a training.

    Lists have a value for each of the record's layers, or pairs.

    Args:
        step: Batches that had been learnt.
        loss: On the batch of training images, in nats.
        gradients: See `hierkeras.training.probes.flow.Norms`, as for
        activations, and
        derivatives.
        error: Share of validation images that are not named right, in [0, 1];
            every class counts as much (Figure 6).
        old_error: Of those of old classes; None where there are none.
        new_error: Of those of new ones (Figure 10).
        distances: Between the mean features, in the last hidden layer, of a
            new class and of the old one (Figure 13).
        products: The inner product of these means: what one step on the new
            class takes from the old one's logit, by learning rate and error
            (equation 4).
    """

    step: int
    loss: float
    gradients: tuple[float | None, ...]
    activations: tuple[float, ...]
    derivatives: tuple[float, ...]
    error: float
    old_error: float | None
    new_error: float | None
    distances: tuple[float, ...] = ()
    products: tuple[float, ...] = ()


class Confusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a new class is taken for before it has been learnt (Figure 12).

    Args:
        new: The class.
        old: The old class that most of its images are taken for, of the old
            classes alone.
        share: The part of its images that are, in (0, 1].
        images: How many validation images were looked at.
        keys: Of the first few that are taken for it.
    """

    new: str
    old: str
    share: float
    images: int
    keys: tuple[str, ...] = ()


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the probes of a job saw.

    Args:
        interval: Batches between two looks; the first batches have more.
        layers: Names of the layers with a kernel, the lowest first.
        training_images: In the batch that the norms are of.
        old_images: Validation images of old classes that errors are of, and
        new_images: of new ones; of a job from scratch all are new.
        confusions: Of the new classes, the clearest first.
        pairs: How many of them, from the first, distances are measured of.
        looks: In order. A training that was interrupted begins anew.
    """

    interval: int
    layers: tuple[str, ...]
    training_images: int
    old_images: int
    new_images: int
    confusions: tuple[Confusion, ...]
    pairs: int
    looks: tuple[Look, ...]


def write(folder: epath.Path, record: Record) -> None:
    """Writes a record into a job's folder that is not yet visible."""
    raw = msgspec.json.encode(record, order="deterministic")
    (folder / PROBES_FILE).write_bytes(raw + b"\n")


def read(store: Store, job: str) -> Record | None:
    """Reads what the probes of a finished job saw.

    Returns:
        The record; None if nobody looked.

    Raises:
        UserError: If it is damaged.
    """
    folder = store.job_folder(job)
    if not (folder / PROBES_FILE).exists():
        return None
    with results.naming_damage(store, job):
        raw = sums.read(folder, PROBES_FILE)
        return msgspec.json.decode(raw, type=Record)
