"""Ends a server by Ctrl-C or SIGTERM: in order at the first, at once after it.

Python handles signals in its main thread, between two of its own steps. So
that thread only waits, and TensorFlow, which may run for as long as somebody
else's model likes, works in others.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A wait without end would sleep through a signal that the system hands to
# another thread.
_LOOK_SECONDS = 0.2


def run_until_told(work: Callable[[], None]) -> None:
    """Runs something in a thread of its own until a signal comes.

    From then on, and until this process is over, signals end it at once: by
    what the system does where a program does nothing about them.

    Args:
        work: Begins what goes on until then; may return before.

    Raises:
        BaseException: What `work` raises.
    """
    # What a signal handler may put something into, whatever it interrupts.
    told: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            told.put(error)

    with _handled(lambda: told.put(None)):
        threading.Thread(target=guarded, daemon=True).start()
        error = _got(told)
    if error is not None:
        raise error


def _got(
    told: queue.SimpleQueue[BaseException | None],
) -> BaseException | None:
    while True:
        with contextlib.suppress(queue.Empty):
            return told.get(timeout=_LOOK_SECONDS)


@contextlib.contextmanager
def _handled(tell: Callable[[], None]) -> Iterator[None]:
    """Tells of the first signal; the next one ends this process."""

    def handle(number: int, frame: types.FrameType | None) -> None:
        before.clear()
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        tell()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(say: Callable[[str], None]) -> None:
    """Ends this process now, whatever still runs in it; says so.

    Args:
        say: Is told.
    """
    say("what still ran was cut off")
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(0)


@contextlib.contextmanager
def within(seconds: float, say: Callable[[str], None]) -> Iterator[None]:
    """Ends this process if what is done takes longer.

    Args:
        seconds: How long it may take.
        say: Is told if so.
    """
    timer = threading.Timer(seconds, leave, (say,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
