"""What jobs run in: the work directory, the images, and the machine."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hierkeras._errors import UserError
from hierkeras.data import registry
from hierkeras.data.names import is_utf8
from hierkeras.data.source import Cache, DataConfig, Source
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
        runtime: How jobs run.
    """

    workdir: str
    data: DataConfig
    image_size: int
    cache: Cache = "auto"
    unreadable: tuple[str, ...] = ()
    runtime: Runtime = dataclasses.field(default_factory=Runtime)


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
        self._exclude(config.unreadable)

    @functools.cached_property
    def images(self) -> Images:
        """The images, decoded once for every job of this process."""
        from hierkeras.data.images import Images  # needs TensorFlow

        return Images(
            self.source, self.config.image_size, cache=self.config.cache
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
        self._exclude(keys)

    def _exclude(self, keys: Sequence[str]) -> None:
        if keys:
            found = np.flatnonzero(
                np.isin(self.source.catalogue.keys, list(keys))
            )
            self.catalogue = self.source.catalogue.excluding(found)
