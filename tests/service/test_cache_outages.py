"""Redis away, hanging, back: answers go on, and replicas agree again."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from contract.postgres_server import PostgresServer
from service.replicas import backend, eventually, got, replica, valkey


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="generation-test-") as folder:
        yield Path(folder) / "socket"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def ask(session: aiohttp.ClientSession, url: str, text: str, **headers: str) -> tuple[int, str, Any]:
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 4}
    async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as response:
        return response.status, response.headers.get("X-Cache", ""), await response.json()


async def available(session: aiohttp.ClientSession, url: str) -> bool:
    return bool((await got(session, f"{url}/api/cache/status"))["details"]["l2"]["available"])


async def test_cache_that_is_killed_and_comes_back_fails_no_request(
    postgres: PostgresServer, session: aiohttp.ClientSession, socket: Path
) -> None:
    database = await postgres.fresh()
    async with (
        backend(latency_ms=5) as model,
        valkey(socket) as server,
        replica(database, model.url, f"unix://{socket}") as only,
    ):
        statuses: list[int] = []
        stop = asyncio.Event()

        async def load() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                statuses.append((await ask(session, only.url, f"question {number % 20}"))[0])

        loads = [asyncio.create_task(load()) for _ in range(4)]
        await eventually(lambda: available(session, only.url))
        await asyncio.sleep(0.5)
        server.kill()
        await server.wait()
        await eventually(lambda: _not(available(session, only.url)))
        assert (await ask(session, only.url, "question 1"))[1] == "HIT-L1", "its own level goes on alone"
        async with valkey(socket):
            await eventually(lambda: available(session, only.url))
            await asyncio.sleep(0.5)
            stop.set()
            await asyncio.gather(*loads)
        assert len(statuses) > 100
        assert set(statuses) == {200}


async def _not(answer: Any) -> bool:
    return not await answer


async def test_hanging_cache_delays_no_answer_for_long(
    postgres: PostgresServer, session: aiohttp.ClientSession, socket: Path
) -> None:
    database = await postgres.fresh()
    async with (
        backend(latency_ms=5) as model,
        valkey(socket) as server,
        replica(database, model.url, f"unix://{socket}") as only,
    ):
        await ask(session, only.url, "warm-up")
        server.send_signal(signal.SIGSTOP)
        loop = asyncio.get_running_loop()
        for number in range(10):
            started = loop.time()
            status, _, _ = await ask(session, only.url, f"question {number}")
            assert status == 200
            # A call of Redis may take 0.1 s; without a bound it would hang for as long as Redis does.
            assert loop.time() - started < 5
        server.send_signal(signal.SIGCONT)
        await eventually(lambda: available(session, only.url))


async def test_after_a_refresh_no_replica_serves_the_older_answer(
    postgres: PostgresServer, session: aiohttp.ClientSession, socket: Path
) -> None:
    database = await postgres.fresh()
    async with (
        backend(latency_ms=1) as model,
        valkey(socket),
        replica(database, model.url, f"unix://{socket}") as first,
        replica(database, model.url, f"unix://{socket}") as second,
    ):
        for tokens in range(1, 31):
            # The backend's answer changes; a client of one replica asks for a fresh one.
            async with session.put(f"{model.url}/control", json={"tokens": tokens}) as response:
                assert response.status == 200
            body = {"messages": [{"role": "user", "content": "same"}]}
            async with session.post(
                f"{first.url}/v1/chat/completions", json=body, headers={"Cache-Control": "no-cache"}
            ) as response:
                fresh = await response.json()
            await asyncio.sleep(0.02)  # a notice takes about a millisecond
            for url in (first.url, second.url, second.url):
                async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                    assert await response.json() == fresh
                    assert response.headers["X-Cache"] in {"HIT-L1", "HIT-L2"}


async def test_one_question_asked_everywhere_at_once_is_generated_once(
    postgres: PostgresServer, session: aiohttp.ClientSession, socket: Path
) -> None:
    database = await postgres.fresh()
    options: dict[str, Any] = {"ai_api_concurrency": 50, "concurrent_workflows": 50}
    async with (
        backend(latency_ms=300) as model,
        valkey(socket),
        replica(database, model.url, f"unix://{socket}", **options) as first,
        replica(database, model.url, f"unix://{socket}", **options) as second,
    ):
        answers = await asyncio.gather(
            *(ask(session, url, "the same for all") for url in (first.url, second.url) for _ in range(25))
        )
        assert {status for status, _, _ in answers} == {200}
        assert (await got(session, f"{model.url}/counters"))["started"] == 1
