"""Softmax outputs of finished models, each computed once."""

from __future__ import annotations

import collections
import functools

import keras
import numpy as np
from scipy import special

from hierkeras.models import surgery
from hierkeras.training import models, results, solutions, solving
from hierkeras.training.context import Context
from hierkeras.training.spec import Solved
from hierkeras.tree import nodes


class Predictor:
    """Runs the models of finished jobs; remembers what they said.

    Args:
        context: The work directory and the images.
        batch_size: Images in a batch.
        takes_features: Whether a solved head is given the features that the
            work directory keeps, which are rounded to float16.
    """

    def __init__(
        self,
        context: Context,
        batch_size: int = 256,
        takes_features: bool = True,
    ) -> None:
        self._context = context
        self._batch_size = batch_size
        self._takes_features = takes_features
        self._rows: dict[str, np.ndarray] = {}
        self._values: dict[str, np.ndarray] = {}
        self._model = functools.cache(self._load)
        self._below_logits = functools.cache(
            lambda job: surgery.feature_extractor(self._model(job))
        )

    def probabilities(self, job: str, indices: np.ndarray) -> np.ndarray:
        """Softmax outputs of a job's model.

        Args:
            job: The job id.
            indices: int64 array of shape (n,), examples of the catalogue.

        Returns:
            float32 array of shape (n, number of the job's classes).
        """
        size = len(self._context.catalogue.keys)
        rows = self._rows.setdefault(job, np.full(size, -1, np.int64))
        missing = np.unique(indices[rows[indices] < 0])
        if missing.size or job not in self._values:
            fresh = self._run(job, missing)
            known = self._values.get(job, fresh[:0])
            rows[missing] = len(known) + np.arange(len(missing))
            self._values[job] = np.concatenate([known, fresh])
        return self._values[job][rows[indices]]

    def node_probabilities(
        self, node: nodes.Node, rows: np.ndarray
    ) -> np.ndarray:
        """As `probabilities`, of a node; what `tree.routing.route` wants."""
        return self.probabilities(node.job, rows)

    def features(self, job: str, indices: np.ndarray) -> np.ndarray:
        """What a job's model puts into its softmax layer; not remembered.

        Args:
            job: The job id.
            indices: int64 array of shape (n,), sorted: examples of the
                catalogue.

        Returns:
            float32 array of shape (n, f).
        """
        spec = results.read(self._context.store, job).spec
        if isinstance(spec.start, Solved):
            embedding = self._context.embedding(spec.network)
            return embedding.of(indices).astype(np.float32)
        batches = self._context.images.evaluation_batches(
            indices, self._batch_size
        )
        features = self._below_logits(job).predict(batches, verbose=0)
        return features.astype(np.float32)

    def running_networks(self) -> Predictor:
        """One with the same models, which runs every network as a whole."""
        other = Predictor(self._context, self._batch_size, takes_features=False)
        other._model = self._model
        return other

    def model(self, job: str) -> keras.Model:
        """The model of a job, loaded once."""
        return self._model(job)

    def forget_outputs(self) -> None:
        """Frees the remembered outputs, not the models."""
        self._rows.clear()
        self._values.clear()

    def _load(self, job: str) -> keras.Model:
        return models.load(self._context, job)

    def _run(self, job: str, indices: np.ndarray) -> np.ndarray:
        store = self._context.store
        spec = results.read(store, job).spec
        if not indices.size:
            return np.zeros((0, len(spec.classes)), np.float32)
        if isinstance(spec.start, Solved) and self._takes_features:
            head = solutions.read_head(store, job)
            logits = solving.logits(head, indices, spec, self._context)
        else:
            batches = self._context.images.evaluation_batches(
                indices, self._batch_size
            )
            logits = self._model(job).predict(batches, verbose=0)
        return special.softmax(logits.astype(np.float32), axis=1)


class CountingPredictor:
    """Runs nodes, and counts the images that each ran for.

    Args:
        predictor: Runs the models.

    Attributes:
        images: Node name to number of images.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.images: collections.Counter[str] = collections.Counter()

    def __call__(self, node: nodes.Node, rows: np.ndarray) -> np.ndarray:
        """As `Predictor.node_probabilities`."""
        self.images[node.name] += len(rows)
        return self._predictor.node_probabilities(node, rows)
