"""pgqueuer, as we use it: its tables, its statements' names, and connections that come back.

pgqueuer decides who gets which job and when a silent worker's job goes to another one. It checks no owner when a job
ends, so what a handler writes is fenced in our own rows and never here.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Self
from uuid import UUID

from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.tm import TaskManager
from pgqueuer.domain.models import Job
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import QueueEntrypoint, QueueManagerId
from pgqueuer.ports.driver import Driver, NotifyCallback
from pgqueuer.ports.repository import EntrypointExecutionParameter

from generation_service.adapters.postgres.driver import Connection

ENTRYPOINT: Final = "generation.workflow"
# The log is for people: losing it in a crash of the server costs nothing, writing it durably a third of the speed.
SETTINGS: Final = DBSettings().model_copy(update={"durability": Durability.balanced})
QUEUE_TABLE: Final = SETTINGS.qualified.queue_table
LOG_TABLE: Final = SETTINGS.qualified.queue_table_log
STATISTICS_TABLE: Final = SETTINGS.qualified.statistics_table
CHANNEL: Final = SETTINGS.channel


QUIETER: Final = """
    DROP TRIGGER tg_{queue}_changed ON {queue};
    CREATE TRIGGER tg_{queue}_changed AFTER INSERT OR TRUNCATE ON {queue} EXECUTE FUNCTION fn_{queue}_changed();
    CREATE OR REPLACE TRIGGER {queue}_waits_again AFTER UPDATE ON {queue}
        FOR EACH ROW WHEN (OLD.status <> 'queued' AND NEW.status = 'queued') EXECUTE FUNCTION fn_{queue}_changed();
    CREATE OR REPLACE FUNCTION {queue}_goes_well() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE OR REPLACE TRIGGER {queue}_goes_well BEFORE INSERT ON {log}
        FOR EACH ROW WHEN (NEW.status IN ('picked', 'successful')) EXECUTE FUNCTION {queue}_goes_well();
""".replace("{queue}", QUEUE_TABLE).replace("{log}", LOG_TABLE)
"""Notices only of jobs that can be taken, and a log only of what went wrong.

As installed, every job that is taken or done wakes all replicas, each notice holds up all commits of the server for a
moment, and each job leaves two rows with five index entries that nobody reads.
"""


GIVE_BACK: Final = f"""
    UPDATE {QUEUE_TABLE} SET status = 'queued', queue_manager_id = NULL, updated = now()
    WHERE queue_manager_id = $1 AND status = 'picked' AND heartbeat < now() - $2::interval
"""  # noqa: S608 - of constants
"""What counts as taken by this replica, and nobody has heard of for long.

A crash of the server may undo its last moments: jobs that were done are there again, in the name of who took them, and
those whose taking was never answered are too. pgqueuer counts them as work under way, so as many as a replica may have
at a time keep it from taking anything, these included: for ever, if it is the only replica.
"""


@dataclass
class OurQueries(Queries):
    """pgqueuer's statements, without those that are not worth a round trip while jobs come, and with `GIVE_BACK`.

    After each round of looking for jobs, pgqueuer asks up to three times what else waits: a third of what a short
    workflow costs the queue. After a round that found some we look again instead, after the shortest pause or at a
    notice.

    Args:
        now: seconds on a clock that never goes back.
    """

    now: Callable[[], float] = field(kw_only=True)
    _found: bool = field(default=False, init=False)  # jobs since the last pause
    _drained: bool = field(default=False, init=False)  # the last answer held fewer jobs than were asked for
    _given_back_at: float = field(default=-math.inf, init=False)

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        """Jobs; none at once if the last answer took all that there were."""
        if self._drained:
            self._drained = False
            return []
        await self._give_back(queue_manager_id, heartbeat_timeout)
        jobs = await super().dequeue(
            batch_size, entrypoints, queue_manager_id, global_concurrency_limit, heartbeat_timeout
        )
        self._found |= bool(jobs)
        self._drained = 0 < len(jobs) < batch_size
        return jobs

    async def eligible_queued_work(self, entrypoints: list[QueueEntrypoint]) -> int:
        """Whether to look again soon."""
        if self._found:
            self._found = False
            return 1
        return await super().eligible_queued_work(entrypoints)

    async def _give_back(self, queue_manager_id: QueueManagerId, heartbeat_timeout: timedelta) -> None:
        """`GIVE_BACK`, once in the time after which a silent replica loses its jobs."""
        now = self.now()
        if now - self._given_back_at >= heartbeat_timeout.total_seconds():
            self._given_back_at = now
            await self.driver.execute(GIVE_BACK, queue_manager_id, heartbeat_timeout)


def queries(driver: Driver, now: Callable[[], float]) -> Queries:
    """Statements of pgqueuer over a connection."""
    return OurQueries(
        driver,
        qbe=QueryBuilderEnvironment(SETTINGS),
        qbq=QueryQueueBuilder(SETTINGS),
        qbs=QuerySchedulerBuilder(SETTINGS),
        now=now,
    )


def statement_names(batch_size: int, concurrency: int) -> dict[str, str]:
    """The name to measure each frequent statement of pgqueuer under, by its SQL."""
    builder = QueryQueueBuilder(SETTINGS)
    dequeue = builder.build_dequeue_query(
        batch_size=batch_size,
        entrypoints=[QueueEntrypoint(ENTRYPOINT)],
        concurrency_limits=[0],
        queue_manager_id=QueueManagerId(UUID(int=0)),
        global_concurrency_limit=concurrency,
        heartbeat_timeout=timedelta(0),
    )
    return {
        dequeue.sql: "queue.dequeue",
        builder.build_log_job_query(): "queue.done",
        builder.build_retry_job_query(): "queue.again",
        builder.build_update_heartbeat_query(): "queue.heartbeat",
        builder.build_has_queued_work(): "queue.waiting",
        builder.build_has_eligible_queued_work(): "queue.ready",
        builder.build_next_deferred_eta_query(): "queue.later",
        GIVE_BACK: "queue.given_back",
    }


class BareDriver(Driver):
    """The parts of pgqueuer's driver that are the same for all."""

    def __init__(self) -> None:
        self._shutdown = asyncio.Event()
        self._tm = TaskManager()

    async def notify(self, channel: str, payload: str) -> None:
        """Send a notice."""
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)

    @property
    def shutdown(self) -> asyncio.Event:
        """Set when the driver should stop."""
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        """Tasks of the driver: none."""
        return self._tm

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close nothing: the connections belong to somebody else."""


class MigrationDriver(BareDriver):
    """One connection, for the installation of pgqueuer's tables."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """Rows of a statement."""
        return [dict(row) for row in await self._connection.fetch(query, *args)]

    async def execute(self, query: str, *args: object) -> str:
        """Run statements."""
        return await self._connection.execute(query, *args)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Refuse: a migration listens to nothing."""
        raise NotImplementedError
