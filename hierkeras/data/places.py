"""Where a data set is, told so that it is found from anywhere."""

from __future__ import annotations

import dataclasses
import os

from hierkeras.data.source import DataConfig

# Kinds whose place is a path; of `tfds` what follows an "@" is one.
_PATHS = ("folder", "csv", "npz")


def absolute(config: DataConfig, workdir: str) -> DataConfig:
    """The same data set, whatever the current directory will be.

    Args:
        config: The data set; paths are relative to the current directory.
        workdir: The work directory, which may move together with it.
    """
    kind, colon, place = config.dataset.partition(":")
    name, at, folder = (
        place.rpartition("@") if kind == "tfds" else ("", "", place)
    )
    if kind not in (*_PATHS, "tfds") or (kind == "tfds" and not at):
        return config
    path = _absolute(folder)
    return dataclasses.replace(
        config,
        dataset=f"{kind}{colon}{name}{at}{path}",
        from_workdir=_relative(path, workdir),
        label_names=config.label_names and _absolute(config.label_names),
    )


def found(config: DataConfig, workdir: str) -> DataConfig:
    """The same where it is now: it may have moved with the work directory.

    Args:
        config: As `absolute` gave it.
        workdir: The work directory as it is called now.
    """
    kind, _, path = config.dataset.partition(":")
    if kind not in _PATHS or not config.from_workdir or os.path.exists(path):
        return config
    moved = os.path.normpath(os.path.join(workdir, config.from_workdir))
    if not os.path.exists(moved):
        return config
    return dataclasses.replace(config, dataset=f"{kind}:{_absolute(moved)}")


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _relative(path: str, workdir: str) -> str:
    """A path from a work directory; empty where that is no local folder."""
    return "" if "://" in workdir else os.path.relpath(path, workdir)
