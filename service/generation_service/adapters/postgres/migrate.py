"""Bring the database's tables to what this version needs: numbered files, each applied once, by one replica at a time.

The lock is tried, not waited for inside the server: a session that waits there holds a snapshot, and
`CREATE INDEX CONCURRENTLY` of the replica that has the lock would wait for that snapshot for ever.
"""

import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata, resources
from typing import Final

from pgqueuer.adapters.persistence.queries import Queries

from generation_service.adapters.postgres.driver import Connection, PoolSettings, connect, translated
from generation_service.adapters.postgres.queue import QUIETER, MigrationDriver, queries
from generation_service.ports import Clock, StoreUnavailableError

_LOG = logging.getLogger(__name__)

LOCK: Final = 0x67656E73_76630001  # any number that nobody else uses in this database
LOCK_RETRY_SECONDS: Final = 0.05
CONNECT_RETRY_SECONDS: Final = 0.25
NO_TRANSACTION: Final = "-- no transaction"
_INDEX: Final = re.compile(r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+IF\s+NOT\s+EXISTS\s+(\w+)", re.IGNORECASE)


class MigrationError(Exception):
    """The tables are not what this version knows; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What tells whether the file was changed after it had been applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def transactional(self) -> bool:
        """Whether it happens as a whole or not at all."""
        return not self.sql.startswith(NO_TRANSACTION)

    @property
    def statements(self) -> list[str]:
        """The statements of a file without transaction; each ends with `;` at the end of a line."""
        return [part.strip() for part in re.split(r";\s*$", self.sql, flags=re.MULTILINE) if _has_sql(part)]


def packaged() -> list[Migration]:
    """The migrations of this version, in order."""
    folder = resources.files("generation_service.migrations")
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return [Migration(file.name, file.read_text()) for file in sorted(files, key=lambda file: file.name)]


async def migrate(url: str, settings: PoolSettings, clock: Clock, migrations: list[Migration] | None = None) -> None:
    """Apply what is missing; wait for a database that is not up yet.

    Raises `MigrationError`, and `StoreUnavailableError` after `startup_patience_seconds`.
    """
    async with _locked(url, settings, clock) as connection:
        done = await _recorded(connection)
        for migration in packaged() if migrations is None else migrations:
            if migration.name not in done:
                await _apply(connection, migration)
            elif done[migration.name] != migration.checksum:
                raise MigrationError(
                    f"migration {migration.name} was applied in another wording; a released migration must not be "
                    "edited: restore it and put the change into a new file."
                )
        await _install_queue(connection, done)


@asynccontextmanager
async def _locked(url: str, settings: PoolSettings, clock: Clock) -> AsyncIterator[Connection]:
    until = clock.now() + settings.startup_patience_seconds
    connection = await _patiently(lambda: connect(url, settings), clock, until)
    try:
        with translated():
            while not (await connection.fetch("SELECT pg_try_advisory_lock($1) AS mine", LOCK))[0]["mine"]:
                await clock.sleep(LOCK_RETRY_SECONDS)
            yield connection
            await connection.fetch("SELECT pg_advisory_unlock($1)", LOCK)
    finally:
        connection.terminate()  # which also gives the lock back, whatever happened


async def _patiently(attempt: Callable[[], Awaitable[Connection]], clock: Clock, until: float) -> Connection:
    while True:
        try:
            return await attempt()
        except StoreUnavailableError as error:
            if clock.now() + CONNECT_RETRY_SECONDS > until:
                raise
            _LOG.info("waiting for the database: %s", error)
        await clock.sleep(CONNECT_RETRY_SECONDS)


async def _recorded(connection: Connection) -> Mapping[str, str]:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, checksum text NOT NULL, "
        "applied_at timestamptz NOT NULL DEFAULT now())"
    )
    return {row["name"]: row["checksum"] for row in await connection.fetch("SELECT name, checksum FROM migrations")}


async def _record(connection: Connection, name: str, checksum: str) -> None:
    await connection.fetch("INSERT INTO migrations (name, checksum) VALUES ($1, $2)", name, checksum)


async def _apply(connection: Connection, migration: Migration) -> None:
    _LOG.info("applying migration %s", migration.name)
    if migration.transactional:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await _record(connection, migration.name, migration.checksum)
        return
    for statement in migration.statements:
        if index := _INDEX.search(statement):
            await _drop_if_invalid(connection, index.group(1))
        await connection.execute(statement)
    await _record(connection, migration.name, migration.checksum)


async def _drop_if_invalid(connection: Connection, index: str) -> None:
    """Remove what a failed build left: IF NOT EXISTS would take it for the index, but no query ever uses it."""
    broken = await connection.fetch(
        "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid", index
    )
    if broken:
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")


async def _install_queue(connection: Connection, done: Mapping[str, str]) -> None:
    """Have pgqueuer make its tables, or bring those of an older pgqueuer up to date."""
    name = f"pgqueuer-{metadata.version('pgqueuer')}-quieter"
    if name in done:
        return
    queue: Queries = queries(MigrationDriver(connection), time.monotonic)
    if await queue.schema_is_installed():
        await queue.apply_upgrade()
    else:
        await queue.install()
    await queue.optimize_autovacuum()
    await connection.execute(QUIETER)
    await _record(connection, name, "by pgqueuer itself")


def _has_sql(part: str) -> bool:
    return any(line.strip() and not line.strip().startswith("--") for line in part.splitlines())
