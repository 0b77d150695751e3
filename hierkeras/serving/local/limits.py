"""What a request may cost, so that it does not cost the others theirs."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterable

import grpc

from hierkeras.serving.local import pixels
from hierkeras.serving.local.errors import ServingError, exhausted


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a server gives to requests.

    Args:
        message_bytes: Most bytes of a request.
        rows: Most rows of a request.
        pixels: Most pixels that the images of a request promise together.
        queued: Most requests that wait for a thread, over each transport.
        request_seconds: Most seconds that a request runs.
        receive_seconds: Most seconds until a request has arrived.
    """

    # 16 photos of 4 MB. TensorFlow Serving takes 2 GB, and every client that
    # connects may have it hold as much.
    message_bytes: int = 64 * 2**20
    rows: int = 4096
    # 83 photos of 12 million, or 4096 of 494 x 494: some 10 s to decode.
    pixels: int = 10**9
    queued: int = 256
    request_seconds: float = 60.0
    receive_seconds: float = 60.0

    @property
    def fields(self) -> int:
        """Most fields of a message, each of which takes memory of its own."""
        return 2**15 + 16 * self.rows

    @property
    def held_bytes(self) -> int:
        """Most bytes of all requests that wait or run, over one transport."""
        return 4 * self.message_bytes


class Budget:
    """What one request may still spend. It is asked before it is spent.

    Args:
        rows: Most rows.
        seconds: Most seconds from now on.
        pixels: Most pixels, of all images together.
    """

    def __init__(
        self,
        rows: float = math.inf,
        seconds: float = math.inf,
        pixels: float = math.inf,
    ) -> None:
        self._rows = rows
        self._pixels = pixels
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._is_cancelled = threading.Event()
        self._give_way: Callable[[], None] = lambda: None

    def share(self, give_way: Callable[[], None]) -> None:
        """Has others go first from time to time.

        Args:
            give_way: Waits for them; is called between two parts of the work.
        """
        self._give_way = give_way

    def begin_part(self) -> None:
        """Lets others go first, then goes on.

        Raises:
            ServingError: If the request may not go on.
        """
        self.seconds_left()
        self._give_way()

    def check_rows(self, count: int) -> None:
        """Refuses more rows than there may be.

        Args:
            count: How many there are.

        Raises:
            ServingError: If those are too many.
        """
        if count > self._rows:
            raise exhausted(
                f"the request has {count} rows, and may have {self._rows}; "
                "send fewer, or start the server with a larger --max_rows"
            )

    def check_pixels(self, images: Iterable[bytes]) -> None:
        """Refuses images that are too much to decode, before any is.

        Args:
            images: All images of the request, encoded.

        Raises:
            ServingError: If they promise too many pixels together.
        """
        if self._pixels == math.inf:
            return
        count = 0
        for image in images:
            count += pixels.promised(image)
            if count > self._pixels:
                raise exhausted(
                    "the images of the request have more than "
                    f"{self._pixels / 1e6:g} million pixels together; send "
                    "fewer at once, or start the server with a larger "
                    "--max_megapixels"
                )

    def seconds_left(self) -> float:
        """How long the request may go on.

        Raises:
            ServingError: If it may not, or nobody waits for it any more.
        """
        if self._is_cancelled.is_set():
            raise ServingError(
                grpc.StatusCode.CANCELLED, "the client went away"
            )
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.over()
        return left

    def over(self) -> ServingError:
        """What is said of a request that runs for too long."""
        return ServingError(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            f"the request ran longer than it may ({self._seconds:g} s); send "
            "fewer images at once, or give it a longer deadline and the "
            "server a larger --max_request_seconds",
        )

    def cancel(self) -> None:
        """Says that nobody waits for the answer any more."""
        self._is_cancelled.set()
