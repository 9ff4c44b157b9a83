"""A pool with no free connection refuses in time and says so; the wait is measured."""

import asyncio
from dataclasses import replace

import pytest

from contract.postgres_server import SETTINGS, PostgresServer
from generation_service.adapters.postgres.database import Database, Statement
from generation_service.adapters.postgres.driver import create_pool, unavailable
from generation_service.adapters.postgres.monitor import QueryMonitor
from generation_service.ports import StoreUnavailableError

SLEEP = Statement("sleep", "SELECT pg_sleep($1)")


@pytest.fixture
def monitor() -> QueryMonitor:
    return QueryMonitor()


def figure(monitor: QueryMonitor, name: str, part: str) -> float:
    figures = monitor.report()[name][part]
    assert isinstance(figures, dict)
    longest = figures["max_ms"]
    assert longest is not None
    return longest


async def test_wait_for_a_connection_is_seen_apart(postgres: PostgresServer, monitor: QueryMonitor) -> None:
    settings = replace(SETTINGS, max_size=1)
    database = Database(await create_pool(postgres.url(), settings), settings, monitor)
    await asyncio.gather(database.fetch(SLEEP, 0.2), database.fetch(Statement("quick", "SELECT 1")))
    assert figure(monitor, "quick", "wait") > 150
    assert figure(monitor, "quick", "execution") < 150
    assert database.connections == (1, 0)
    await database.close()


async def test_pool_without_a_free_connection_refuses_in_time(postgres: PostgresServer, monitor: QueryMonitor) -> None:
    settings = replace(SETTINGS, max_size=1, acquire_timeout_seconds=0.1)
    database = Database(await create_pool(postgres.url(), settings), settings, monitor)
    busy = asyncio.create_task(database.fetch(SLEEP, 0.5))
    await asyncio.sleep(0.05)
    with pytest.raises(StoreUnavailableError, match="pool is large enough"):
        await database.fetch(Statement("quick", "SELECT 1"))
    assert monitor.report()["quick"]["errors"] == 1
    await busy
    await database.close()


async def test_statement_that_hangs_is_given_up(postgres: PostgresServer, monitor: QueryMonitor) -> None:
    settings = replace(SETTINGS, command_timeout_seconds=0.1)
    database = Database(await create_pool(postgres.url(), settings), settings, monitor)
    with pytest.raises(StoreUnavailableError, match="did not answer in time"):
        await database.fetch(SLEEP, 5)
    assert len(await database.fetch(Statement("quick", "SELECT 1"))) == 1
    await database.close()


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), RuntimeError("x")])
def test_defect_of_ours_is_no_outage(error: Exception) -> None:
    assert unavailable(error) is None
