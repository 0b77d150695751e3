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
    before, path = _divided(config.dataset)
    if not path:
        return config
    path = _absolute(path)
    return dataclasses.replace(
        config,
        dataset=before + path,
        from_workdir=_relative(path, workdir),
        label_names=config.label_names and _absolute(config.label_names),
    )


def found(config: DataConfig, workdir: str) -> DataConfig:
    """The same where it is now: it may have moved with the work directory.

    Args:
        config: As `absolute` gave it.
        workdir: The work directory as it is called now.
    """
    before, path = _divided(config.dataset)
    if not path or not config.from_workdir or os.path.exists(path):
        return config
    moved = _absolute(os.path.join(workdir, config.from_workdir))
    if not os.path.exists(moved):
        return config
    names = config.label_names
    if names and not os.path.exists(names):
        names = _absolute(os.path.join(moved, os.path.relpath(names, path)))
    return dataclasses.replace(
        config, dataset=before + moved, label_names=names
    )


def _divided(dataset: str) -> tuple[str, str]:
    """What is before the path of a data set, and the path if it has one."""
    kind, _, place = dataset.partition(":")
    if kind in _PATHS:
        return f"{kind}:", place
    name, at, folder = place.partition("@")
    return (f"{kind}:{name}@", folder) if kind == "tfds" and at else ("", "")


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _relative(path: str, workdir: str) -> str:
    """A path from a work directory; empty where that is no local folder."""
    return "" if "://" in workdir else os.path.relpath(path, workdir)
