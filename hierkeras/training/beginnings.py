"""How the models of a job begin, whatever it starts from."""

from __future__ import annotations

import dataclasses
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from hierkeras._errors import UserError
from hierkeras.models import grafting, surgery
from hierkeras.recipe.growth import NewColumns
from hierkeras.training import losses, models, results
from hierkeras.training.context import Context
from hierkeras.training.spec import (
    Clone,
    CutOut,
    Flat,
    Imported,
    JobSpec,
    Preview,
    Refined,
    Scratch,
    Solved,
    Together,
    leaf_layers,
)
from hierkeras.tree.names import JobId

# Enough for a stable mean feature, few enough to cost little.
_IMPRINT_IMAGES_PER_CLASS = 50


@dataclasses.dataclass(frozen=True)
class Begun:
    """Models before they are trained, and what is to be trained of them.

    Args:
        model: The job's own.
        trains: `all` of it, its softmax layer (`head`), or `none`.
        leaf_layers: With `all`, how many layers, counted from the softmax
            layer down; 0: every one.
        teaching: A model whose opinion is kept to; None: there is none.
        leaves: Leaves that are trained together with it, and
        own_layers: how many layers each has of its own; 0: all.
        together: The network of it and them; None: there are none.
    """

    model: keras.Model
    trains: Literal["all", "head", "none"] = "all"
    leaf_layers: int = 0
    teaching: losses.Teaching | None = None
    leaves: tuple[keras.Model, ...] = ()
    own_layers: int = 0
    together: losses.Together | None = None

    def leaf_weights(self) -> list[list[np.ndarray]]:
        """Of each leaf the weights above the cut."""
        return [
            surgery.top_weights(leaf, self.own_layers) for leaf in self.leaves
        ]


def begin(
    spec: JobSpec, context: Context, strategy: tf.distribute.Strategy
) -> Begun:
    """Makes the models of a job.

    Args:
        spec: The job.
        context: The jobs that it starts from, and the images.
        strategy: Under which the models are made.

    Raises:
        UserError: If a job that it starts from is damaged.
    """
    maker = _Maker(spec, context, strategy)
    match spec.start:
        case Scratch():
            return Begun(maker.fresh(spec.classes))
        case Flat(parent, new_columns, shrink, perturb, distillation):
            old = maker.parent(parent)
            model = maker.taken_over(old, spec.classes, new_columns)
            maker.shrink(model, shrink, perturb)
            teaching = None
            if distillation:
                teaching = _teaching(old, spec.classes, distillation)
            return Begun(model.network, teaching=teaching)
        case Clone(parent, new_columns, shrink, perturb, layers):
            model = maker.taken_over(
                maker.parent(parent), spec.classes, new_columns
            )
            maker.shrink(model, shrink, perturb, layers)
            return Begun(model.network, leaf_layers=layers)
        case Preview(parent):
            return Begun(maker.covering(parent), trains="none")
        case Refined(parent):
            return Begun(maker.covering(parent), trains="head")
        case Together():
            return _together(spec.start, spec.classes, maker)
        case CutOut(branch, leaf):
            return Begun(_cut_out(branch, leaf, spec, maker), trains="none")
        case Solved() | Imported():
            raise ValueError(
                "A head that is solved, or imported, begins as nothing."
            )


@dataclasses.dataclass(frozen=True)
class _Parent:
    network: keras.Model
    classes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _TakenOver:
    """A network with another's weights.

    Args:
        network: The network.
        drawn: The weights that it was built with, of each variable.
    """

    network: keras.Model
    drawn: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Maker:
    spec: JobSpec
    context: Context
    strategy: tf.distribute.Strategy

    def parent(self, job: JobId) -> _Parent:
        store = self.context.store
        classes = results.read(store, job).spec.classes
        return _Parent(models.load(self.context, job), classes)

    def fresh(self, classes: tuple[str, ...]) -> keras.Model:
        with self.strategy.scope():
            return models.build(self.context, self.spec.network, len(classes))

    def taken_over(
        self,
        parent: _Parent,
        classes: tuple[str, ...],
        new_columns: NewColumns = "random",
    ) -> _TakenOver:
        network = self.fresh(classes)
        drawn = [np.asarray(weight) for weight in network.weights]
        new = surgery.transfer_weights(
            parent.network, network, parent.classes, classes
        )
        # A scale needs two old columns; with fewer, random is all there is.
        if new_columns == "imprinted" and new and len(classes) - len(new) >= 2:
            self._imprint(network, classes, new)
        return _TakenOver(network, drawn)

    def covering(self, parent: JobId) -> keras.Model:
        """The parent with imprinted columns for the classes that it lacks."""
        return self.taken_over(
            self.parent(parent), self.spec.classes, "imprinted"
        ).network

    def shrink(
        self,
        model: _TakenOver,
        shrink: float,
        perturb: float,
        leaf_layers: int = 0,
    ) -> None:
        """Shrinks and perturbs what is to be trained."""
        if shrink == 1.0 and not perturb:
            return
        surgery.set_trainable(model.network, "all", leaf_layers)
        surgery.shrink_and_perturb(model.network, model.drawn, shrink, perturb)

    def _imprint(
        self,
        network: keras.Model,
        classes: tuple[str, ...],
        new: tuple[str, ...],
    ) -> None:
        indices, labels = self.context.samples("train", classes)
        few = np.sort(
            np.concatenate(
                [
                    np.flatnonzero(labels == k)[:_IMPRINT_IMAGES_PER_CLASS]
                    for k in range(len(classes))
                ]
            )
        )
        features = surgery.feature_extractor(network).predict(
            self.context.images.evaluation_batches(
                indices[few], self.spec.training.batch_size
            ),
            verbose=0,
        )
        columns = [classes.index(name) for name in new]
        surgery.imprint(network, columns, features, labels[few])


def _teaching(
    teacher: _Parent, classes: tuple[str, ...], weight: float
) -> losses.Teaching:
    its_column = {name: column for column, name in enumerate(teacher.classes)}
    shared = [
        (column, its_column[name])
        for column, name in enumerate(classes)
        if name in its_column
    ]
    return losses.Teaching(teacher.network, shared, weight)


def _together(
    start: Together, classes: tuple[str, ...], maker: _Maker
) -> Begun:
    parent = maker.parent(start.parent)

    def taken_over(own: tuple[str, ...]) -> keras.Model:
        model = maker.taken_over(parent, own)
        maker.shrink(model, start.shrink, start.perturb)
        return model.network

    branch = taken_over(classes)
    leaves = tuple(map(taken_over, start.superclasses))
    column = {name: number for number, name in enumerate(classes)}
    together = losses.Together(
        grafting.with_leaves(branch, leaves, start.leaf_layers),
        [[column[name] for name in names] for names in start.superclasses],
    )
    return Begun(
        branch,
        leaves=leaves,
        own_layers=start.leaf_layers,
        together=together,
    )


def _cut_out(
    branch: JobId, leaf: int, spec: JobSpec, maker: _Maker
) -> keras.Model:
    """A copy of a branch, with what a leaf that learnt with it has."""
    store = maker.context.store
    model = maker.taken_over(maker.parent(branch), spec.classes).network
    start = results.read(store, branch).spec.start
    own = results.read_leaf(store, branch, leaf)
    try:
        surgery.set_top_weights(model, leaf_layers(start), own)
    except ValueError as error:
        raise UserError(
            f"job {branch} in {store.models} does not fit its leaf {leaf} "
            f"({error}); {store.advice}"
        ) from None
    return model
