"""Tables come to be once, whoever starts first, and an index that failed is built again."""

import asyncio

import pytest

from contract.postgres_server import SETTINGS, PostgresServer
from generation_service.adapters.clock import LoopClock
from generation_service.adapters.postgres.driver import Connection, PoolSettings, connect
from generation_service.adapters.postgres.migrate import Migration, MigrationError, migrate, packaged
from generation_service.adapters.postgres.store import PostgresStore
from generation_service.ports import StoreUnavailableError

CONCURRENT = "-- no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS by_n\n    ON numbers (n);\n"
NUMBERS = Migration("0001_numbers.sql", "CREATE TABLE numbers (n integer);\nINSERT INTO numbers VALUES (1), (1);")


async def applied(url: str) -> list[str]:
    connection = await connect(url, SETTINGS)
    rows = await connection.fetch("SELECT name FROM migrations ORDER BY name")
    connection.terminate()
    return [row["name"] for row in rows]


async def valid(connection: Connection, index: str) -> bool | None:
    rows = await connection.fetch("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", index)
    return rows[0]["indisvalid"] if rows else None


async def test_replicas_that_start_together_migrate_once(postgres: PostgresServer) -> None:
    url = await postgres.empty()
    stores = await asyncio.gather(*(PostgresStore.open(url, SETTINGS, LoopClock()) for _ in range(3)))
    names = await applied(url)
    assert [name for name in names if name.endswith(".sql")] == [migration.name for migration in packaged()]
    assert len(names) == len(packaged()) + 1  # and pgqueuer's own
    await asyncio.gather(*(store.close() for store in stores))


async def test_second_run_changes_nothing(postgres: PostgresServer) -> None:
    url = await postgres.fresh()
    before = await applied(url)
    await migrate(url, SETTINGS, LoopClock())
    assert await applied(url) == before


async def test_index_of_the_guide_exists_and_is_valid(postgres: PostgresServer) -> None:
    connection = await connect(await postgres.fresh(), SETTINGS)
    assert await valid(connection, "idx_workflows_status_created")
    assert await valid(connection, "idx_metrics_timestamp")
    connection.terminate()


async def test_index_that_failed_to_build_is_built_again(postgres: PostgresServer) -> None:
    url = await postgres.empty()
    connection = await connect(url, SETTINGS)
    unique = CONCURRENT.replace("INDEX", "UNIQUE INDEX", 1)
    with pytest.raises(Exception, match="could not create unique index"):
        await migrate(url, SETTINGS, LoopClock(), [NUMBERS, Migration("0002_index.sql", unique)])
    assert await valid(connection, "by_n") is False
    await migrate(url, SETTINGS, LoopClock(), [NUMBERS, Migration("0002_index.sql", CONCURRENT)])
    assert await valid(connection, "by_n") is True
    connection.terminate()


async def test_failed_migration_leaves_nothing_behind(postgres: PostgresServer) -> None:
    url = await postgres.empty()
    broken = Migration("0001_broken.sql", "CREATE TABLE half (n integer);\nSELECT 1 / 0;")
    with pytest.raises(Exception, match="division by zero"):
        await migrate(url, SETTINGS, LoopClock(), [broken])
    connection = await connect(url, SETTINGS)
    assert (await connection.fetch("SELECT to_regclass('half') AS half"))[0]["half"] is None
    connection.terminate()
    assert await applied(url) == []


async def test_edited_migration_is_refused(postgres: PostgresServer) -> None:
    url = await postgres.empty()
    await migrate(url, SETTINGS, LoopClock(), [NUMBERS])
    with pytest.raises(MigrationError, match=r"0001_numbers\.sql was applied in another wording"):
        await migrate(url, SETTINGS, LoopClock(), [Migration(NUMBERS.name, "SELECT 1;")])


async def test_database_that_is_not_up_yet_is_waited_for(postgres: PostgresServer) -> None:
    url = await postgres.empty()
    await asyncio.to_thread(postgres.kill)
    try:
        waiting = asyncio.create_task(migrate(url, SETTINGS, LoopClock(), [NUMBERS]))
        await asyncio.sleep(0.4)
        assert not waiting.done()
    finally:
        await asyncio.to_thread(postgres.start)
    await waiting
    assert "0001_numbers.sql" in await applied(url)


async def test_database_that_never_comes_is_given_up_with_a_reason() -> None:
    with pytest.raises(StoreUnavailableError, match="see whether it runs"):
        await migrate("postgresql://127.0.0.1:1/x", PoolSettings(startup_patience_seconds=0.1), LoopClock())


def test_statements_are_split_at_line_ends_only() -> None:
    migration = Migration("x", "-- no transaction\nSELECT ';';\n-- nothing;\n\nSELECT\n  2;\n")
    assert [statement.splitlines()[-1] for statement in migration.statements] == ["SELECT ';'", "  2"]
