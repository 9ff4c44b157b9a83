"""A generator that fails in every way, seen by a client of the whole service."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from contract.postgres_server import PostgresServer
from service.replicas import Program, backend, eventually, got, replica

CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 200}
FRESH = {"Cache-Control": "no-store"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def behave(session: aiohttp.ClientSession, model: Program, **settings: Any) -> None:
    usual = {"fail_rate": 0, "hang_rate": 0, "cut_stream_rate": 0, "retry_after": "", "tokens_per_second": 0}
    async with session.put(f"{model.url}/control", json=usual | settings) as response:
        assert response.status == 200, await response.text()


async def chat(session: aiohttp.ClientSession, url: str, **fields: Any) -> tuple[int, dict[str, str], str]:
    async with session.post(f"{url}/v1/chat/completions", json=CHAT | fields, headers=FRESH) as response:
        return response.status, dict(response.headers), await response.text()


async def idle(session: aiohttp.ClientSession, model: Program) -> bool:
    return bool((await got(session, f"{model.url}/counters"))["running"] == 0)


async def test_each_fault_has_its_answer_and_ends_with_it(
    postgres: PostgresServer, session: aiohttp.ClientSession
) -> None:
    async with (
        backend(latency_ms=5) as model,
        replica(await postgres.fresh(), model.url, workflow_deadline_seconds=2) as only,
    ):
        await behave(session, model, fail_rate=1, status=429, retry_after="30")
        status, headers, text = await chat(session, only.url)
        assert status == 429, text
        assert (status, headers["Retry-After"]) == (429, "30"), "longer than anybody may wait here"
        await behave(session, model, hang_rate=1)
        assert (await chat(session, only.url))[0] == 504
        await eventually(lambda: idle(session, model), 1)
        await behave(session, model, cut_stream_rate=1)
        status, _, text = await chat(session, only.url, stream=True)
        assert status == 200
        assert "generator_failed" in text
        assert "[DONE]" not in text
        await behave(session, model, fail_rate=1, status=422)
        status, _, text = await chat(session, only.url)
        assert (status, text) == (422, '{"error":{"message":"simulated failure"}}'), "its own words about a bad request"
        await behave(session, model, fail_rate=1, status=500)
        statuses = [(await chat(session, only.url))[0] for _ in range(25)]
        assert set(statuses) == {502, 503}, "the breaker opens"
        await behave(session, model)

        async def works() -> bool:
            return (await chat(session, only.url))[0] == 200

        await eventually(works, 15)


async def test_client_that_leaves_a_stream_stops_the_generation_within_a_second(
    postgres: PostgresServer, session: aiohttp.ClientSession
) -> None:
    async with (
        backend(latency_ms=5, tokens_per_second=20) as model,
        replica(await postgres.fresh(), model.url) as only,
    ):
        for headers in (FRESH, {}):
            response = await session.post(
                f"{only.url}/v1/chat/completions", json=CHAT | {"stream": True}, headers=headers
            )
            await response.content.readany()
            assert not await idle(session, model)
            response.close()
            await eventually(lambda: idle(session, model), 1)
        assert (await got(session, f"{model.url}/counters"))["cancelled"] == 2


async def test_step_of_a_workflow_is_tried_again_when_the_generator_recovers(
    postgres: PostgresServer, session: aiohttp.ClientSession
) -> None:
    async with backend(latency_ms=5) as model, replica(await postgres.fresh(), model.url) as only:
        await behave(session, model, fail_rate=1, status=503)
        step = {"id": "a", "type": "generate", "inputs": {"prompt": "x", "max_tokens": 2}}
        posting = asyncio.create_task(
            session.post(f"{only.url}/v1/workflows", json={"steps": [step]}, headers={"Prefer": "wait=60"})
        )

        async def failed_thrice() -> bool:
            return bool((await got(session, f"{model.url}/counters"))["failed"] >= 3)

        await eventually(failed_thrice)
        await behave(session, model)
        response = await posting
        body = await response.json()
        assert (response.status, body["status"]) == (200, "succeeded"), body
