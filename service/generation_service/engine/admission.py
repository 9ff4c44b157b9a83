"""Who may come in, who waits, who is at work: the figures that this replica is scaled by.

Workflows and chat completions share one set of slots, so that one number says how busy the replica is. What waits in
the store waits for all replicas together: each reports an equal share of it, so that the sum over replicas is right
however many of them are asked.
"""

import math
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

from generation_service.domain.errors import DrainingError, QueueFullError
from generation_service.domain.workflow import Outcome
from generation_service.engine.pools import Pool, PoolFullError
from generation_service.ports import Backlog, Clock, Observer

# One in ten of the last running time goes into the average: follows a change within a few dozen workflows.
SMOOTHING: Final = 0.1
# A client told to stay away for longer than this would miss the replicas that the operator adds meanwhile.
LONGEST_RETRY_AFTER_SECONDS: Final = 30


class Phase(Enum):
    """The life of a replica, in this order."""

    SERVING = "Serving"
    RETIRING = "Retiring"  # not ready any more, but requests already on their way are still taken
    CLOSED = "Closed"  # finishes what it has, takes nothing new


class Admission:
    """The door of one replica. Lives on one event loop."""

    def __init__(self, slots: Pool, queue_limit: int, clock: Clock, observer: Observer) -> None:
        self._slots = slots
        self._queue_limit = queue_limit
        self._clock = clock
        self._observer = observer
        self._backlog = Backlog(queued=0, oldest_seconds=0.0, replicas=1)
        self._entering = 0  # workflows let in and on their way into the store: no count has seen them yet
        self._since = 0  # workflows put into the store minus those taken out, here, since the backlog was counted
        self._chats_waiting = 0
        self._running_seconds = 1.0  # smoothed; a guess until the first piece of work is done
        self.arrived = 0
        self.phase = Phase.SERVING

    @property
    def in_flight(self) -> int:
        """Pieces of work in a slot."""
        return self._slots.busy

    @property
    def queue_length(self) -> float:
        """Pieces of work that wait: this replica's own and its share of what waits in the store."""
        stored = max(0.0, self._backlog.queued / self._backlog.replicas + self._since)
        return self._chats_waiting + self._entering + stored

    @property
    def backlog(self) -> Backlog:
        """What waits in the store, as last counted."""
        return self._backlog

    def counted(self, backlog: Backlog) -> None:
        """Take over a fresh count."""
        self._backlog = backlog
        self._since = 0

    def enter(self) -> None:
        """Admit one workflow to the queue; `entered` must follow. Raises `DrainingError`, `QueueFullError`."""
        self._check()
        self._entering += 1

    def entered(self, *, stored: bool) -> None:
        """Note whether a workflow that was admitted is in the store's queue now."""
        self._entering -= 1
        self._since += stored

    def left_queue(self) -> None:
        """Note that a workflow of the store's queue was taken by this replica."""
        self._since -= 1

    async def work(self, do: Callable[[], Awaitable[None]]) -> None:
        """Hold a slot while a workflow that the dispatcher brought is done."""
        await self._slots.acquire()
        started = self._clock.now()
        try:
            await do()
        finally:
            self._leave(started)

    def chat(self, timeout_seconds: float | None = None) -> "ChatVisit":
        """Admit a chat completion, hold a slot for it, and count how it ended.

        Args:
            timeout_seconds: for the wait; then entering raises `TimeoutError`.
        """
        return ChatVisit(self, timeout_seconds)

    async def chat_enters(self, timeout_seconds: float | None) -> tuple[float, float]:
        """Wait for a slot; says when the visitor came and when the slot was free.

        Raises `DrainingError`, `QueueFullError`, `TimeoutError`.
        """
        self._check()
        arrived = self._clock.now()
        self._chats_waiting += 1
        try:
            await self._slots.acquire(timeout_seconds)
        except PoolFullError:
            self._observer.rejected()
            raise QueueFullError(self._queue_limit, self._retry_after_seconds()) from None
        except BaseException:  # a caller who gave up counts as an error: the answer did not reach anybody
            self._observer.finished(Outcome.ERROR, self._clock.now() - arrived)
            raise
        finally:
            self._chats_waiting -= 1
        return arrived, self._clock.now()

    def chat_leaves(self, arrived: float, started: float, outcome: Outcome) -> None:
        """Give the slot back."""
        self._leave(started)
        self._observer.finished(outcome, self._clock.now() - arrived)

    def _check(self) -> None:
        self.arrived += 1
        self._observer.arrived()
        if self.phase is Phase.CLOSED:
            self._observer.rejected()
            raise DrainingError
        # What was admitted a moment ago and is still on its way to a free slot counts as waiting.
        free = max(0, self._slots.size - self._slots.busy)
        if self.queue_length >= self._queue_limit + free:
            self._observer.rejected()
            raise QueueFullError(self._queue_limit, self._retry_after_seconds())

    def _leave(self, started: float) -> None:
        seconds = self._clock.now() - started
        self._slots.release()
        self._observer.ran(seconds)
        self._running_seconds += SMOOTHING * (seconds - self._running_seconds)

    def _retry_after_seconds(self) -> int:
        """The time that the queue needs to pass, from how long work lately took."""
        turns = (self.queue_length + 1) / self._slots.size
        return max(1, min(LONGEST_RETRY_AFTER_SECONDS, math.ceil(turns * self._running_seconds)))


class ChatVisit:
    """One chat completion in a replica. A class: a context manager from a generator costs three times as much."""

    __slots__ = ("_admission", "_arrived", "_started", "_timeout_seconds")

    def __init__(self, admission: Admission, timeout_seconds: float | None) -> None:
        self._admission = admission
        self._timeout_seconds = timeout_seconds

    async def __aenter__(self) -> None:
        """See `Admission.chat_enters`."""
        self._arrived, self._started = await self._admission.chat_enters(self._timeout_seconds)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Count what happened inside."""
        outcome = Outcome.SUCCESS if kind is None else Outcome.ERROR
        self._admission.chat_leaves(self._arrived, self._started, outcome)
