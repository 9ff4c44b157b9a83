"""`ports.Dispatcher` on pgqueuer: jobs come to this replica, and to another one when this one falls silent.

While the database is away the jobs under way go on, and pgqueuer waits inside its own statements; so an outage neither
ends `run` nor makes a job look failed. A job whose handler raises goes back into the queue, it is never dropped.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import orjson
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job
from pgqueuer.ports.driver import NotifyCallback

from generation_service.adapters.postgres.database import Database, Statement
from generation_service.adapters.postgres.listener import Listener
from generation_service.adapters.postgres.queue import (
    CHANNEL,
    ENTRYPOINT,
    QUEUE_TABLE,
    BareDriver,
    queries,
    statement_names,
)
from generation_service.ports import Clock, StoreUnavailableError

_LOG = logging.getLogger(__name__)

Handle = Callable[[str], Awaitable[None]]

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
LOOK_AGAIN: Final = timedelta(milliseconds=20)  # while jobs come; notices are usually sooner
AGAIN_SECONDS: Final = 1.0  # before a job whose handler raised is tried again


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    """How jobs are taken.

    `heartbeat_timeout_seconds`: a replica that is silent for this long loses its jobs. Shorter picks up the work of a
    dead one sooner; too short takes work away from one whose event loop is blocked (it beats at half of it).
    `poll_seconds`: how often to look without a notice, which is also how soon jobs of a dead replica are found.
    """

    heartbeat_timeout_seconds: float = 10.0
    poll_seconds: float = 2.0


class PostgresDispatcher:
    """`ports.Dispatcher`. `run` it once."""

    def __init__(
        self, database: Database, listener: Listener, clock: Clock, concurrency: int, settings: DispatcherSettings
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency: {concurrency} workflows at a time are too few; give at least 1.")
        self._settings = settings
        self._clock = clock
        self._places = asyncio.Semaphore(concurrency)
        # pgqueuer wants room for two batches.
        self._batch = max(1, concurrency // 2)
        self._picked = max(2 * self._batch, concurrency)
        self._driver = _PoolDriver(database, listener, clock, statement_names(self._batch, self._picked))
        self._manager: QueueManager | None = None
        self._stopping = self._driver.shutdown  # once set, it waits no more for a database that is away
        self._handlers: set[asyncio.Task[None]] = set()
        self._handle: Handle | None = None

    @property
    def shared(self) -> bool:
        """Another replica takes what waits."""
        return True

    async def run(self, handle: Handle) -> None:
        """See `ports.Dispatcher.run`. Cancelling it cancels the handlers and gives their jobs back."""
        self._handle = handle
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            manager = asyncio.get_running_loop().create_task(self._manage(), name="queue-manager")
            try:
                await asyncio.shield(manager)
                pause = FIRST_PAUSE_SECONDS
            except asyncio.CancelledError:
                self.stop()
                for task in self._handlers:
                    task.cancel()
                await asyncio.wait([manager])
                raise
            except Exception:  # noqa: BLE001 - it is logged, and the queue must never end by itself
                if self._stopping.is_set():
                    break  # the database is away; the jobs that ended are found to have ended by whoever takes them
                _LOG.exception("the queue stopped; starting it again in %g s", pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def stop(self) -> None:
        """See `ports.Dispatcher.stop`."""
        self._stopping.set()
        if self._manager is not None:
            self._manager.shutdown.set()

    async def _manage(self) -> None:
        self._manager = manager = QueueManager(queries(self._driver, self._clock.now), CHANNEL)
        manager.min_dequeue_poll_interval = LOOK_AGAIN
        manager.entrypoint(ENTRYPOINT, accepts_context=False)(self._job)
        if self._stopping.is_set():
            return
        await manager.run(
            dequeue_timeout=timedelta(seconds=self._settings.poll_seconds),
            batch_size=self._batch,
            max_concurrent_tasks=self._picked,
            heartbeat_timeout=timedelta(seconds=self._settings.heartbeat_timeout_seconds),
            log_aggregation_interval=timedelta(0),  # nobody reads the statistics
        )

    async def _job(self, job: Job) -> None:
        if self._handle is None or job.payload is None:
            return
        async with self._places:
            if self._stopping.is_set():
                raise RetryRequested(delay=timedelta(0), reason="the replica takes nothing new")
            # A task of its own: if it is cancelled the job must go back, and pgqueuer drops a job that is cancelled.
            task = asyncio.ensure_future(self._handle(job.payload.decode()))
            self._handlers.add(task)
            try:
                await task
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if current is not None and current.cancelling():
                    raise  # it is pgqueuer that ends
                raise RetryRequested(delay=timedelta(0), reason="the replica goes away") from None
            except Exception as error:
                _LOG.exception("workflow %s goes back into the queue", job.payload.decode())
                raise RetryRequested(delay=timedelta(seconds=AGAIN_SECONDS), reason=type(error).__name__) from error
            finally:
                self._handlers.discard(task)


class _PoolDriver(BareDriver):
    """pgqueuer's connection: the pool, as long as it takes; notices from our listener, which comes back by itself."""

    def __init__(self, database: Database, listener: Listener, clock: Clock, names: dict[str, str]) -> None:
        super().__init__()
        self._database = database
        self._listener = listener
        self._clock = clock
        self._names = names
        self._removers: list[Callable[[], None]] = []

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Rows of a statement, once the database is there.

        A repeated dequeue may leave jobs behind that were given to us without our knowing: they have no heartbeat and
        are found again.
        """
        statement = Statement(self._names.get(query, "queue.other"), query)
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return [dict(row) for row in await self._database.fetch(statement, *args)]
            except StoreUnavailableError:
                if self.shutdown.is_set():
                    raise
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement, once the database is there."""
        await self.fetch(query, *args)
        return ""

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Pass notices on; a lost connection counts as one that says that something changed."""

        def heard(payload: str | None) -> None:
            callback(_SOMETHING_CHANGED if payload is None else payload)

        self._removers.append(self._listener.add(channel, heard))

    async def __aexit__(self, *_: object) -> None:
        for remove in self._removers:
            remove()
        self._removers.clear()


_SOMETHING_CHANGED: Final = orjson.dumps(
    {
        "channel": CHANNEL,
        "operation": "insert",
        "sent_at": "1970-01-01T00:00:00+00:00",
        "table": QUEUE_TABLE,
        "type": "table_changed_event",
    }
).decode()
