"""What jobs run in: the work directory, the images, and the machine."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from hierkeras._errors import UserError
from hierkeras.data import registry
from hierkeras.data.catalogue import Catalogue
from hierkeras.data.decoding.pixels import DEFAULT, Pixels
from hierkeras.data.names import is_utf8
from hierkeras.data.source import Cache, DataConfig, Source
from hierkeras.models.registry import ModelConfig
from hierkeras.tree.generation import Step
from hierkeras.tree.store import Store

if TYPE_CHECKING:
    import keras

    from hierkeras.data.images import Images
    from hierkeras.features.embedding import Embedding


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How a job runs on this machine; changes a result's last digits only.

    Args:
        devices: Logical devices to train on; empty: every GPU, or the CPU.
        jit_compile: Whether Keras compiles the step with XLA; None: on GPUs
            only, since on CPUs it is slower.
        deterministic: Whether TensorFlow may use only deterministic ops.
        progress: `bar`, `lines` (one an epoch) or `none`, on stderr.
        probes: Batches between two looks of the probes, which change nothing;
            0: none.
    """

    devices: tuple[str, ...] = ()
    jit_compile: bool | None = None
    deterministic: bool = False
    progress: str = "lines"
    probes: int = 0


@dataclasses.dataclass(frozen=True)
class ContextConfig:
    """How to open a `Context`, also in another process.

    Args:
        workdir: The work directory.
        data: The data set.
        image_size: Height and width of the images in pixels.
        pixels: How images become squares of that size.
        cache: `auto`, `memory` or `none`; see `hierkeras.data.images`.
        unreadable: Keys of images to leave out, and what they are: one that
            was mended since is another.
        exemplars: Class to the keys of its exemplars; the others of its
            training images are left out. No class: all its images are used.
        runtime: How jobs run.
        memory_share: Part of the free memory, in (0, 1], that is this
            process's, where others run beside it.
    """

    workdir: str
    data: DataConfig
    image_size: int
    pixels: Pixels = DEFAULT
    cache: Cache = "auto"
    unreadable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    exemplars: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )
    runtime: Runtime = dataclasses.field(default_factory=Runtime)
    memory_share: float = 1.0


class Context:
    """The opened work directory and data set that jobs run in; a value.

    Args:
        config: How to open it.
        source: The data set where the caller has it open already.
    """

    def __init__(
        self, config: ContextConfig, source: Source | None = None
    ) -> None:
        self.config = config
        self.store = Store(config.workdir)
        self.source = source or registry.open_source(
            config.data, self.store.contents()
        )
        self.catalogue = _remaining(self.source.catalogue, config)
        self._decoded = _Decoded(self.source, config)
        self._trunks = functools.cache(self._read_trunk)

    @property
    def images(self) -> Images:
        """The images, decoded once for every job of this process."""
        return self._decoded.images

    def trunk(self, network: ModelConfig) -> keras.Model:
        """The trunk of a network, frozen; loaded once.

        Raises:
            UserError: If it is missing or damaged.
        """
        return self._trunks(network.trunk)

    def embedding(self, network: ModelConfig) -> Embedding:
        """What a network's trunk says of the images."""
        return self._decoded.embedding(
            self.store.features(network.trunk),
            functools.partial(self.trunk, network),
        )

    def samples(
        self, split: str, classes: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The images of a split, and their labels among some classes.

        Args:
            split: `train`, `validation` or `test`.
            classes: The classes, in the order of the labels.

        Returns:
            int64 array of shape (n,), examples of the catalogue; and int32
            array of shape (n,).
        """
        indices = self.catalogue.indices(split, classes)
        if self.source.is_by_content:
            # A job's spec knows no names: to rename a file changes no bit.
            indices = self.catalogue.by_content(indices)
        return indices, self.catalogue.labels_among(indices, classes)

    def without(self, unreadable: Mapping[str, str]) -> Context:
        """The same, less some images that cannot be read.

        Args:
            unreadable: Keys of the images, and what they are, beside those
                that are left out already.

        Raises:
            UserError: If no generation could record the name of one.
        """
        for key in unreadable:
            if not is_utf8(key):
                raise UserError(
                    f"image {key!a} cannot be read, and its name is no UTF-8, "
                    "so that nothing can record it; remove or rename it"
                )
        return self._with(unreadable={**self.config.unreadable, **unreadable})

    def keeping(self, exemplars: Mapping[str, tuple[str, ...]]) -> Context:
        """The same, of which jobs train on exemplars of some classes.

        Args:
            exemplars: Class to the keys of its exemplars; takes the place of
                what was kept before.
        """
        return self._with(exemplars=exemplars)

    def left_by(self, step: Step | None) -> Context:
        """The same, less what a step left out, or leaves out after it.

        Args:
            step: What led to the generation that is gone on from; None: there
                is none.
        """
        if step is None:
            return self
        return self.without(step.unreadable_images).keeping(step.exemplars)

    def _read_trunk(self, trunk: str) -> keras.Model:
        from hierkeras.models import trunks  # needs TensorFlow

        return trunks.read(self.store.trunk(trunk), trunk)

    def _with(self, **changes: Any) -> Context:
        config = dataclasses.replace(self.config, **changes)
        if config == self.config:
            return self
        other = Context(config, self.source)
        other._decoded = self._decoded
        other._trunks = self._trunks
        return other


class _Decoded:
    """The images of a source, which contexts that differ little share."""

    def __init__(self, source: Source, config: ContextConfig) -> None:
        self._source = source
        self._config = config
        self._embeddings: dict[epath.Path, Embedding] = {}

    def embedding(
        self, folder: epath.Path, trunk: Callable[[], keras.Model]
    ) -> Embedding:
        """What a trunk says of them, also where it was looked up before."""
        from hierkeras.features.embedding import Embedding  # needs TensorFlow

        if folder not in self._embeddings:
            self._embeddings[folder] = Embedding(
                folder,
                trunk,
                self.images,
                progress=self._config.runtime.progress,
            )
        return self._embeddings[folder]

    @functools.cached_property
    def images(self) -> Images:
        from hierkeras.data.images import Images  # needs TensorFlow

        return Images(
            self._source,
            self._config.image_size,
            self._config.pixels,
            cache=self._config.cache,
            memory_share=self._config.memory_share,
        )


def _remaining(catalogue: Catalogue, config: ContextConfig) -> Catalogue:
    """A catalogue less what is left out."""
    if config.unreadable:
        named = np.isin(catalogue.keys, list(config.unreadable))
        bad = [
            row
            for row in np.flatnonzero(named).tolist()
            if config.unreadable[catalogue.keys[row]] == catalogue.digest(row)
        ]
        catalogue = catalogue.lacking(np.array(bad, np.int64))
    # A class may be gone by now: others say so.
    present = config.exemplars.keys() & set(catalogue.class_names)
    if present:
        kept = [key for name in present for key in config.exemplars[name]]
        rows = catalogue.indices("train", sorted(present))
        forgotten = ~np.isin(catalogue.keys[rows], kept)
        catalogue = catalogue.excluding(rows[forgotten])
    return catalogue
