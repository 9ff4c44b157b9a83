"""Remove what is old, and put back into the queue what was forgotten. One replica at a time, in small bites.

A round is one transaction with a bounded number of rows, so it never holds locks for long; what is left is for the
next one, which follows at once while there is more.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from generation_service.adapters.postgres.database import Database, Statement
from generation_service.adapters.postgres.queue import ENTRYPOINT, LOG_TABLE, QUEUE_TABLE, STATISTICS_TABLE
from generation_service.ports import Clock, StoreUnavailableError

_LOG = logging.getLogger(__name__)

LOCK: Final = 0x67656E73_76630002  # beside that of the migrations
ROWS_PER_ROUND: Final = 1000
ROUNDS_AT_ONCE: Final = 100  # then others may have their turn
DEAD_SECONDS: Final = 15.0  # a replica that said nothing for this long runs nothing any more


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is kept, in seconds. Longer costs room in the database and nothing else."""

    finished_seconds: float = 24 * 3600.0  # ended workflows with their results, events and idempotency keys
    queue_log_seconds: float = 3600.0  # pgqueuer's log of jobs, which it never prunes itself
    metrics_seconds: float = 7 * 24 * 3600.0
    replica_seconds: float = 600.0  # since the last sign of life
    interval_seconds: float = 10.0  # between rounds; also how soon a forgotten workflow is found


_TRY_LOCK: Final = Statement("housekeeping.lock", "SELECT pg_try_advisory_xact_lock($1) AS mine")
_FINISHED: Final = Statement(
    "housekeeping.finished",
    """
    WITH old AS (
        SELECT id FROM workflows
        WHERE created_at < now() - $1 * interval '1 second' AND finished_at < now() - $1 * interval '1 second'
            AND status NOT IN ('queued', 'running')
        ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), step AS (
        DELETE FROM workflow_steps WHERE workflow_id IN (SELECT id FROM old)
    ), event AS (
        DELETE FROM workflow_events WHERE workflow_id IN (SELECT id FROM old)
    )
    DELETE FROM workflows WHERE id IN (SELECT id FROM old) RETURNING 1
    """,
)


def _prune(name: str, table: str, column: str) -> Statement:
    return Statement(
        f"housekeeping.{name}",
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} "  # noqa: S608 - of constants
        f"WHERE {column} < now() - $1 * interval '1 second' LIMIT $2)) RETURNING 1",
    )


_QUEUE_LOG: Final = _prune("queue_log", LOG_TABLE, "created")
_QUEUE_STATISTICS: Final = _prune("queue_statistics", STATISTICS_TABLE, "created")
_METRICS: Final = _prune("metrics", "performance_metrics", '"timestamp"')
_REPLICAS: Final = _prune("replicas", "replicas", "seen_at")

# A queued workflow and its job are written together, so one without the other was forgotten. A running one may have
# lost its job to a replica that was taken for dead and ended late (pgqueuer checks no owner); as long as whoever runs
# it is alive, that does no harm.
_FORGOTTEN: Final = Statement(
    "housekeeping.forgotten",
    f"""
    INSERT INTO {QUEUE_TABLE} (priority, entrypoint, payload, dedupe_key, status)
    SELECT 0, '{ENTRYPOINT}', convert_to(w.id, 'UTF8'), w.id, 'queued'
    FROM workflows w LEFT JOIN replicas r ON r.id = w.worker
    WHERE w.status IN ('queued', 'running')
        AND NOT EXISTS (SELECT FROM {QUEUE_TABLE} q WHERE q.dedupe_key = w.id AND q.status IN ('queued', 'picked'))
        AND (w.status = 'queued' OR greatest(w.started_at, r.seen_at) < now() - $1 * interval '1 second')
    ORDER BY w.created_at LIMIT $2
    ON CONFLICT DO NOTHING RETURNING 1
    """,  # noqa: S608 - of constants
)


class Housekeeping:
    """`run` it in every replica; whoever is first does the round."""

    def __init__(self, database: Database, clock: Clock, retention: Retention) -> None:
        self._database = database
        self._clock = clock
        self._retention = retention

    async def run(self) -> None:
        """Tidy up until cancelled; a database that is away only delays it."""
        while True:
            try:
                await self.tidy()
            except StoreUnavailableError as error:
                _LOG.info("housekeeping waits: %s", error)
            except Exception:  # noqa: BLE001 - it is logged, and must not end the tidying for good
                _LOG.exception("housekeeping failed; it is tried again in %g s", self._retention.interval_seconds)
            await self._clock.sleep(self._retention.interval_seconds)

    async def tidy(self) -> Mapping[str, int]:
        """Do rounds until nothing is left to do, or another replica does them.

        Returns:
            Rows by the name of what was done with them.

        Raises `StoreUnavailableError`.
        """
        total: dict[str, int] = {}
        for _ in range(ROUNDS_AT_ONCE):
            done = await self._round()
            for name, rows in done.items():
                total[name] = total.get(name, 0) + rows
            if all(rows < ROWS_PER_ROUND for rows in done.values()):
                break
        return total

    async def _round(self) -> Mapping[str, int]:
        keep = self._retention
        steps: list[tuple[Statement, float]] = [
            (_FORGOTTEN, DEAD_SECONDS),
            (_FINISHED, keep.finished_seconds),
            (_QUEUE_LOG, keep.queue_log_seconds),
            (_QUEUE_STATISTICS, keep.queue_log_seconds),
            (_METRICS, keep.metrics_seconds),
            (_REPLICAS, keep.replica_seconds),
        ]
        async with self._database.transaction("housekeeping.connection") as session:
            if not (await session.fetch(_TRY_LOCK, LOCK))[0]["mine"]:
                return {}
            return {
                statement.name.removeprefix("housekeeping."): len(
                    await session.fetch(statement, seconds, ROWS_PER_ROUND)
                )
                for statement, seconds in steps
            }
