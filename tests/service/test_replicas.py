"""Replicas that share a database: work survives the one that is killed, leaves, or loses its servers for a while."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from contract.postgres_server import PostgresServer
from generation_service.adapters.postgres.driver import PoolSettings, connect
from service.replicas import Program, backend, eventually, got, replica

CHAIN = ("one", "two", "three")
WAIT = {"Prefer": "wait=90"}


def chain(number: int) -> dict[str, Any]:
    return {
        "steps": [
            {
                "id": name,
                "type": "generate",
                "inputs": {"prompt": f"{name} of {number}", "max_tokens": 4},
                "depends_on": list(CHAIN[max(0, index - 1) : index]),
            }
            for index, name in enumerate(CHAIN)
        ],
        "deadline_seconds": 120,
    }


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        yield session


async def submitted(session: aiohttp.ClientSession, url: str, count: int) -> list[str]:
    ids = []
    for number in range(count):
        async with session.post(f"{url}/v1/workflows", json=chain(number)) as response:
            assert response.status == 202, await response.text()
            ids.append((await response.json())["id"])
    return ids


async def all_finished(session: aiohttp.ClientSession, url: str, ids: list[str]) -> list[dict[str, Any]]:
    records = [await got(session, f"{url}/v1/workflows/{workflow_id}", headers=WAIT) for workflow_id in ids]
    assert {record["status"] for record in records} == {"succeeded"}, records
    return records


async def events(session: aiohttp.ClientSession, url: str, workflow_id: str, after: int = 0) -> list[dict[str, Any]]:
    """The events of a stream until it ends or breaks off."""
    found: list[dict[str, Any]] = []
    try:
        async with session.get(
            f"{url}/v1/workflows/{workflow_id}/events", headers={"Last-Event-ID": str(after)}
        ) as response:
            fields: dict[str, str] = {}
            async for line in response.content:
                text = line.decode().rstrip("\n")
                if text.startswith(":"):
                    continue
                if text:
                    name, _, value = text.partition(": ")
                    fields[name] = value
                elif fields:
                    found.append({"id": fields.get("id"), "event": fields["event"], "data": json.loads(fields["data"])})
                    fields = {}
    except aiohttp.ClientError:
        pass
    return found


def checked(found: list[dict[str, Any]]) -> None:
    """No event is missing or twice, and every step succeeded once."""
    told = [event for event in found if event["event"] != "resume"]
    assert [int(event["id"]) for event in told] == list(range(1, len(told) + 1))
    assert [event["data"]["step"] for event in told if event["event"] == "step.succeeded"] == list(CHAIN)
    assert told[-1]["event"] == "workflow.succeeded"


async def test_work_of_a_killed_replica_is_finished_by_another_and_nothing_counts_twice(
    postgres: PostgresServer, session: aiohttp.ClientSession
) -> None:
    database = await postgres.fresh()
    options: dict[str, Any] = {"concurrent_workflows": 4, "ai_api_concurrency": 4}
    async with (
        backend(latency_ms=700) as model,
        replica(database, model.url, **options) as first,
        replica(database, model.url, **options) as second,
    ):
        ids = await submitted(session, first.url, 12)
        followed = [asyncio.create_task(events(session, first.url, workflow_id)) for workflow_id in ids]
        await eventually(lambda: _any_running_here(session, first))
        await asyncio.sleep(1.0)  # in the middle of a step, some steps done
        first.kill()
        seen = [await task for task in followed]
        records = await all_finished(session, second.url, ids)
        for workflow_id, before in zip(ids, seen, strict=True):
            rest = await events(session, second.url, workflow_id, int(before[-1]["id"]) if before else 0)
            checked(before + rest)
        assert any(record["attempt"] == 2 for record in records), "the killed replica was at work"


async def _any_running_here(session: aiohttp.ClientSession, program: Program) -> bool:
    async with session.get(f"{program.url}/load") as response:
        return not (await response.text()).splitlines()[0].endswith(" 0")


async def test_replica_that_leaves_hands_back_its_work_and_tells_followers_to_resume(
    postgres: PostgresServer, session: aiohttp.ClientSession
) -> None:
    database = await postgres.fresh()
    async with (
        backend(latency_ms=1500) as model,
        replica(database, model.url, concurrent_workflows=3, drain_seconds=1) as first,
    ):
        ids = await submitted(session, first.url, 6)
        followed = [asyncio.create_task(events(session, first.url, workflow_id)) for workflow_id in ids]
        await eventually(lambda: _any_running_here(session, first))
        first.terminate()
        seen = [await task for task in followed]
        assert await asyncio.wait_for(first.process.wait(), 15) == 0
        assert {run[-1]["event"] for run in seen} == {"resume"}
        async with replica(database, model.url, ai_api_concurrency=20) as second:
            await all_finished(session, second.url, ids)
            for workflow_id, before in zip(ids, seen, strict=True):
                told = [event for event in before if event["event"] != "resume"]
                checked(told + await events(session, second.url, workflow_id, int(told[-1]["id"])))


async def test_database_that_restarts_costs_no_accepted_workflow(
    postgres: PostgresServer, session: aiohttp.ClientSession
) -> None:
    database = await postgres.fresh()
    async with replica(database, simulated_latency_milliseconds=400, concurrent_workflows=4) as only:
        ids = await submitted(session, only.url, 12)
        await eventually(lambda: _any_running_here(session, only))
        await asyncio.to_thread(postgres.kill)
        try:
            await eventually(lambda: _status_is(session, f"{only.url}/readyz", 503))
            async with session.post(f"{only.url}/v1/workflows", json=chain(99)) as refused:
                assert (refused.status, refused.headers["Retry-After"]) == (503, "2"), await refused.text()
            async with session.get(f"{only.url}/healthz") as health:
                assert health.status == 200, "a database that is away is no reason to restart the service"
        finally:
            await asyncio.to_thread(postgres.start)
        await eventually(lambda: _status_is(session, f"{only.url}/readyz", 200))
        await all_finished(session, only.url, ids)


async def test_full_disk_of_the_database_is_503_until_there_is_room(
    postgres: PostgresServer, session: aiohttp.ClientSession
) -> None:
    database = await postgres.fresh()
    async with replica(database, simulated_latency_milliseconds=0) as only:
        administrator = await connect(database, PoolSettings())
        await administrator.execute(
            """
            CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
            CREATE TRIGGER full_disk BEFORE INSERT ON workflows EXECUTE FUNCTION full_disk();
            """
        )
        async with session.post(f"{only.url}/v1/workflows", json=chain(1)) as refused:
            problem = await refused.json()
        await administrator.execute("DROP TRIGGER full_disk ON workflows")
        administrator.terminate()
        assert (refused.status, problem["type"]) == (503, "urn:generation-service:problem:store-unavailable")
        assert "disk is full" in problem["detail"]
        await all_finished(session, only.url, await submitted(session, only.url, 2))


async def test_more_work_than_fits_is_refused_while_the_load_is_still_told(
    postgres: PostgresServer, session: aiohttp.ClientSession
) -> None:
    database = await postgres.fresh()
    options: dict[str, Any] = {"simulated_latency_milliseconds": 20_000, "concurrent_workflows": 2, "queue_limit": 20}
    async with replica(database, **options) as only:

        async def post(number: int) -> tuple[int, str | None]:
            async with session.post(f"{only.url}/v1/workflows", json=chain(number)) as response:
                return response.status, response.headers.get("Retry-After")

        answers = await asyncio.gather(*(post(number) for number in range(200)))
        statuses = [status for status, _ in answers]
        assert set(statuses) == {202, 429}
        assert 20 <= statuses.count(202) <= 30
        assert all(wait is not None and int(wait) >= 1 for status, wait in answers if status == 429)
        async with session.get(f"{only.url}/load") as response:
            figures = [float(line.rpartition(" ")[2]) for line in (await response.text()).splitlines()]
        assert figures[2] == 200


async def _status_is(session: aiohttp.ClientSession, url: str, status: int) -> bool:
    async with session.get(url) as response:
        return response.status == status
