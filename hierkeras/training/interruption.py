"""Ctrl-C and SIGTERM, put off while they would do harm."""

from __future__ import annotations

import asyncio
import signal
import threading
import types
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hierkeras._signals import SIGNALS

_Result = TypeVar("_Result")


def run(main: Coroutine[Any, Any, _Result]) -> _Result:
    """As `asyncio.run`, which would show the traceback of an interruption.

    Args:
        main: What to run.

    Raises:
        KeyboardInterrupt: If it is interrupted.
    """
    with asyncio.Runner() as runner:
        try:
            return runner.run(main)
        except KeyboardInterrupt:
            # What waits for the interrupted task has nothing to add.
            runner.get_loop().set_exception_handler(lambda *_: None)
            raise


class Deferral:
    """Puts `KeyboardInterrupt` off between `begin` and `end`.

    Only the main thread of a process is interrupted; in others, both do
    nothing.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._noted: int | None = None

    def begin(self) -> None:
        """From now on, an interruption is only noted."""
        if self._before:
            return
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._note) for n in SIGNALS}

    def end(self) -> None:
        """Lets interruptions through again.

        Raises:
            KeyboardInterrupt: If there was one since `begin`.
        """
        before, self._before = self._before, {}
        for number, handler in before.items():
            signal.signal(number, handler)
        noted, self._noted = self._noted, None
        if noted is None:
            return
        handler = before.get(signal.Signals(noted))
        if callable(handler):
            handler(noted, None)  # which raises, and knows of it then
        raise KeyboardInterrupt(noted)

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        self._noted = number


def interrupt_once() -> Callable[..., None]:
    """A signal handler that raises `KeyboardInterrupt`, the first time only.

    What the interruption sets off, such as writing a checkpoint, is not
    interrupted again.
    """

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    return interrupt
