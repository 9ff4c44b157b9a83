"""Do many small things as one: callers hand in an item each, one call does a batch of them.

There is no timer. While nothing runs, a batch starts in the same turn of the loop in which its first item came (so all
callers of that turn share it); while one runs, items gather for the next. The window therefore adapts by itself: a lone
caller waits for nobody, a crowd waits for one call.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchFullError(Exception):
    """Too many items wait already."""


class BatchMismatchError(Exception):
    """The call returned another number of results than it was given items: nobody can know which is whose."""


class Batcher(Generic[Item, Result]):
    """Batches of one kind. Lives on one event loop.

    Args:
        execute: does a batch; returns one result for each item, in order. A result that is an exception is raised for
            its caller alone; an exception that it raises, for all.
        max_size: items in one call.
        concurrency: calls at the same time.
        queue_limit: items that may wait for a call; more raise `BatchFullError`.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Item]], Awaitable[Sequence[Result | BaseException]]],
        *,
        max_size: int,
        concurrency: int = 1,
        queue_limit: int = 10_000,
    ) -> None:
        self._execute = execute
        self._max_size = max_size
        self._concurrency = concurrency
        self._queue_limit = queue_limit
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._starting = False

    @property
    def waiting(self) -> int:
        """Items that no call has taken yet."""
        return len(self._waiting)

    async def submit(self, item: Item) -> Result:
        """Have the item done with others. A caller that is cancelled disturbs nobody; its item may be done or not."""
        return await self.start(item)

    def start(self, item: Item) -> "asyncio.Future[Result]":
        """As `submit`, without waiting: the future has the result. Raises `BatchFullError`."""
        if len(self._waiting) >= self._queue_limit:
            raise BatchFullError
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._running) < self._concurrency:
            if len(self._waiting) >= self._max_size:
                self._start()
            elif not self._starting:
                self._starting = True
                asyncio.get_running_loop().call_soon(self._start_soon)
        return future

    async def drain(self) -> None:
        """Return when everything handed in so far is done."""
        while self._waiting or self._running:
            if self._running:
                await asyncio.wait(set(self._running))
            else:
                await asyncio.sleep(0)

    def _start_soon(self) -> None:
        self._starting = False
        self._start()

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._concurrency:
            batch: list[tuple[Item, asyncio.Future[Result]]] = []
            while self._waiting and len(batch) < self._max_size:
                item, future = self._waiting.popleft()
                if not future.done():  # its caller gave up
                    batch.append((item, future))
            if batch:
                task = asyncio.get_running_loop().create_task(self._do(batch))
                self._running.add(task)
                task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    async def _do(self, batch: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        try:
            results = _one_each(batch, await self._execute([item for item, _ in batch]))
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is passed on to everybody it concerns
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)


def _one_each(items: Sequence[object], results: Sequence[Result]) -> Sequence[Result]:
    if len(results) != len(items):
        raise BatchMismatchError(f"{len(results)} results for {len(items)} items")
    return results
