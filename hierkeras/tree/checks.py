"""Checks of LATEST, of the generations, and for what runs left behind."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Collection, Mapping

import msgspec
from etils import epath

from hierkeras.tree import atomic, generation, numbering, sums
from hierkeras.tree.finding import Finding, command
from hierkeras.tree.store import Store

_MISSING = "is missing"
_GO_ON = (
    "run the increment again, with the flags of before: it makes anew what "
    "came after and trains only jobs that are not there"
)


@dataclasses.dataclass(frozen=True)
class Generations:
    """The generations of a work directory, as far as they can be read.

    Args:
        readable: The generations by number.
        unreadable: Number to what is wrong with the file.
        latest: The number that `LATEST` holds; None if there is none.
        pointer: What is wrong with `LATEST`; empty if nothing.
        strange: Names of files that are called as generations and are none.
    """

    readable: Mapping[int, generation.Generation]
    unreadable: Mapping[int, str]
    latest: int | None
    pointer: str
    strange: tuple[str, ...] = ()

    def line(self, number: int) -> tuple[tuple[int, ...], int | None]:
        """The generations that led to one, it first.

        Returns:
            Those that can be read, and the first that cannot, if any.
        """
        found: list[int] = []
        following: int | None = number
        # A parent's number is lower, so this ends.
        while following is not None:
            if following not in self.readable:
                return tuple(found), following
            found.append(following)
            following = self.readable[following].parent
        return tuple(found), None

    @functools.cached_property
    def broken(self) -> Mapping[int, int]:
        """Number to the first one that cannot be read of those that led there.

        Of the readable ones only; without one that is whole to its beginning.
        """
        found: dict[int, int] = {}
        for number in sorted(self.readable):  # a parent's number is lower
            parent = self.readable[number].parent
            if parent in found:
                found[number] = found[parent]
            elif parent is not None and parent not in self.readable:
                found[number] = parent
        return found

    def complaint(self, number: int) -> str:
        """What is wrong with a generation that cannot be read."""
        return self.unreadable.get(number, _MISSING)

    def best(self, lacking: Collection[int]) -> int | None:
        """Where `LATEST` should point; None if no generation is whole.

        Where it does point, if that is whole. Then what led there comes
        before what somebody went back from.

        Args:
            lacking: Those that a job is missing or damaged of.
        """
        latest = self.latest or 0
        line = self.line(latest)[0] if latest else ()
        others = sorted(self.readable, key=lambda n: (n > latest, -n))
        whole = self.whole(lacking)
        return next((n for n in (*line, *others) if n in whole), None)

    def whole(self, lacking: Collection[int]) -> frozenset[int]:
        """Those that can be evaluated and grown from.

        Args:
            lacking: Those that a job is missing or damaged of.
        """
        return frozenset(
            number
            for number in self.readable
            if number not in lacking and number not in self.broken
        )


def read_generations(store: Store) -> Generations:
    """Reads all that can be read."""
    # First: meanwhile another may be published, and LATEST point at it.
    latest, pointer = _read_latest(store)
    numbers = store.numbers()
    readable, unreadable = {}, {}
    for number in numbers.generations:
        path = store.generations / numbering.file_name(number)
        try:
            readable[number] = _read(path, number)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            unreadable[number] = f"is damaged ({error})"
    return Generations(readable, unreadable, latest, pointer, numbers.strange)


def check_generations(
    store: Store, found: Generations, lacking: Mapping[int, str]
) -> list[Finding]:
    """Checks `LATEST`, and what it points at.

    Args:
        store: The work directory.
        found: Its generations.
        lacking: Number of each generation that a job is missing or damaged
            of, and a few words on that.
    """
    findings = _check_latest(store, found, lacking)
    for number, why in found.unreadable.items():
        path = store.generations / numbering.file_name(number)
        aside = path.with_suffix(".damaged")
        findings.append(
            Finding(
                "damage",
                os.fspath(path),
                f"generation {number} {why}",
                "restore it; or, when LATEST points at another, put it aside "
                "under a name that keeps its number taken",
                (command("mv", path, aside),),
            )
        )
    for name in found.strange:
        path = store.generations / name
        findings.append(
            Finding(
                "damage",
                os.fspath(path),
                "it is called as a generation, and is none: no step has got "
                "that far, or names a file so",
                "give it a name that is not of a generation; steps go on "
                "without it",
                (command("mv", path, path.with_name(f"{name}.strange")),),
            )
        )
    current = set() if found.latest is None else {*found.line(found.latest)[0]}
    for number in sorted(found.readable):
        broken = found.broken.get(number)
        if broken is not None and number not in current:
            findings.append(
                Finding(
                    "information",
                    os.fspath(store.generations / numbering.file_name(number)),
                    f"generation {number} cannot be evaluated: generation "
                    f"{broken}, from which it comes, {found.complaint(broken)}",
                    "nothing has to be done: LATEST does not lead here",
                )
            )
    return findings


def check_debris(store: Store, holder: str) -> list[Finding]:
    """Looks for what killed writers left.

    Args:
        store: The work directory.
        holder: The process that holds it; empty if there is none.
    """
    if holder:
        return []  # It may be what that process is about to finish.
    debris = [
        path
        for folder in store.written_folders()
        if folder.exists()
        for path in sorted(folder.iterdir())
        if path.name.startswith(atomic.TEMPORARY_PREFIX)
    ]
    return [
        Finding(
            "information",
            os.fspath(path),
            f"a process that was killed left it ({sums.size(path) / 1e6:.1f} "
            "MB)",
            "the next increment removes it",
        )
        for path in debris
    ]


def holder(store: Store) -> str:
    """The process that holds a work directory; empty if there is none."""
    name, lock = store.root / "LOCK.holder", store.root / "LOCK"
    try:
        text = name.read_text()
        return text if _is_held(os.fspath(lock)) else ""
    except (ImportError, OSError, UnicodeDecodeError):
        return ""


def check_lock(store: Store, held_by: str) -> list[Finding]:
    """Tells of a process that holds the work directory, or died in it."""
    name = store.root / "LOCK.holder"
    if held_by:
        return [
            Finding(
                "information",
                os.fspath(store.root / "LOCK"),
                f"{held_by} is at work here",
                "change nothing before it has ended",
            )
        ]
    if not name.exists():
        return []
    text = name.read_bytes().decode("ascii", "replace")[:100]
    return [
        Finding(
            "information",
            os.fspath(name),
            f"{text!r} was killed while it was at work here",
            "run its command again: it goes on, and what is finished is kept",
        )
    ]


def _read(path: epath.Path, number: int) -> generation.Generation:
    raw = path.read_bytes()
    found = generation.from_json(raw)
    generation.check(found)
    if found.number != number:
        raise ValueError(f"it says that it is generation {found.number}")
    # Other spellings of a number or a letter have the same check sum.
    if generation.to_json(found) != raw:
        raise ValueError("it is not what was written")
    return found


def _read_latest(store: Store) -> tuple[int | None, str]:
    try:
        number = store.pointer()
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
    except ValueError as error:
        return None, f"is damaged: {error}"
    return number, _MISSING if number is None else ""


def _check_latest(
    store: Store, found: Generations, lacking: Mapping[int, str]
) -> list[Finding]:
    path = os.fspath(store.root / "LATEST")
    numbers = [*found.readable, *found.unreadable]
    is_missing = found.pointer == _MISSING
    best = found.best(lacking)
    if best is not None and found.latest == best:
        newer = sorted(number for number in numbers if number > best)
        return [_newer(store, number, best) for number in newer]
    if best is None and is_missing:
        if not numbers:
            return []  # The first step is not done.
        return [
            Finding(
                "information",
                path,
                "it is missing, and no generation is whole",
                _GO_ON,
            )
        ]
    what = _complaint(found, lacking)
    if best is None:
        return [
            Finding(
                "damage",
                path,
                what,
                "restore what is damaged; or, as no generation is whole, "
                f"remove LATEST and {_GO_ON}",
                (command("rm", path),),
            )
        ]
    advice = f"point it at generation {best}, the newest that is whole"
    if best != max(numbers):
        advice += f", and {_GO_ON}"
    write = f"echo {best:06d} > {command(path)}"
    return [Finding("damage", path, what, advice, (write,))]


def _newer(store: Store, number: int, latest: int) -> Finding:
    return Finding(
        "information",
        os.fspath(store.generations / numbering.file_name(number)),
        f"generation {number} is newer than {latest}, at which LATEST points: "
        "somebody went back, or a step was cut off",
        "nothing has to be done: the next step goes on from generation "
        f"{latest}",
    )


def _complaint(found: Generations, lacking: Mapping[int, str]) -> str:
    if found.latest is None:
        return f"it {found.pointer}"
    points = f"it points at generation {found.latest}"
    broken = found.line(found.latest)[1]
    if broken is None:
        return f"{points}, which {lacking[found.latest]}"
    why = found.complaint(broken)
    if broken == found.latest:
        return f"{points}, which {why}"
    return f"{points}, and generation {broken}, from which that comes, {why}"


def _is_held(lock: str) -> bool:
    import fcntl  # there is none on Windows

    descriptor = os.open(lock, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
