"""Chat completions: each question once, streams shared, stopped when nobody reads, kept only when whole."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

import orjson
import pytest

from generation_service.engine.completions import STREAMED, WHOLE, ChatRequest, Completions, Stream
from generation_service.engine.pools import Pool, PoolFullError
from generation_service.ports import CacheStatus, CacheUse, GeneratorError
from service_fakes import FakeCache, FakeClock, FakeGenerator, NoWarmer, settle


def ask(text: str) -> ChatRequest:
    return ChatRequest.of(orjson.dumps({"messages": [{"role": "user", "content": text}]}))


class World:
    def __init__(self, size: int = 5, queue: int = 10) -> None:
        self.clock = FakeClock()
        self.generator = FakeGenerator(self.clock)
        self.cache = FakeCache()
        self.pool = Pool("ai_api", size, queue)
        self.completions = Completions(self.generator, self.cache, self.pool, NoWarmer())

    async def read(self, stream: Stream) -> bytes:
        async with aclosing(stream.parts) as parts:
            return b"".join([part async for part in parts])


async def test_answer_is_kept_and_found_again() -> None:
    world = World()
    first = asyncio.create_task(world.completions.complete(ask("a"), 30))
    await world.clock.pass_time(1)
    assert (await first).status is CacheStatus.MISS
    assert world.completions.peek(ask("a")) is not None
    assert (await world.completions.complete(ask("a"), 30)).value == (await first).value
    assert world.generator.started == ["a"]


async def test_no_store_neither_reads_nor_keeps() -> None:
    world = World()
    for _ in range(2):
        task = asyncio.create_task(world.completions.complete(ask("a"), 30, CacheUse.NONE))
        await world.clock.pass_time(1)
        assert (await task).status is CacheStatus.BYPASS
    assert world.generator.started == ["a", "a"]
    assert not world.cache.kept


async def test_calls_are_bounded_by_the_pool_and_the_queue_before_it() -> None:
    world = World(size=2, queue=1)
    tasks = [asyncio.create_task(world.completions.complete(ask(name), 30)) for name in "abcd"]
    await world.clock.pass_time(5)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results].count(PoolFullError) == 1
    assert world.generator.most_running == 2


async def test_wait_for_the_pool_ends_with_the_time_that_is_given() -> None:
    world = World(size=1)
    first = asyncio.create_task(world.completions.complete(ask("a"), 30))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await world.completions.complete(ask("b"), 0.01, CacheUse.NONE)
    await world.clock.pass_time(5)
    assert (await first).status is CacheStatus.MISS
    assert world.generator.started == ["a"]
    after = asyncio.create_task(world.completions.complete(ask("c"), 30))
    await world.clock.pass_time(5)
    assert (await after).status is CacheStatus.MISS, "the place of the one who gave up is free"


async def test_gate_is_entered_only_when_the_generator_is_asked() -> None:
    world = World()
    entered: list[str] = []

    def gate(_timeout_seconds: float) -> AbstractAsyncContextManager[None]:
        @asynccontextmanager
        async def inner() -> AsyncIterator[None]:
            entered.append("in")
            yield
            entered.append("out")

        return inner()

    task = asyncio.create_task(world.completions.complete(ask("a"), 30, gate=gate))
    await world.clock.pass_time(1)
    await task
    await world.completions.complete(ask("a"), 30, gate=gate)
    assert entered == ["in", "out"]


async def test_stream_is_passed_on_and_replayed_from_the_cache() -> None:
    world = World()
    reading = asyncio.create_task(world.read(await world.completions.stream(ask("abc"), 30)))
    await world.clock.pass_time(10)
    assert await reading == b"ABC"
    again = await world.completions.stream(ask("abc"), 30)
    assert again.status is CacheStatus.HIT_L1
    assert await world.read(again) == b"ABC"
    assert world.generator.started == ["abc"]


async def test_readers_of_one_question_share_one_stream_each_from_its_beginning() -> None:
    world = World()
    first = asyncio.create_task(world.read(await world.completions.stream(ask("abc"), 30)))
    await world.clock.pass_time(2)  # "A" is out
    second = asyncio.create_task(world.read(await world.completions.stream(ask("abc"), 30)))
    await world.clock.pass_time(10)
    assert await first == await second == b"ABC"
    assert world.generator.started == ["abc"]


async def test_stream_goes_on_for_the_reader_who_stays() -> None:
    world = World()
    first = asyncio.create_task(world.read(await world.completions.stream(ask("abc"), 30)))
    second = asyncio.create_task(world.read(await world.completions.stream(ask("abc"), 30)))
    await world.clock.pass_time(2)
    first.cancel()
    await world.clock.pass_time(10)
    assert await second == b"ABC"
    assert first.cancelled()
    assert world.generator.stopped == []


@pytest.mark.parametrize("use", [CacheUse.NORMAL, CacheUse.NONE])
async def test_generation_stops_when_the_last_reader_has_gone(use: CacheUse) -> None:
    world = World()
    readers = [
        asyncio.create_task(world.read(await world.completions.stream(ask("abc"), 30, use)))
        for _ in range(1 if use is CacheUse.NONE else 2)
    ]
    await world.clock.pass_time(2)
    for reader in readers:
        reader.cancel()
    await settle()
    assert world.generator.running == 0
    assert world.generator.stopped == ["abc"]
    assert world.pool.busy == 0
    assert not world.cache.kept


async def test_reader_who_stops_between_two_parts_stops_the_generation_too() -> None:
    world = World()
    stream = await world.completions.stream(ask("abc"), 30, CacheUse.NONE)
    first = asyncio.ensure_future(anext(stream.parts))
    await world.clock.pass_time(2)
    assert await first == b"A"
    await stream.parts.aclose()
    assert world.pool.busy == 0


async def test_stream_that_breaks_off_is_an_error_for_all_and_is_not_kept() -> None:
    world = World()
    readers = [asyncio.create_task(world.read(await world.completions.stream(ask("cut"), 30))) for _ in range(2)]
    await world.clock.pass_time(10)
    results = await asyncio.gather(*readers, return_exceptions=True)
    assert [type(result) for result in results] == [GeneratorError] * 2
    assert not world.cache.kept
    assert world.pool.busy == 0


async def test_streams_and_whole_answers_are_kept_apart() -> None:
    world = World()
    reading = asyncio.create_task(world.read(await world.completions.stream(ask("ab"), 30)))
    task = asyncio.create_task(world.completions.complete(ask("ab"), 30))
    await world.clock.pass_time(10)
    await asyncio.gather(reading, task)
    assert {namespace for namespace, _ in world.cache.kept} == {WHOLE, STREAMED}
