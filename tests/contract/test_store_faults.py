"""What the durable store survives: killed and frozen replicas, a crashed database, one that refuses, wrong clocks."""

import asyncio
import contextlib
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contract.job_store_contract import GOOD, changed, claimed, eventually, got, make_workflow, reclaimed
from contract.postgres_server import SETTINGS, PostgresServer
from generation_service.adapters.clock import LoopClock
from generation_service.adapters.postgres.dispatcher import DispatcherSettings
from generation_service.adapters.postgres.driver import connect
from generation_service.adapters.postgres.store import PostgresStore
from generation_service.domain.workflow import Status
from generation_service.ports import LostClaimError, StoreUnavailableError

QUICK = DispatcherSettings(heartbeat_timeout_seconds=1.2, poll_seconds=0.2)


@pytest.fixture
async def url(postgres: PostgresServer) -> str:
    return await postgres.fresh()


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(url, SETTINGS, LoopClock())
    yield store
    await store.close()


@asynccontextmanager
async def worker(url: str, step_seconds: float) -> AsyncIterator[asyncio.subprocess.Process]:
    """A replica in a process of its own."""
    program = str(Path(__file__).with_name("store_worker.py"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, url, str(step_seconds), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_work_of_a_killed_replica_is_finished_by_another_and_counted_once(store: PostgresStore, url: str) -> None:
    workflows = [make_workflow() for _ in range(16)]
    async with worker(url, 0.2) as victim, worker(url, 0.2):
        for workflow in workflows:
            await store.submit(workflow)

        async def under_way() -> bool:
            return len((await store.page(status=Status.RUNNING, cursor=None, limit=20)).records) >= 8

        await eventually(under_way)
        await asyncio.sleep(0.25)  # the first steps are kept, the second ones run
        victim.send_signal(signal.SIGKILL)

        async def all_done() -> bool:
            return len((await store.page(status=Status.SUCCEEDED, cursor=None, limit=20)).records) == 16

        await eventually(all_done, 20)
    attempts = 0
    for workflow in workflows:
        attempts += (await got(store, workflow.id)).attempt
        events = await store.events(workflow.id, 0, 100)
        counted = Counter(event.data["step"] for event in events if event.kind == "step.succeeded")
        assert counted == {"a": 1, "b": 1}
    assert attempts > 16  # the kill did hit somebody


async def test_late_write_of_a_frozen_replica_counts_for_nothing(store: PostgresStore, url: str) -> None:
    workflow = make_workflow("a")
    async with worker(url, 0.3) as zombie:
        await store.submit(workflow)

        async def running() -> bool:
            return (await got(store, workflow.id)).status is Status.RUNNING

        await eventually(running)
        zombie.send_signal(signal.SIGSTOP)
        async with worker(url, 0.3):

            async def done() -> bool:
                return (await got(store, workflow.id)).status is Status.SUCCEEDED

            await eventually(done)
            before = await got(store, workflow.id)
            zombie.send_signal(signal.SIGCONT)
            assert zombie.stdout is not None
            assert await asyncio.wait_for(zombie.stdout.readline(), 10) == f"lost {workflow.id}\n".encode()
    assert before.steps[0].output == {"attempt": 2}
    assert await got(store, workflow.id) == before


async def test_crash_of_the_database_under_load_loses_nothing(store: PostgresStore, postgres: PostgresServer) -> None:
    heard: list[str | None] = []
    store.watch(heard.append)
    accepted: list[str] = []
    refused = 0

    async def handle(workflow_id: str) -> None:
        claim = await store.claim(workflow_id)
        if claim is None:
            return
        for step in claim.workflow.steps:
            if step.id not in claim.outputs:
                await asyncio.sleep(0.05)
                await store.advance(claim, changed(step.id, output=step.id))
        await store.finish(claim, GOOD)

    async def client() -> None:
        nonlocal refused
        for _ in range(40):
            workflow = make_workflow(deadline_seconds=60)
            while True:
                try:
                    await store.submit(workflow)
                    break
                except StoreUnavailableError:
                    refused += 1
                    await asyncio.sleep(0.05)
            accepted.append(workflow.id)
            await asyncio.sleep(0.02)

    dispatcher = store.dispatcher(8, QUICK)
    running = asyncio.create_task(dispatcher.run(handle))
    clients = asyncio.gather(*(client() for _ in range(4)))
    await asyncio.sleep(0.4)
    await asyncio.to_thread(postgres.kill)
    assert not await store.healthy()
    await asyncio.sleep(0.3)
    await asyncio.to_thread(postgres.start)
    await asyncio.wait_for(clients, 20)

    async def all_done() -> bool:
        page = await store.page(status=Status.SUCCEEDED, cursor=None, limit=200)
        return {record.workflow.id for record in page.records} == set(accepted)

    await eventually(all_done, 20)
    assert refused > 0
    assert len(accepted) == 160
    await eventually(lambda: None in heard)  # notices were lost, and everybody was told so
    dispatcher.stop()
    await asyncio.wait_for(running, 10)


async def test_dispatcher_stops_while_the_database_is_away(store: PostgresStore, postgres: PostgresServer) -> None:
    dispatcher = store.dispatcher(2, QUICK)

    async def handle(_: str) -> None:
        """Never called."""

    running = asyncio.create_task(dispatcher.run(handle))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(postgres.kill)
    try:
        await asyncio.sleep(0.3)
        assert not running.done()
        dispatcher.stop()
        await asyncio.wait_for(running, 5)
    finally:
        await asyncio.to_thread(postgres.start)
    await eventually(store.healthy)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("53100", "disk is full"),
        ("53300", "no connection left"),
        ("53400", "SQLSTATE 53400"),
        ("25006", "read-only"),
        ("57P01", "shutting down"),
        ("57014", "longer than the time allowed"),
    ],
)
async def test_refusal_of_the_database_says_what_to_do_and_passes(
    store: PostgresStore, url: str, code: str, advice: str
) -> None:
    claim = await claimed(store)
    admin = await connect(url, SETTINGS)
    await admin.execute(
        f"CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE 'refused' USING ERRCODE = '{code}'; END $$ "
        "LANGUAGE plpgsql; CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON workflows EXECUTE FUNCTION refuse()"
    )
    workflow = make_workflow()
    for write in (
        lambda: store.submit(workflow),
        lambda: store.claim(claim.workflow.id),
        lambda: store.advance(claim, changed("a")),
        lambda: store.hand_back(claim),
        lambda: store.cancel(claim.workflow.id),
    ):
        with pytest.raises(StoreUnavailableError, match=advice):
            await write()
    assert await store.get(workflow.id) is None
    await admin.execute("DROP TRIGGER refuse ON workflows")
    admin.terminate()
    assert (await store.submit(workflow)).created
    await store.finish(claim, GOOD)


async def test_value_that_the_database_refuses_disturbs_no_other(store: PostgresStore) -> None:
    good, bad = make_workflow(), make_workflow(deadline_seconds=1e300)
    results = await asyncio.gather(store.submit(bad), store.submit(good), return_exceptions=True)
    assert isinstance(results[0], Exception)
    assert not isinstance(results[0], StoreUnavailableError)
    assert not isinstance(results[1], BaseException)


async def test_wrong_clock_of_a_replica_changes_nothing(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: real + 10 * 365 * 86400)
    claim = await claimed(store)
    await store.finish(claim, GOOD)
    record = await got(store, claim.workflow.id)
    assert 25 < claim.remaining_seconds <= 30
    assert claim.queued_seconds < 5
    assert abs(record.created_at - real) < 60
    assert record.finished_at is not None
    assert abs(record.finished_at - real) < 60


async def test_replica_that_ends_badly_gives_its_claims_to_the_next(store: PostgresStore, url: str) -> None:
    other = await PostgresStore.open(url, SETTINGS, LoopClock())
    try:
        first = await claimed(store)
        second = await reclaimed(other, first.workflow.id)
        with pytest.raises(LostClaimError):
            await store.finish(first, GOOD)
        await other.finish(second, GOOD)
        assert (await other.backlog()).replicas == 1
        assert (await store.backlog()).replicas == 2
    finally:
        await other.close()
    assert (await store.backlog()).replicas == 1
