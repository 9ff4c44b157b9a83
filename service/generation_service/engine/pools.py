"""N places for work of one kind and a bounded first-come-first-served queue before them; N can change meanwhile.

A place is handed from the one who leaves straight to the one who waits longest, so a newcomer can never overtake the
queue. Whoever gives up while waiting leaves the queue at once. Nothing here waits for a timer or knows a workflow.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class PoolFullError(Exception):
    """All places are taken and so is every place in the queue."""

    def __init__(self, pool: str, queue_limit: int) -> None:
        super().__init__(f"the pool {pool} is busy and {queue_limit} wait for it already; try again later")
        self.pool = pool


class Pool:
    """Admission control. Every `acquire` that returns must be followed by exactly one `release`.

    Args:
        name: for messages and metrics.
        size: places, >= 1.
        queue_limit: callers that may wait.
    """

    def __init__(self, name: str, size: int, queue_limit: int) -> None:
        self.name = name
        self.configured = size  # what `resize` is measured against
        self._size = size
        self._queue_limit = queue_limit
        self._busy = 0
        # Ordered by arrival; a plain deque would make leaving from the middle O(n).
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    @property
    def size(self) -> int:
        """Places, free or taken."""
        return self._size

    @property
    def busy(self) -> int:
        """Places taken; above `size` for a while after it was lowered."""
        return self._busy

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return len(self._waiting)

    @asynccontextmanager
    async def slot(self, timeout_seconds: float | None = None) -> AsyncIterator[None]:
        """Hold a place. Raises as `acquire`."""
        await self.acquire(timeout_seconds)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, timeout_seconds: float | None = None) -> None:
        """Take a place, waiting for it in the queue if need be.

        Raises `PoolFullError` without waiting, and `TimeoutError`.
        """
        if self._busy < self._size:  # then nobody waits: a place becomes free only when the queue is empty
            self._busy += 1
            return
        if len(self._waiting) >= self._queue_limit:
            raise PoolFullError(self.name, self._queue_limit)
        place = asyncio.get_running_loop().create_future()
        self._waiting[place] = None
        async with asyncio.timeout(timeout_seconds):
            await self._wait(place)

    async def _wait(self, place: "asyncio.Future[None]") -> None:
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._waiting.pop(place, None)
            else:  # the place was handed over in the same turn of the loop in which the caller gave up
                self.release()
            raise

    def release(self) -> None:
        """Give a place back: to the first in the queue, else to the free ones."""
        self._busy -= 1
        self._hand_out()

    def resize(self, size: int) -> None:
        """Change the number of places. More are handed out at once; fewer take effect as work ends."""
        self._size = max(1, size)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self._busy < self._size:
            place, _ = self._waiting.popitem(last=False)
            if not place.done():  # cancelled, and its task did not get to run since
                self._busy += 1
                place.set_result(None)
