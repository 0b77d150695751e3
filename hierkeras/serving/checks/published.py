"""Checks of exported versions; needs neither TensorFlow nor Keras."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
from etils import epath

from hierkeras.serving.checks import manifest, publication
from hierkeras.tree import nodes, sums
from hierkeras.tree.finding import Finding, command
from hierkeras.tree.generation import Generation
from hierkeras.tree.names import printable
from hierkeras.tree.store import Store

_MANIFEST = f"{manifest.EXTRA}/{manifest.MANIFEST}"
_SUMS = f"{manifest.EXTRA}/{sums.SUMS_FILE}"
_FILES = ("saved_model.pb", "variables/variables.index", _MANIFEST)


def check_versions(
    store: Store,
    generations: Mapping[int, Generation],
    latest: int | None,
    exportable: Collection[int],
) -> list[Finding]:
    """Checks that each version is complete, and is its generation's.

    Args:
        store: The work directory.
        generations: Those that can be read, by number.
        latest: The number that `LATEST` holds.
        exportable: The generations that can be exported.
    """
    found: list[Finding] = []
    versions = publication.versions(store.serving)
    for version in versions:
        folder = store.serving / str(version)
        generation = generations.get(version)
        try:
            why = _damage(folder, generation)
        except FileNotFoundError:
            continue  # It was removed just now.
        if why:
            found.append(_damaged(store, version, why, version in exportable))
        else:
            found += _remarks(folder, generation)
    return [
        *found,
        *_rejections(store),
        *_compare_with_latest(store, versions, latest, exportable),
    ]


def _damage(folder: epath.Path, generation: Generation | None) -> str:
    """What is wrong with a version; empty if nothing."""
    lacks = [name for name in _FILES if not (folder / name).exists()]
    if lacks:
        return f"it lacks {', '.join(lacks)}"
    if problems := sums.problems(folder, folder / _SUMS, _FILES):
        return "; ".join(problems)
    if generation is None:
        return ""
    try:
        raw = (folder / _MANIFEST).read_bytes()
        content = msgspec.json.decode(raw, type=dict[str, Any])
        tree = msgspec.convert(content["tree"], type=nodes.Tree)
        number = content["generation"]
    except (
        OSError,
        ValueError,
        KeyError,
        RecursionError,
        msgspec.DecodeError,
    ) as error:
        return f"{_MANIFEST} cannot be read ({error})"
    if (number, tree) != (generation.number, generation.tree):
        return (
            f"{_MANIFEST} is that of another tree than generation "
            f"{generation.number}"
        )
    return ""


def _damaged(
    store: Store, version: int, why: str, is_exportable: bool
) -> Finding:
    folder = store.serving / str(version)
    advice, commands = "remove it", [command("rm", "-r", folder)]
    if is_exportable:
        advice += (
            ", and export it again, with the flags of before if there were any"
        )
        # It was let through before.
        commands.append(
            f"python -m hierkeras.export --workdir={command(store.root)} "
            f"--generation={version} --force"
        )
    else:
        advice += "; the increment exports the next generation that it makes"
    return Finding(
        "damage",
        os.fspath(folder),
        f"version {version} is damaged: {why}",
        advice,
        tuple(commands),
    )


def _remarks(
    folder: epath.Path, generation: Generation | None
) -> Iterator[Finding]:
    if names := sums.unlisted(folder, folder / _SUMS):
        yield Finding(
            "information",
            os.fspath(folder),
            f"{_SUMS} does not name {', '.join(names)}",
            "nothing has to be done, if somebody put it there on purpose",
        )
    if generation is None:
        yield Finding(
            "information",
            os.fspath(folder),
            "its generation cannot be read: nothing is compared with it",
            "nothing has to be done: an export needs nothing else to answer",
        )


def _rejections(store: Store) -> Iterator[Finding]:
    for path in publication.rejections(store.serving):
        reason = path.read_bytes().decode(errors="replace")
        yield Finding(
            "information",
            os.fspath(path),
            f"version {path.name.partition('.')[0]} was not published: "
            f"{printable(' '.join(reason.split()))}",
            "an export that passes the checks removes this file",
        )


def _compare_with_latest(
    store: Store,
    versions: list[int],
    latest: int | None,
    exportable: Collection[int],
) -> Iterator[Finding]:
    if latest is None:
        return
    if versions and versions[-1] > latest:
        yield Finding(
            "information",
            os.fspath(store.serving / str(versions[-1])),
            f"servers answer with version {versions[-1]}, the highest; LATEST "
            f"points at generation {latest}",
            "if servers are to go back, too, remove the versions above "
            f"{latest}",
        )
    elif latest not in versions and latest in exportable:
        yield Finding(
            "information",
            os.fspath(store.serving),
            f"generation {latest} is not exported",
            "to serve it, python -m hierkeras.export "
            f"--workdir={command(store.root)}",
        )
