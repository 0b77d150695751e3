"""The first Ctrl-C or SIGTERM ends a process in order, the second at once.

    with _signals.handled():
        work()  # KeyboardInterrupt, from the first one

Python's handlers run between two of its own steps, so not while TensorFlow or
a linear solver is at work. The second signal therefore goes another way: the
part of Python that is called by the system writes every signal's number to a
socket, which a thread reads. That needs no step of the main thread.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Iterator
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
# `timeout`, and whoever ends a process and then its group, send two at a time.
_SECONDS_OF_ONE: Final = 0.5
_SECONDS_TO_RAISE_AGAIN: Final = 0.1
_AT_ONCE: Final = (
    b"error: ended at once, by a second signal; run the same command again: "
    b"what is finished is kept\n"
)


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Handles both signals in the block; after it, either ends the process.

    Yields:
        To the block, in which the first signal raises `KeyboardInterrupt` with
        its number, and another one, half a second later or more, ends the
        process with that status which a shell gives it, 128 + its number.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)  # as Python asks for
    handler = _Handler()
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    for number in SIGNALS:
        # One of our own also keeps asyncio from putting off Ctrl-C until the
        # training that it interrupts is over.
        signal.signal(number, handler.interrupt)
    hook, sys.unraisablehook = sys.unraisablehook, handler.raise_later
    threading.Thread(
        target=handler.watch, args=(receiver,), name="signals", daemon=True
    ).start()
    try:
        yield
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        sys.unraisablehook = hook
        signal.set_wakeup_fd(before)
        sender.close()  # which ends the thread


def status(interruption: KeyboardInterrupt) -> int:
    """The exit status of a process that a signal ended.

    Args:
        interruption: What the handler raised; without a number, it was Ctrl-C.
    """
    number = interruption.args[0] if interruption.args else signal.SIGINT
    return 128 + int(number)


class _Handler:
    """What is known of the signals that came."""

    def __init__(self) -> None:
        self._is_interrupted = False
        self._repeats = 0

    def interrupt(self, number: int, frame: types.FrameType | None) -> None:
        """Raises for the first signal; what that sets off is left alone."""
        if not self._is_interrupted:
            self._is_interrupted = True
            raise KeyboardInterrupt(number)

    def raise_later(self, unraisable: Any) -> None:
        """Interrupts again, where an interruption was raised in vain.

        Python runs the callbacks of weak references and `__del__` between any
        two steps, also those in which it handles a signal, and drops what they
        raise.
        """
        lost = unraisable.exc_value
        if not isinstance(lost, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        number = status(lost) - 128
        again = threading.Timer(_SECONDS_TO_RAISE_AGAIN, self._repeat, [number])
        again.daemon = True
        again.start()

    def _repeat(self, number: int) -> None:
        self._repeats += 1
        self._is_interrupted = False
        os.kill(os.getpid(), number)

    def watch(self, receiver: socket.socket) -> None:
        """Ends the process at the second signal, whatever else runs."""
        first = None
        with receiver:
            while raw := receiver.recv(1):
                if raw[0] not in SIGNALS:
                    continue
                now = time.monotonic()
                if self._repeats:
                    self._repeats -= 1
                elif first is None:
                    first = now
                elif now - first > _SECONDS_OF_ONE:
                    _end_at_once(raw[0])


def _end_at_once(number: int) -> None:
    with contextlib.suppress(OSError):
        # A reader that is stuck must not keep the process.
        if select.select([], [2], [], 0)[1]:
            os.write(2, _AT_ONCE)
    os._exit(128 + number)
