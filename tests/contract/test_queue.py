"""The queue says little: notices only of jobs that can be taken, no log of what went well, few questions."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import orjson
import pytest

from contract.job_store_contract import GOOD, eventually, make_workflow, reclaimed
from contract.postgres_server import SETTINGS, PostgresServer
from generation_service.adapters.clock import LoopClock
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
