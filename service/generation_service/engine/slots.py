"""N slots and a bounded first-come-first-served queue before them.

A slot is handed from the one who leaves straight to the one who waits longest, so a newcomer can never overtake the
queue. Whoever gives up while waiting leaves the queue at once. Nothing here waits for a timer or knows a workflow.
"""

import asyncio
from collections import OrderedDict


class FullError(Exception):
    """No slot is free and no place in the queue is left."""


class Slots:
    """Admission control. Every `acquire` that returns must be followed by exactly one `release`."""

    def __init__(self, count: int, queue_limit: int) -> None:
        self._count = count
        self._queue_limit = queue_limit
        self._busy = 0
        # Ordered by arrival; a plain deque would make leaving from the middle O(n).
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self._busy

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return len(self._waiting)

    async def acquire(self) -> None:
        """Take a slot, waiting for it in the queue if need be. Raises `FullError` without waiting."""
        if self._busy < self._count:  # then nobody waits: a slot becomes free only when the queue is empty
            self._busy += 1
            return
        if len(self._waiting) >= self._queue_limit:
            raise FullError
        place = asyncio.get_running_loop().create_future()
        self._waiting[place] = None
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._waiting.pop(place, None)
            else:  # the slot was handed over in the same turn of the loop in which the caller gave up
                self.release()
            raise

    def release(self) -> None:
        """Give a slot back: to the first in the queue, else to the free ones."""
        while self._waiting:
            place, _ = self._waiting.popitem(last=False)
            if not place.done():  # cancelled, and its task did not get to run since
                place.set_result(None)
                return
        self._busy -= 1
