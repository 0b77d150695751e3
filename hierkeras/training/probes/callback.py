"""Probes as a Keras callback, with functions of their own.

The training's step stays as Keras makes it: a look is between two steps, on a
few images that stay the same, and leaves no trace in the network, the
optimizer or a random state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from hierkeras.data.features import Features
from hierkeras.data.images import Images
from hierkeras.data.names import is_utf8
from hierkeras.training import tensorboard
from hierkeras.training.losses import Objective
from hierkeras.training.probes.arrivals import Columns
from hierkeras.training.probes.flow import Flow
from hierkeras.training.probes.record import Confusion, Look, Record
from hierkeras.training.probes.seen import Seen, Taken

# In the batch that norms are of: enough to compare trainings by.
_TRAINING_IMAGES = 64


@dataclasses.dataclass(frozen=True)
class Watched:
    """What a training that is looked at learns, and is judged by.

    Args:
        images: The images, or their features.
        training: Indices, int64 of shape (n,), and labels, int32 of shape
            (n,), of the images to train on.
        validation: The same of those to be judged by.
        classes: The classes, in the order of the labels.
        columns: Which of them are old.
        keys: Key of each example of the catalogue.
    """

    images: Images | Features
    training: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    classes: Sequence[str]
    columns: Columns
    keys: np.ndarray


class Probes(keras.callbacks.Callback):
    """Looks inside a network while it is trained.

    Args:
        objective: What the training minimises.
        watched: The images to look at.
        interval: Batches between two looks, at least 1. Before the first is
            over there are more, each after twice as many batches.
        batch_size: Images in a step of the training.
        seed: Of the choice of training images.
        writer: Where TensorBoard's scalars go, over batches.
    """

    def __init__(
        self,
        objective: Objective,
        watched: Watched,
        interval: int,
        batch_size: int,
        seed: int,
        writer: tensorboard.RunWriter | None = None,
    ) -> None:
        super().__init__()
        self._objective = objective
        self._watched = watched
        self._interval = interval
        self._num_images = min(batch_size, _TRAINING_IMAGES)
        self._seed = seed
        self._writer = writer
        self._looks: list[Look] = []
        self._probes: tuple[Flow, Seen] | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Finds what new classes are taken for; the network is as it begins."""
        if self._probes is None:
            self._probes = self._begin()
        self._step = int(self.model.optimizer.iterations)

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        """Looks, if it is time."""
        if is_due(self._step, self._interval):
            self._look()
        self._step += 1

    def on_train_end(self, logs: dict | None = None) -> None:
        """Looks at what came of it."""
        self._look()

    def record(self) -> Record:
        """What was seen."""
        assert self._probes is not None  # the training has begun
        flow, seen = self._probes
        return Record(
            self._interval,
            flow.layers,
            self._num_images,
            seen.old_images,
            seen.new_images,
            tuple(map(self._confusion, seen.taken)),
            len(seen.pairs),
            tuple(self._looks),
        )

    def _begin(self) -> tuple[Flow, Seen]:
        watched = self._watched
        # Some of them may not be readable any more; those are left out here.
        batch = next(
            iter(
                watched.images.training_batches(
                    *watched.training,
                    batch_size=self._num_images,
                    seed=self._seed,
                    augment="none",
                )
            )
        )
        return (
            Flow(self._objective, *batch),
            Seen(
                self._objective.student,
                watched.images,
                *watched.validation,
                watched.columns,
            ),
        )

    def _look(self) -> None:
        assert self._probes is not None
        if self._looks and self._looks[-1].step == self._step:
            return
        flow, seen = self._probes
        look = Look(
            step=self._step,
            **dataclasses.asdict(flow()),
            **dataclasses.asdict(seen()),
        )
        self._looks.append(look)
        if self._writer is not None:
            with self._writer.as_default(step=look.step):
                tensorboard.write_scalars(self._scalars(look), look.step)

    def _scalars(self, look: Look) -> dict[str, float]:
        """What TensorBoard shows of a look, by tag."""
        assert self._probes is not None
        flow, seen = self._probes
        names = [self._confusion(taken) for taken in seen.pairs]
        values = {
            "look/loss": look.loss,
            "look/error": look.error,
            "look/error_of_old_classes": look.old_error,
            "look/error_of_new_classes": look.new_error,
        }
        for tag, layers in (
            ("gradient_l2", look.gradients),
            ("activation_l1", look.activations),
            ("derivative_l1", look.derivatives),
        ):
            for layer, value in zip(flow.layers, layers, strict=True):
                values[f"{tag}/{layer}"] = value
        for pair, distance in zip(names, look.distances, strict=True):
            values[f"distance/{pair.new} from {pair.old}"] = distance
        return {tag: v for tag, v in values.items() if v is not None}

    def _confusion(self, taken: Taken) -> Confusion:
        keys = [str(self._watched.keys[index]) for index in taken.shown]
        return Confusion(
            self._watched.classes[taken.new],
            self._watched.classes[taken.old],
            taken.share,
            taken.images,
            tuple(filter(is_utf8, keys)),
        )


def is_due(step: int, interval: int) -> bool:
    """Whether to look after so many batches.

    At 0, 4, 8, 16, … batches until the interval, and then at its multiples:
    most changes in the first batches (the paper's Figures 6 and 7).

    Args:
        step: Batches that have been learnt.
        interval: Batches between two looks.
    """
    is_early = 4 <= step < interval and step & (step - 1) == 0
    return is_early or step % interval == 0
