"""A queue of keys with the promises of client-go's: nothing is lost, nothing is done twice at once.

A key waits at most once however often it is added; a key that is added while a worker is busy with it is handled again
afterwards; no two workers ever hold the same key; a key that fails comes back after a delay that doubles from failure
to failure. A failing key never holds up another one and never ends a worker.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from generation_operator.cluster.ports import ClusterError

K = TypeVar("K", bound=Hashable)

_log = logging.getLogger(__name__)

_BASE: Final = 0.5  # seconds after the first failure; most conflicts are over by then
_CAP: Final = 60.0  # seconds; what stays broken for long is looked at once a minute


class WorkQueue(Generic[K]):
    """A keyed queue with its workers; used from one event loop.

    Args:
        base: delay in seconds after the first failure of a key; doubled for each further one in a row.
        cap: the longest delay in seconds.
    """

    def __init__(self, *, base: float = _BASE, cap: float = _CAP) -> None:
        self._base = base
        self._cap = cap
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._wanted: set[K] = set()  # added and not yet taken by a worker
        self._active: set[K] = set()  # held by a worker
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._running = False
        self._moved_at = 0.0  # when a key was last finished, or the first one came; the loop's clock

    def __len__(self) -> int:
        """Keys that wait now, not counting those that are added later by a timer."""
        return len(self._wanted)

    @property
    def failing(self) -> int:
        """Keys whose last handling failed."""
        return len(self._failures)

    def stalled_seconds(self) -> float:
        """For how long no key was finished although some wait or are being handled; 0 when there are none."""
        if not self._running or not (self._wanted or self._active):
            return 0.0
        return asyncio.get_running_loop().time() - self._moved_at

    def add(self, key: K) -> None:
        """Have a key handled as soon as a worker is free."""
        if key in self._wanted:
            return
        if not self._wanted and not self._active and self._running:
            self._moved_at = asyncio.get_running_loop().time()
        self._wanted.add(key)
        if key not in self._active:
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Have a key handled in `seconds`; of several such wishes for a key the earliest counts."""
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= at:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(at, self._fire, key)

    async def run(self, handle: Callable[[K], Awaitable[None]], *, workers: int) -> None:
        """Handle keys until cancelled; a key that was being handled then waits again."""
        self._running, self._moved_at = True, asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._work(handle), name=f"worker {number}")

    async def _work(self, handle: Callable[[K], Awaitable[None]]) -> None:
        while True:
            # One key of each worker, then everybody else's turn: handling one without a change takes 2 ms and waits for
            # nobody, so that thousands of them, as after a start, held up probes, watches and decisions for 12 s. One
            # in all per turn is too few: turns take 50 ms then, and 5,000 keys took eight minutes.
            await asyncio.sleep(0)
            key = await self._ready.get()
            self._wanted.discard(key)
            self._active.add(key)
            try:
                await self._handle(key, handle)
            except asyncio.CancelledError:
                self._wanted.add(key)
                raise
            finally:
                self._active.discard(key)
                self._moved_at = asyncio.get_running_loop().time()
                if key in self._wanted:
                    self._ready.put_nowait(key)

    async def _handle(self, key: K, handle: Callable[[K], Awaitable[None]]) -> None:
        try:
            await handle(key)
        except ClusterError as error:
            delay = max(self._failed(key), error.retry_after or 0.0)
            _log.warning("%s: %s; trying again in %.1f s", key, error, delay)
        except Exception:  # noqa: BLE001 - a bug that one key sets off must not take the other keys down
            delay = self._failed(key)
            _log.exception("%s: failed; trying again in %.1f s", key, delay)
        else:
            self._failures.pop(key, None)
            return
        self.add_after(key, delay)

    def _failed(self, key: K) -> float:
        """Count a failure; returns the delay until the next try."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # 2.0**30 is past any cap; a key that fails for weeks would overflow a float.
        return min(self._cap, self._base * 2.0 ** min(failures, 30))

    def _fire(self, key: K) -> None:
        del self._timers[key]
        self.add(key)
