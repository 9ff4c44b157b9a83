"""The one place that touches asyncpg, and what its failures mean to the service.

An error of the server or the connection that another try may cure becomes `StoreUnavailableError` and says what to do.
Every other error is a defect of ours and passes unchanged; nothing is swallowed.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import asyncpg  # type: ignore[import-untyped,unused-ignore]

from generation_service.ports import StoreUnavailableError

Row = Mapping[str, Any]
"""A row of a result; its columns are typed by the statement, which mypy cannot see."""

Notified = Callable[["Connection", int, str, str], None]


class Connection(Protocol):
    """What we use of an `asyncpg.Connection`."""

    async def fetch(self, query: str, *args: object) -> Sequence[Row]:
        """Rows of a statement."""

    async def execute(self, query: str, *args: object) -> str:
        """The command tag of a statement."""

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """A transaction that ends with the block."""

    async def add_listener(self, channel: str, callback: Notified) -> None:
        """LISTEN."""

    def add_termination_listener(self, callback: Callable[["Connection"], None]) -> None:
        """Have `callback` called when the connection is gone."""

    def terminate(self) -> None:
        """Drop it without a word."""


class Pool(Protocol):
    """What we use of an `asyncpg.Pool`."""

    async def acquire(self, *, timeout: float | None = None) -> Connection:  # noqa: ASYNC109 - asyncpg's name
        """Take a connection out."""

    async def release(self, connection: Connection) -> None:
        """Put it back."""

    async def expire_connections(self) -> None:
        """Have every connection replaced before its next use."""

    async def close(self) -> None:
        """Wait until all are back, then close them."""

    def terminate(self) -> None:
        """Close all at once."""

    def get_size(self) -> int:
        """Connections open."""

    def get_idle_size(self) -> int:
        """Connections open and unused."""


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Connections of one replica.

    The server must allow `max_size` + 1 (for notices) + 2 (for the queue) connections for every replica: 20 replicas
    with the default of 8 need max_connections >= 220 + its superuser reserve (3), while a fresh Postgres allows 100.
    Lower `max_size`, raise max_connections, or put pgbouncer between (then set `statement_cache_size` to 0 and give it
    a session pool for LISTEN). More connections than twice the database's cores buy nothing: writes are grouped.
    """

    min_size: int = 1
    max_size: int = 8
    acquire_timeout_seconds: float = 5.0  # to get a connection from the pool; longer waits are refused
    command_timeout_seconds: float = 10.0  # for one statement; also how long a silent server is believed to live
    connect_timeout_seconds: float = 5.0
    max_idle_seconds: float = 300.0  # an unused connection is closed after it
    statement_cache_size: int = 100  # prepared statements per connection; 0 behind pgbouncer in transaction mode
    startup_patience_seconds: float = 60.0  # a database that starts together with us may take this long


_ADVICE: Final[Mapping[str, str]] = {
    "53100": "the database's disk is full; free space or enlarge the volume",
    "53200": "the database is out of memory; lower its load or enlarge it",
    "53300": "the database has no connection left; lower the pool size or the number of replicas, or raise "
    "max_connections",
    "57P01": "the database is shutting down; it is tried again",
    "57P02": "the database has crashed and restarts; it is tried again",
    "57P03": "the database is starting or shutting down; it is tried again",
    "57P05": "the database closed an idle connection; it is tried again",
    "57014": "the statement took longer than the time allowed; see the database's load and locks",
    "25006": "the database is read-only (a replica, or full); point the service at the primary",
}
"""By SQLSTATE: what is wrong and what to do. Classes 08 (connection) and 53 (resources) are added below."""

DEADLOCK: Final = "40P01"
READ_ONLY: Final = "25006"


async def connect(url: str, settings: PoolSettings) -> Connection:
    """Open a connection of its own, outside the pool."""
    with translated():
        connection = await asyncpg.connect(
            url, timeout=settings.connect_timeout_seconds, command_timeout=settings.command_timeout_seconds
        )
    return cast("Connection", connection)


QUEUE_CONNECTIONS: Final = 2


async def create_pool(url: str, settings: PoolSettings, *, relaxed: bool = False) -> Pool:
    """Open the pool.

    A `relaxed` one answers before the disk has it, so a crash of the server may undo its last moments. That is for
    pgqueuer alone: a job whose pick or end is undone comes again, and our fenced rows know better. It saves a third of
    the waits for the disk. Behind pgbouncer (no statement cache) there are no settings: it passes none on.
    """
    # Index scans forget entries of rows that are gone, bitmap scans visit them again each time: between two vacuums of
    # tables whose rows change as often as a queue's, taking ten jobs became twice as slow within 10 s.
    session = {"enable_bitmapscan": "off"} | ({"synchronous_commit": "off"} if relaxed else {})
    with translated():
        pool = await asyncpg.create_pool(
            url,
            min_size=settings.min_size,
            max_size=settings.max_size,
            max_inactive_connection_lifetime=settings.max_idle_seconds,
            command_timeout=settings.command_timeout_seconds,
            timeout=settings.connect_timeout_seconds,
            statement_cache_size=settings.statement_cache_size,
            # We never change session state on a pooled connection, so RESET ALL, one more round trip per statement,
            # has nothing to do.
            reset=_leave_as_it_is,
            server_settings=session if settings.statement_cache_size else {},
        )
    return cast("Pool", pool)


async def _leave_as_it_is(_connection: object) -> None:
    return


def sqlstate(error: BaseException) -> str | None:
    """The server's error code, if the server said something."""
    return getattr(error, "sqlstate", None)


class translated:  # noqa: N801 - used like a function; as a generator it would cost three times as much
    """A context that raises `StoreUnavailableError` for what another try may cure."""

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Translate."""
        if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | OSError | TimeoutError):
            reason = unavailable(error)
            if reason is not None:
                raise StoreUnavailableError(f"The database cannot be used now: {reason}.") from error


def unavailable(error: BaseException) -> str | None:
    """Why the database cannot be used, if that is what the error says."""
    code = sqlstate(error)
    if code is not None:
        general = code.startswith(("08", "53"))
        return _ADVICE.get(code) or (f"{error} (SQLSTATE {code}); it is tried again" if general else None)
    if isinstance(error, TimeoutError):
        return "it did not answer in time; see its load, and whether the pool is large enough"
    if isinstance(error, OSError):
        return f"no connection ({error}); see whether it runs and is reachable"
    if isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError):  # ValueError: bad arguments
        return f"the connection is gone ({error}); it is tried again"
    return None
