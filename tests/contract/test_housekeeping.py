"""What is old goes, what was forgotten comes back, and only one replica tidies."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from contract.job_store_contract import GOOD, changed, claimed, eventually, got, make_workflow
from contract.postgres_server import SETTINGS, PostgresServer
from generation_service.adapters.clock import LoopClock
from generation_service.adapters.postgres.driver import Connection, connect
from generation_service.adapters.postgres.housekeeping import LOCK, Retention
from generation_service.adapters.postgres.store import PostgresStore
from generation_service.domain.workflow import Status
from generation_service.ports import Idempotency

NOW = Retention(finished_seconds=0.0, queue_log_seconds=0.0, metrics_seconds=0.0, replica_seconds=0.0)


@pytest.fixture
async def url(postgres: PostgresServer) -> str:
    return await postgres.fresh()


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(url, SETTINGS, LoopClock())
    yield store
    await store.close()


@pytest.fixture
async def admin(url: str) -> AsyncIterator[Connection]:
    connection = await connect(url, SETTINGS)
    yield connection
    connection.terminate()


async def count(admin: Connection, table: str) -> int:
    return int((await admin.fetch(f"SELECT count(*) AS n FROM {table}"))[0]["n"])


async def test_old_workflows_go_with_all_that_belongs_to_them(store: PostgresStore, admin: Connection) -> None:
    waiting = make_workflow()
    key = Idempotency("key", b"")
    ended = make_workflow()
    await store.submit(ended, key)
    claim = await store.claim(ended.id)
    assert claim is not None
    await store.advance(claim, changed("a", output=1))
    await store.finish(claim, GOOD)
    await store.submit(waiting)
    done = await store.housekeeping(NOW).tidy()
    assert done["finished"] == 1
    assert await store.get(ended.id) is None
    assert (await got(store, waiting.id)).status is Status.QUEUED
    assert (await count(admin, "workflow_steps"), await count(admin, "workflow_events")) == (0, 1)
    assert (await store.submit(make_workflow(), key)).created


async def test_young_rows_stay(store: PostgresStore) -> None:
    claim = await claimed(store)
    await store.finish(claim, GOOD)
    await store.history.write({"p95": 1.0})
    assert set((await store.housekeeping().tidy()).values()) == {0}
    assert await store.get(claim.workflow.id) is not None
    assert [point.value for point in await store.history.read("p95", 60)] == [1.0]


async def test_logs_metrics_and_dead_replicas_go(store: PostgresStore, admin: Connection) -> None:
    await store.history.write({"p95": 1.0, "rss": 2.0})
    await admin.execute("INSERT INTO replicas VALUES ('dead', now() - interval '1 hour')")
    await admin.execute("INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint) VALUES (1, 'queued', 0, 'x')")
    done = await store.housekeeping(NOW).tidy()
    assert (done["metrics"], done["replicas"], done["queue_log"]) == (2, 1, 1)


async def test_large_leftovers_go_in_bounded_rounds(store: PostgresStore, admin: Connection) -> None:
    await admin.execute(
        "INSERT INTO performance_metrics SELECT now(), 'r', 'm', n FROM generate_series(1, 2500) AS g(n)"
    )
    assert (await store.housekeeping(NOW).tidy())["metrics"] == 2500
    rounds = store.monitor.report()["housekeeping.metrics"]["count"]
    assert rounds == 3


async def test_waiting_workflow_without_a_job_gets_one(store: PostgresStore, admin: Connection) -> None:
    workflow = make_workflow()
    await store.submit(workflow)
    await admin.execute("DELETE FROM pgqueuer")
    assert (await store.housekeeping().tidy())["forgotten"] == 1
    assert (await store.housekeeping().tidy())["forgotten"] == 0
    brought: list[str] = []

    async def handle(workflow_id: str) -> None:
        brought.append(workflow_id)

    dispatcher = store.dispatcher(1)
    task = asyncio.create_task(dispatcher.run(handle))
    await eventually(lambda: brought == [workflow.id])
    dispatcher.stop()
    await task


@pytest.mark.parametrize(("silent_seconds", "found"), [(60, 1), (0, 0)])
async def test_running_workflow_without_a_job_is_left_to_a_living_replica(
    store: PostgresStore, admin: Connection, silent_seconds: int, found: int
) -> None:
    await claimed(store)
    await store.backlog()
    await admin.execute("DELETE FROM pgqueuer")
    await admin.execute(
        f"UPDATE replicas SET seen_at = now() - interval '{silent_seconds} s';"
        "UPDATE workflows SET started_at = now() - interval '60 s'"
    )
    assert (await store.housekeeping().tidy())["forgotten"] == found


async def test_one_replica_tidies_at_a_time(store: PostgresStore, admin: Connection) -> None:
    await admin.fetch("SELECT pg_advisory_lock($1)", LOCK)
    assert await store.housekeeping(NOW).tidy() == {}
    await admin.fetch("SELECT pg_advisory_unlock($1)", LOCK)
    assert await store.housekeeping(NOW).tidy() != {}


async def test_history_is_read_oldest_first_and_bounded(store: PostgresStore) -> None:
    for value in (1.0, 2.0, 3.0):
        await store.history.write({"p95": value, "other": 9.0})
    assert [point.value for point in await store.history.read("p95", 60, limit=2)] == [2.0, 3.0]
    assert list(await store.history.read("p95", 0)) == []
    await store.history.write({})
