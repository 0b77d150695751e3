"""What jobs run in: the work directory, the images, and the machine."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hierkeras._errors import UserError
from hierkeras.data import registry
from hierkeras.data.names import is_utf8
from hierkeras.data.source import Cache, DataConfig, Source
from hierkeras.tree.generation import Step
from hierkeras.tree.store import Store

if TYPE_CHECKING:
    from hierkeras.data.images import Images


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How a job runs on this machine; changes a result's last digits only.

    Args:
        devices: Logical devices to train on; empty: every GPU, or the CPU.
        jit_compile: Whether Keras compiles the step with XLA; None: on GPUs
            only, since on CPUs it is slower.
        deterministic: Whether TensorFlow may use only deterministic ops.
        progress: `bar`, `lines` (one an epoch) or `none`, on stderr.
    """

    devices: tuple[str, ...] = ()
    jit_compile: bool | None = None
    deterministic: bool = False
    progress: str = "lines"


@dataclasses.dataclass(frozen=True)
class ContextConfig:
    """How to open a `Context`, also in another process.

    Args:
        workdir: The work directory.
        data: The data set.
        image_size: Height and width of the images in pixels.
        cache: `auto`, `memory` or `none`; see `hierkeras.data.images`.
        unreadable: Keys of images to leave out.
        exemplars: Class to the keys of its exemplars; the others of its
            training images are left out. No class: all its images are used.
        runtime: How jobs run.
        memory_share: Part of the free memory, in (0, 1], that is this
            process's, where others run beside it.
    """

    workdir: str
    data: DataConfig
    image_size: int
    cache: Cache = "auto"
    unreadable: tuple[str, ...] = ()
    exemplars: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )
    runtime: Runtime = dataclasses.field(default_factory=Runtime)
    memory_share: float = 1.0


class Context:
    """The opened work directory and data set that jobs run in.

    Args:
        config: How to open it.
        source: The data set where the caller has it open already.
    """

    def __init__(
        self, config: ContextConfig, source: Source | None = None
    ) -> None:
        self.config = config
        self.store = Store(config.workdir)
        self.source = source or registry.open_source(config.data)
        self.catalogue = self.source.catalogue
        self._exclude()

    @functools.cached_property
    def images(self) -> Images:
        """The images, decoded once for every job of this process."""
        from hierkeras.data.images import Images  # needs TensorFlow

        return Images(
            self.source,
            self.config.image_size,
            cache=self.config.cache,
            memory_share=self.config.memory_share,
        )

    def leave_out(self, keys: Sequence[str]) -> None:
        """Excludes unreadable images from every job from now on.

        Raises:
            UserError: If no generation could record the name of one.
        """
        for key in keys:
            if not is_utf8(key):
                raise UserError(
                    f"image {key!a} cannot be read, and its name is no UTF-8, "
                    "so that nothing can record it; remove or rename it"
                )
        keys = tuple(sorted({*self.config.unreadable, *keys}))
        self.config = dataclasses.replace(self.config, unreadable=keys)
        self._exclude()

    def keep_only(self, exemplars: Mapping[str, tuple[str, ...]]) -> None:
        """Lets every job from now on train on exemplars of some classes.

        Args:
            exemplars: Class to the keys of its exemplars; takes the place of
                what was kept before.
        """
        self.config = dataclasses.replace(self.config, exemplars=exemplars)
        self._exclude()

    def leave_out_as(self, step: Step) -> None:
        """Excludes the images that a step left out, or leaves out after it.

        Args:
            step: What led to the generation that is gone on from.
        """
        self.leave_out(step.unreadable_images)
        self.keep_only(step.exemplars)

    def _exclude(self) -> None:
        catalogue = self.source.catalogue
        unreadable, exemplars = self.config.unreadable, self.config.exemplars
        if unreadable:
            found = np.flatnonzero(np.isin(catalogue.keys, list(unreadable)))
            catalogue = catalogue.excluding(found)
        # A class may be gone by now: others say so.
        present = exemplars.keys() & set(catalogue.class_names)
        if present:
            kept = [key for name in present for key in exemplars[name]]
            rows = catalogue.indices("train", sorted(present))
            forgotten = ~np.isin(catalogue.keys[rows], kept)
            catalogue = catalogue.excluding(rows[forgotten])
        self.catalogue = catalogue
