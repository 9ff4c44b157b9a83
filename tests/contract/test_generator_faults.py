"""A backend that hangs, refuses, fails, lies or breaks off: right errors, few retries, nothing left running."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from contract.generator_contract import ask
from generation_service.adapters.clock import LoopClock
from generation_service.adapters.generators.openai import GeneratorSettings, OpenAIGenerator
from generation_service.adapters.generators.resilience import BreakerState
from generation_service.ports import GeneratorError
from generation_service.testing.backend import BACKEND, Backend, BackendSettings, create_backend

FAST = {"first_pause_seconds": 0.02, "longest_pause_seconds": 0.1, "breaker_seconds": 0.2}


@asynccontextmanager
async def world(
    settings: dict[str, float] | None = None, **behaviour: float | str
) -> AsyncIterator[tuple[OpenAIGenerator, Backend]]:
    app = create_backend(BackendSettings(**({"latency_ms": 5} | behaviour)))  # type: ignore[arg-type]
    async with TestServer(app) as server, asking(str(server.make_url("")), settings) as generator:
        yield generator, app[BACKEND]


@asynccontextmanager
async def asking(url: str, settings: dict[str, float] | None = None) -> AsyncIterator[OpenAIGenerator]:
    generator = OpenAIGenerator(
        url,
        key="secret",
        settings=GeneratorSettings(**(FAST | (settings or {}))),  # type: ignore[arg-type]
        clock=LoopClock(),
    )
    await generator.start()
    try:
        yield generator
    finally:
        await generator.close()


async def refused(generator: OpenAIGenerator, timeout_seconds: float = 5) -> GeneratorError:
    with pytest.raises(GeneratorError) as caught:
        await generator.complete(ask(), timeout_seconds)
    assert "secret" not in str(caught.value)
    return caught.value


async def begun(backend: Backend) -> None:
    while not backend.counters.running:  # noqa: ASYNC110 - the backend is another program's
        await asyncio.sleep(0.005)


async def stopped(backend: Backend) -> None:
    """Return when the backend works on nothing; fail after a second."""
    async with asyncio.timeout(1):
        while backend.counters.running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_error_that_passes_is_tried_again_and_counted() -> None:
    async with world(fail_rate=1, status=503) as (generator, backend):

        async def heal() -> None:
            while backend.counters.failed < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            backend.settings = BackendSettings(latency_ms=5)

        healing = asyncio.create_task(heal())
        completion = await generator.complete(ask(), 5)
        await healing
    assert completion.retries == 2


@pytest.mark.parametrize(("status", "attempts"), [(429, 3), (502, 3), (503, 3), (504, 3), (500, 1), (400, 1), (404, 1)])
async def test_only_errors_that_may_pass_are_tried_again(status: int, attempts: int) -> None:
    async with world(fail_rate=1, status=status) as (generator, backend):
        error = await refused(generator)
        assert backend.counters.started == attempts
    assert error.status == status
    assert error.body is not None


async def test_retry_after_is_honoured_up_to_the_deadline() -> None:
    async with world(fail_rate=1, status=429, retry_after="1") as (generator, backend):
        loop = asyncio.get_running_loop()
        started = loop.time()
        error = await refused(generator, 1.5)
        assert loop.time() - started >= 1
        assert backend.counters.started == 2, "the second pause would have gone beyond the deadline"
    assert error.retry_after_seconds == 1


async def test_retries_stop_when_their_budget_is_spent() -> None:
    async with world({"breaker_seconds": 0.0}, fail_rate=1, status=429) as (generator, backend):
        for _ in range(30):
            await refused(generator)
        assert backend.counters.started <= 30 + 10 + 3


async def test_hanging_backend_is_given_up_at_the_deadline_and_hears_of_it() -> None:
    async with world(hang_rate=1) as (generator, backend):
        error = await refused(generator, 0.2)
        await stopped(backend)
        assert backend.counters.cancelled == 1
    assert "did not answer in time" in str(error)


async def test_failing_backend_is_left_alone_and_found_again() -> None:
    async with world(fail_rate=1, status=500) as (generator, backend):
        for _ in range(5):
            await refused(generator)
        assert not await generator.healthy()
        started = backend.counters.started
        error = await refused(generator)
        assert backend.counters.started == started, "nothing was sent"
        assert error.retry_after_seconds is not None
        backend.settings = BackendSettings(latency_ms=5)
        await asyncio.sleep(0.25)
        assert await generator.complete(ask(), 5)
        assert generator.breaker_state is BreakerState.CLOSED


async def test_bad_requests_say_nothing_about_the_backend() -> None:
    async with world(fail_rate=1, status=422) as (generator, _):
        for _ in range(30):
            await refused(generator)
        assert generator.breaker_state is BreakerState.CLOSED


async def test_backend_that_is_not_there_is_an_error_without_its_address(unused_tcp_port: int) -> None:
    async with asking(f"http://127.0.0.1:{unused_tcp_port}/v1") as generator:
        error = await refused(generator)
    assert "cannot be reached" in str(error)
    assert str(unused_tcp_port) not in str(error)


@pytest.mark.parametrize("url", ["", "host:80", "ftp://host", "http://", "http://[x", "http://user:word@host/v1"])
async def test_url_that_cannot_be_used_is_refused_before_the_start(url: str) -> None:
    generator = OpenAIGenerator(url, key="secret", settings=GeneratorSettings(), clock=LoopClock())
    with pytest.raises(ValueError, match="GENERATOR_URL"):
        await generator.start()


async def test_answer_that_is_not_json_is_refused() -> None:
    async with world(garbage_rate=1) as (generator, _):
        assert "not JSON" in str(await refused(generator))


async def test_answer_beyond_all_bounds_is_refused() -> None:
    async with world({"largest_answer_bytes": 1000}, tokens=64) as (generator, _):
        with pytest.raises(GeneratorError, match="larger than 1000 bytes"):
            await generator.complete(ask(max_tokens=1000), 5)


async def test_stream_that_breaks_off_is_an_error_and_never_repeated() -> None:
    async with world(cut_stream_rate=1) as (generator, backend):
        async with aclosing(generator.stream(ask(stream=True, max_tokens=10), 5)) as parts:
            assert [await anext(parts) for _ in range(5)]
            with pytest.raises(GeneratorError, match="broke off"):
                await anext(parts)
        assert backend.counters.started == 1


async def test_stream_whose_reader_leaves_stops_within_a_second() -> None:
    async with world(tokens_per_second=50) as (generator, backend):
        async with aclosing(generator.stream(ask(stream=True, max_tokens=1000), 30)) as parts:
            await anext(parts)
        await stopped(backend)
        assert backend.counters.cancelled == 1


async def test_cancelled_call_stops_within_a_second() -> None:
    async with world(latency_ms=60_000) as (generator, backend):
        task = asyncio.create_task(generator.complete(ask(), 90))
        await begun(backend)
        task.cancel()
        await stopped(backend)
        assert backend.counters.cancelled == 1
        assert generator.breaker_state is BreakerState.CLOSED


async def test_silent_stream_is_given_up_at_the_deadline() -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"choices":[]}\n\n')
        await asyncio.sleep(30)
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", silent)
    async with (
        TestServer(app) as server,
        asking(str(server.make_url("/v1"))) as generator,
        aclosing(generator.stream(ask(stream=True), 0.3)) as parts,
    ):
        assert await anext(parts)
        with pytest.raises(GeneratorError, match="in time"):
            await anext(parts)


async def test_rate_limit_spreads_the_calls() -> None:
    async with world({"requests_per_second": 10}) as (generator, _):
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.gather(*(generator.complete(ask(), 5) for _ in range(15)))
        assert loop.time() - started >= 0.4, "ten at once, then one every 100 ms"
