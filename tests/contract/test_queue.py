"""The queue says little: notices only of jobs that can be taken, no log of what went well, few questions."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import orjson
import pytest

from contract.job_store_contract import GOOD, eventually, make_workflow, reclaimed
from contract.postgres_server import SETTINGS, PostgresServer
from generation_service.adapters.clock import LoopClock
from generation_service.adapters.postgres.dispatcher import DispatcherSettings
from generation_service.adapters.postgres.driver import Connection, connect
from generation_service.adapters.postgres.queue import CHANNEL, LOG_TABLE, QUEUE_TABLE
from generation_service.adapters.postgres.store import PostgresStore


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


async def test_job_tells_of_itself_when_it_can_be_taken_and_leaves_nothing(
    store: PostgresStore, admin: Connection
) -> None:
    notices: list[str] = []
    await admin.add_listener(CHANNEL, lambda *notice: notices.append(notice[3]))
    tries = 0

    async def handle(workflow_id: str) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RuntimeError("on purpose")
        await store.finish(await reclaimed(store, workflow_id), GOOD)

    dispatcher = store.dispatcher(2)
    task = asyncio.create_task(dispatcher.run(handle))
    await store.submit(make_workflow())

    async def gone() -> bool:
        return tries == 2 and await count(admin, QUEUE_TABLE) == 0

    await eventually(gone)
    dispatcher.stop()
    await asyncio.wait_for(task, 5)
    await asyncio.sleep(0.1)
    told = [orjson.loads(notice).get("operation") for notice in notices]
    changes = [operation for operation in told if operation is not None]  # the others are pgqueuer's health checks
    assert changes == ["insert", "update"], "when it came and when it went back; not when it was taken or done"
    assert {row["status"] for row in await admin.fetch(f"SELECT status::text FROM {LOG_TABLE}")} == {"queued"}, (
        "the one try that is made again"
    )


async def test_backlog_of_short_jobs_takes_less_than_one_question_each(store: PostgresStore) -> None:
    done = 0

    async def handle(workflow_id: str) -> None:
        nonlocal done
        await store.finish(await reclaimed(store, workflow_id), GOOD)
        done += 1

    await asyncio.gather(*(store.submit(make_workflow()) for _ in range(400)))
    dispatcher = store.dispatcher(20)
    task = asyncio.create_task(dispatcher.run(handle))
    await eventually(lambda: done == 400, 30)
    dispatcher.stop()
    await asyncio.wait_for(task, 5)
    asked = {
        name: cast("int", entry["count"]) for name, entry in store.monitor.report().items() if name.startswith("queue.")
    }
    assert sum(asked.values()) < 400, asked


async def test_jobs_that_only_count_as_taken_keep_the_replica_from_nothing(
    store: PostgresStore, admin: Connection
) -> None:
    """As after a crash of the database, which brought back as many jobs as the replica may have at a time."""
    done: list[str] = []
    go = asyncio.Event()

    async def handle(workflow_id: str) -> None:
        await go.wait()
        await store.finish(await reclaimed(store, workflow_id), GOOD)
        done.append(workflow_id)

    workflows = [make_workflow() for _ in range(6)]
    dispatcher = store.dispatcher(2, DispatcherSettings(heartbeat_timeout_seconds=1.0, poll_seconds=0.2))
    task = asyncio.create_task(dispatcher.run(handle))
    for workflow in workflows:
        await store.submit(workflow)

    async def taken() -> bool:
        rows = await admin.fetch(f"SELECT count(*) AS n FROM {QUEUE_TABLE} WHERE status = 'picked'")
        return int(rows[0]["n"]) == 2

    await eventually(taken)
    await admin.execute(
        f"UPDATE {QUEUE_TABLE} SET status = 'picked', heartbeat = now() - interval '1 minute', "
        f"queue_manager_id = (SELECT queue_manager_id FROM {QUEUE_TABLE} WHERE status = 'picked' LIMIT 1) "
        f"WHERE id IN (SELECT id FROM {QUEUE_TABLE} WHERE status = 'queued' ORDER BY id LIMIT 2)"
    )
    go.set()
    await eventually(lambda: len(done) == 6)
    dispatcher.stop()
    await asyncio.wait_for(task, 5)
    assert sorted(done) == sorted(workflow.id for workflow in workflows)
