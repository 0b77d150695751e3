"""Threads that answer requests, for which only so many may wait.

What waits holds no thread, and what is cancelled while it waits holds nothing
any more. All but the work itself belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent import futures
from typing import TypeVar

from hierkeras.serving.local import memory
from hierkeras.serving.local.errors import busy

_Answer = TypeVar("_Answer")
# Between two looks whether there is still somebody to wait for.
_LOOK_SECONDS = 1.0


def _run(work: Callable[[], _Answer], size: int) -> _Answer:
    try:
        return work()
    finally:
        if size > memory.LARGE_BYTES:
            memory.give_back()


class Pool:
    """Runs what takes long.

    Args:
        name: Of its threads.
        num_threads: Most that runs at once.
        max_waiting: Most that waits meanwhile.
        max_bytes: Most bytes that all of it holds; always one's worth.
    """

    def __init__(
        self, name: str, num_threads: int, max_waiting: int, max_bytes: int
    ) -> None:
        # Work that gives way keeps its thread, asleep.
        most = num_threads + max_waiting
        self._threads = futures.ThreadPoolExecutor(most, name)
        self._free = asyncio.Semaphore(num_threads)
        self._max_waiting = max_waiting
        self._waiting = 0
        self._room = max_bytes
        self._running: set[futures.Future] = set()

    @property
    def is_busy(self) -> bool:
        """Whether something still runs; any thread may ask."""
        return bool(self._running)

    async def run(self, work: Callable[[], _Answer], size: int) -> _Answer:
        """Runs something in a thread, when there is one.

        Args:
            work: What; runs to its end once it has begun, whether or not it
                is cancelled.
            size: How many bytes it holds until then.

        Raises:
            ServingError: If too much waits already.
        """
        if size > self._room:
            raise busy("too many large requests at once; try again later")
        self._room -= size
        try:
            async with self._queued():
                await self._free.acquire()
        except BaseException:
            self._room += size
            raise
        return await asyncio.wrap_future(self._started(work, size))

    def way_giver(self) -> Callable[[], None]:
        """What work may call between two of its parts.

        It returns when all that waited before had their turn, so that what
        takes long takes no longer from others than one of its parts.
        """
        loop = asyncio.get_running_loop()

        def give_way() -> None:
            turn = asyncio.run_coroutine_threadsafe(self._requeue(), loop)
            while loop.is_running() and not turn.done():
                futures.wait([turn], _LOOK_SECONDS)

        return give_way

    def close(self) -> None:
        """Takes no more; what runs is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextlib.asynccontextmanager
    async def _queued(self) -> AsyncIterator[None]:
        """A place among those that wait for a thread."""
        if self._free.locked() and self._waiting >= self._max_waiting:
            raise busy(
                f"{self._waiting} requests wait already; try again later, or "
                "start the server with a larger --max_queued_requests"
            )
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def _requeue(self) -> None:
        if self._free.locked():
            self._free.release()
            await self._free.acquire()

    def _started(
        self, work: Callable[[], _Answer], size: int
    ) -> futures.Future[_Answer]:
        loop = asyncio.get_running_loop()

        def end(future: futures.Future) -> None:
            self._running.discard(future)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._release, size)

        future = self._threads.submit(_run, work, size)
        self._running.add(future)
        future.add_done_callback(end)
        return future

    def _release(self, size: int) -> None:
        self._room += size
        self._free.release()
