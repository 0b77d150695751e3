"""The versions of a model: found, loaded, swapped and drained.

    BASE_PATH/
      2/            an older version; not read any more
      3/            the highest integer: the version that is served
      .tmp-…/       no integer: not there yet

As in TensorFlow Serving with its default policy, the highest number is
served; a new one is loaded and warmed up before the old one is let go, and
one that cannot be loaded changes nothing, and is tried again once its folder
is another one and stays so from one look to the next: a copy may be on its way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import threading
from collections.abc import Callable, Iterator

from etils import epath
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from hierkeras.serving.local.base_path import State, find, state
from hierkeras.serving.local.errors import ServingError
from hierkeras.serving.local.servable import Servable


@dataclasses.dataclass(frozen=True)
class Status:
    """Where a version stands.

    Args:
        state: A value of `ModelVersionStatus.State`.
        error: Why it could not be loaded, if so.
    """

    state: int
    error: ServingError | None = None


@dataclasses.dataclass
class _Failure:
    """What was in the folder of a version that could not be loaded.

    Args:
        tried: At the last attempt.
        seen: At the last look.
    """

    tried: State
    seen: State

    def is_mended(self, now: State) -> bool:
        """Whether it is worth another attempt; remembers this look."""
        is_settled, self.seen = now == self.seen, now
        return is_settled and now != self.tried


@dataclasses.dataclass
class _Loaded:
    """A version in memory, and how many requests run on it."""

    servable: Servable
    requests: int = 0
    is_closed: bool = False


class Versions:
    """The versions below a base path, of which the latest is served.

    One thread polls; any number may use what is served.

    Args:
        base_path: A folder, of any kind that `etils.epath` knows.
        say: Is told, a line at a time, what happens.
        changed: Is told whether a version is served, after each change.
        trust: Whether versions may do more than an export can.
    """

    def __init__(
        self,
        base_path: str,
        say: Callable[[str], None],
        changed: Callable[[bool], None] = lambda is_serving: None,
        trust: bool = False,
    ) -> None:
        self._trust = trust
        self._base_path = epath.Path(base_path)
        self._say = say
        self._changed = changed
        self._lock = threading.Lock()
        self._current: _Loaded | None = None
        self._statuses: dict[int, Status] = {}
        self._failures: dict[int, _Failure] = {}
        self._waiting_for = ""

    def poll(self) -> None:
        """Looks once for a change below the base path, and carries it out."""
        try:
            found = find(self._base_path)
        except OSError as error:
            # Not the same as empty: it may be back in a moment.
            reason = error.strerror or error
            self._wait(f"cannot read {self._base_path} ({reason})")
            return
        for gone in self._failures.keys() - found.keys():
            del self._failures[gone]
        if not found:
            self._wait(f"{self._base_path} holds no folder named by a number")
            self._swap(None)
            return
        self._waiting_for = ""
        number = max(found)
        if number == self._number():
            return
        if self._is_worth_it(number, found[number]):
            self._load(number, found[number])

    @contextlib.contextmanager
    def use(self, number: int | None = None) -> Iterator[Servable]:
        """Holds a version, so that it is not unloaded meanwhile.

        Args:
            number: Which; the latest if None.

        Raises:
            LookupError: If it is not loaded.
        """
        with self._lock:
            current = self._current
            if current is None or number not in (
                None,
                current.servable.version,
            ):
                raise LookupError(number)
            current.requests += 1
        try:
            yield current.servable
        finally:
            with self._lock:
                current.requests -= 1
            self._close_if_drained(current)

    def statuses(self) -> dict[int, Status]:
        """Where each version stands that was ever seen, the highest first."""
        with self._lock:
            return dict(sorted(self._statuses.items(), reverse=True))

    def close(self) -> None:
        """Lets the served version go, once no request runs on it."""
        self._swap(None)

    def _number(self) -> int | None:
        current = self._current
        return current.servable.version if current else None

    def _wait(self, reason: str) -> None:
        if reason != self._waiting_for:
            self._waiting_for = reason
            self._say(f"{reason}; waiting for a version")

    def _is_worth_it(self, number: int, path: str) -> bool:
        """Whether an attempt to load a version may succeed."""
        failure = self._failures.get(number)
        return failure is None or failure.is_mended(state(path))

    def _load(self, number: int, path: str) -> None:
        # Before: what arrives while it is read may be what it lacks.
        before = state(path)
        self._set_status(number, ModelVersionStatus.LOADING)
        servable = None
        try:
            servable = Servable(path, number, self._trust)
            servable.warm_up()
        # Whatever may be wrong with a file: the thread must go on.
        except Exception as error:
            if servable is not None:
                servable.close()
            self._failures[number] = _Failure(before, before)
            self._refuse(number, ServingError.of(error))
            return
        self._failures.pop(number, None)
        self._swap(_Loaded(servable))
        self._say(f"version {number} is served")
        # A closed version's graph is made of cycles, and large.
        gc.collect()

    def _refuse(self, number: int, error: ServingError) -> None:
        self._set_status(number, ModelVersionStatus.END, error)
        before = self._number()
        rest = (
            "nothing is served" if before is None else f"version {before} stays"
        )
        reason = " ".join(error.message.split())
        self._say(f"version {number} does not load; {rest}: {reason}")

    def _swap(self, new: _Loaded | None) -> None:
        """Makes a version, or none, the one that new requests run on."""
        with self._lock:
            old, self._current = self._current, new
            if new is not None:
                self._statuses[new.servable.version] = Status(
                    ModelVersionStatus.AVAILABLE
                )
            if old is not None:
                self._statuses[old.servable.version] = Status(
                    ModelVersionStatus.UNLOADING
                )
        if old is not None:
            self._close_if_drained(old)
        if old is not None or new is not None:
            self._changed(new is not None)

    def _close_if_drained(self, loaded: _Loaded) -> None:
        """Closes a version that is no longer served, after its requests."""
        with self._lock:
            if loaded is self._current or loaded.requests or loaded.is_closed:
                return
            loaded.is_closed = True
        loaded.servable.close()
        with self._lock:
            number = loaded.servable.version
            if number != self._number():  # it may have been loaded again
                self._statuses[number] = Status(ModelVersionStatus.END)

    def _set_status(
        self, number: int, state: int, error: ServingError | None = None
    ) -> None:
        with self._lock:
            self._statuses[number] = Status(state, error)
