"""Statements over a pool, each timed and counted under its name; nothing in this room goes past it.

Only the listener and the migrations hold connections of their own: they keep session state (LISTEN, a session lock),
which a pooled connection must not have.
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from generation_service.adapters.postgres.driver import (
    DEADLOCK,
    READ_ONLY,
    Connection,
    Pool,
    PoolSettings,
    Row,
    sqlstate,
    translated,
)
from generation_service.adapters.postgres.monitor import QueryMonitor

# Two replicas that write the same rows in another order: the server undoes one of them after a second.
DEADLOCK_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and the name it is measured under."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Session:
    """One connection inside a transaction."""

    connection: Connection
    database: "Database"

    async def fetch(self, statement: Statement, *args: object) -> Sequence[Row]:
        """Rows of a statement."""
        return await self.database.timed(self.connection, statement, args, waited=0.0)


class Database:
    """The pool. Every method raises `StoreUnavailableError`.

    Args:
        now: seconds, to measure with; the event loop's own clock only knows whole milliseconds.
    """

    def __init__(
        self, pool: Pool, settings: PoolSettings, monitor: QueryMonitor, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._now = now
        self.monitor = monitor

    @property
    def connections(self) -> tuple[int, int]:
        """Open, and of these in use."""
        size = self._pool.get_size()
        return size, size - self._pool.get_idle_size()

    async def fetch(self, statement: Statement, *args: object) -> Sequence[Row]:
        """Rows of a statement, which is a transaction of its own."""
        for last in (*(False,) * (DEADLOCK_TRIES - 1), True):
            try:
                asked = self._now()
                connection = await self._acquire(statement.name)
                try:
                    return await self.timed(connection, statement, args, waited=self._now() - asked)
                finally:
                    await self._release(connection)
            except Exception as error:
                if last or sqlstate(error) != DEADLOCK:
                    raise
        raise AssertionError  # the last try returned or raised

    @asynccontextmanager
    async def transaction(self, name: str) -> AsyncIterator[Session]:
        """Several statements that happen together or not at all."""
        asked = self._now()
        connection = await self._acquire(name)
        try:
            self.monitor.record(name, waited=self._now() - asked, ran=0.0)
            with translated():
                async with connection.transaction():
                    yield Session(connection, self)
        finally:
            await self._release(connection)

    async def timed(
        self, connection: Connection, statement: Statement, args: Sequence[object], *, waited: float
    ) -> Sequence[Row]:
        """Run a statement and count it."""
        started = self._now()
        failed = True
        try:
            with translated():
                rows = await connection.fetch(statement.sql, *args)
            failed = False
        except Exception as error:
            if sqlstate(error.__cause__ or error) == READ_ONLY:  # the primary moved: look it up again
                await self._pool.expire_connections()
            raise
        finally:
            self.monitor.record(statement.name, waited=waited, ran=self._now() - started, failed=failed)
        return rows

    async def close(self) -> None:
        """Let go of all connections."""
        try:
            await self._pool.close()
        finally:
            self._pool.terminate()

    async def _acquire(self, name: str) -> Connection:
        asked = self._now()
        try:
            with translated():
                if self._pool.get_idle_size():  # then it is at hand, and asyncpg's timer would cost a task
                    return await self._pool.acquire()
                return await self._pool.acquire(timeout=self._settings.acquire_timeout_seconds)
        except Exception:
            self.monitor.record(name, waited=self._now() - asked, ran=0.0, failed=True)
            raise

    async def _release(self, connection: Connection) -> None:
        with translated():
            await self._pool.release(connection)
