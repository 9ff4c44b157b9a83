"""The cache on a clock that the test moves: times are exact, chance is what the test says."""

import asyncio
from typing import Any

import pytest

from generation_service.adapters.cache.l1 import Level1
from generation_service.adapters.cache.settings import CacheSettings
from generation_service.adapters.cache.two_level import TwoLevelCache
from generation_service.ports import CacheStatus, Loaded
from service_fakes import FakeClock, settle


class Chance:
    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def __call__(self) -> float:
        return self.value


def make(clock: FakeClock, chance: Chance | None = None, **changes: Any) -> TwoLevelCache:
    settings = CacheSettings(**({"ttl_seconds": 100.0} | changes))
    l1 = Level1(clock, max_entries=1_000, max_bytes=10**7, max_value_bytes=10**6)
    return TwoLevelCache(l1, None, clock, settings=settings, chance=chance or Chance())


def loader(clock: FakeClock, seconds: float = 0.0, value: bytes = b"v", **loaded: Any) -> Any:
    async def load() -> Loaded:
        clock.seconds += seconds
        return Loaded(value, **loaded)

    return load


@pytest.mark.parametrize(
    ("loaded", "factor", "chance", "ttl"),
    [
        pytest.param({}, 1.0, 0.0, 100.0, id="own-ttl"),
        pytest.param({}, 1.0, 0.5, 95.0, id="jitter-only-shortens"),
        pytest.param({}, 3.0, 0.0, 300.0, id="factor"),
        pytest.param({}, 9.0, 0.0, 400.0, id="factor-is-bounded"),
        pytest.param({}, 0.1, 0.0, 100.0, id="factor-never-shortens"),
        pytest.param({"ttl_seconds": 7.0}, 4.0, 0.0, 7.0, id="a-ttl-of-the-maker-stays"),
        pytest.param({"negative": True}, 4.0, 0.0, 10.0, id="negative"),
        pytest.param({"negative": True, "ttl_seconds": 2.0}, 1.0, 0.0, 2.0, id="shorter-negative"),
    ],
)
async def test_time_that_an_answer_is_kept(loaded: dict[str, Any], factor: float, chance: float, ttl: float) -> None:
    clock = FakeClock()
    cache = make(clock, Chance(chance))
    cache.set_ttl_factor(factor)
    await cache.put("chat", "k", Loaded(b"v", **loaded))
    assert await cache.remaining("chat", "k") == pytest.approx(ttl)
    clock.seconds = ttl - 0.001
    assert cache.peek("chat", "k") is not None
    clock.seconds = ttl
    assert cache.peek("chat", "k") is None


async def test_jump_of_the_wall_clock_changes_nothing() -> None:
    """Only the monotonic clock is asked; the test's clock has no other time to jump."""
    clock = FakeClock(seconds=10**9)
    cache = make(clock)
    await cache.put("chat", "k", Loaded(b"v"))
    clock.seconds += 40
    found = cache.peek("chat", "k")
    assert found is not None
    assert found.age_seconds == 40.0


@pytest.mark.parametrize(
    ("elapsed", "chance", "refreshed"),
    [
        pytest.param(50.0, 0.999, False, id="far-from-the-end"),
        pytest.param(98.0, 0.5, False, id="near-the-end-and-unlucky"),  # -ln(0.5) * 2 s = 1.4 s < 2 s left
        pytest.param(98.0, 0.7, True, id="near-the-end-and-lucky"),  # -ln(0.3) * 2 s = 2.4 s > 2 s left
    ],
)
async def test_early_refresh_is_likelier_the_nearer_the_end(elapsed: float, chance: float, refreshed: bool) -> None:
    clock, luck = FakeClock(), Chance()
    cache = make(clock, luck)
    await cache.fetch("chat", "k", loader(clock, seconds=2.0))
    clock.seconds = 2.0 + elapsed
    luck.value = chance
    found = await cache.fetch("chat", "k", loader(clock, value=b"new"))
    assert (found.value, found.status) == (b"v", CacheStatus.HIT_L1)
    await settle()
    assert cache.statistics().early_refreshes == refreshed


async def test_negative_answer_is_never_refreshed_early() -> None:
    clock, luck = FakeClock(), Chance()
    cache = make(clock, luck)
    await cache.fetch("chat", "k", loader(clock, seconds=5.0, negative=True))
    luck.value = 0.999
    clock.seconds = 14.9
    assert cache.peek("chat", "k") is not None


async def test_peek_hands_a_due_answer_to_one_fetch_and_keeps_serving_it() -> None:
    clock, luck = FakeClock(), Chance()
    cache = make(clock, luck)
    await cache.fetch("chat", "k", loader(clock, seconds=2.0))
    clock.seconds, luck.value = 101.0, 0.9
    assert cache.peek("chat", "k") is None
    assert cache.peek("chat", "k") is not None  # somebody was told already
    luck.value = 0.0  # the fetch does not roll the dice again
    assert (await cache.fetch("chat", "k", loader(clock, value=b"new"))).value == b"v"
    await settle()
    found = cache.peek("chat", "k")
    assert found is not None
    assert found.value == b"new"


async def test_refresh_that_fails_is_not_tried_again_at_once() -> None:
    clock, luck = FakeClock(), Chance()
    cache = make(clock, luck)
    await cache.fetch("chat", "k", loader(clock, seconds=20.0))
    clock.seconds, luck.value = 100.0, 0.999
    calls = 0

    async def broken() -> Loaded:
        nonlocal calls
        calls += 1
        raise RuntimeError("no answer")

    for seconds in (0.0, 1.0, 3.0, 2.0):
        clock.seconds += seconds
        assert (await cache.fetch("chat", "k", broken)).value == b"v"
        await settle()
    assert calls == 2  # at 100 s, and at 106 s after a rest of 5 s
    assert cache.statistics().early_refresh_failures == 2


async def test_early_refreshes_at_one_time_are_bounded() -> None:
    clock, luck = FakeClock(), Chance()
    cache = make(clock, luck, max_refreshes=2)
    for number in range(5):
        await cache.fetch("chat", f"k{number}", loader(clock, seconds=10.0))
    clock.seconds, luck.value = 99.0, 0.9999
    gate, begun = asyncio.Event(), 0

    async def slow() -> Loaded:
        nonlocal begun
        begun += 1
        await gate.wait()
        return Loaded(b"new")

    for number in range(5):
        await cache.fetch("chat", f"k{number}", slow)
    await settle()
    assert begun == 2
    gate.set()
    await cache.close()


async def test_closed_cache_leaves_no_refresh_behind() -> None:
    clock, luck = FakeClock(), Chance()
    cache = make(clock, luck)
    await cache.fetch("chat", "k", loader(clock, seconds=10.0))
    luck.value = 0.999
    clock.seconds = 105.0
    cancelled = False

    async def endless() -> Loaded:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise
        return Loaded(b"never")

    await cache.fetch("chat", "k", endless)
    await settle()
    await cache.close()
    assert cancelled


async def test_memory_pressure_shrinks_and_gives_back() -> None:
    clock = FakeClock()
    cache = make(clock)
    for number in range(500):
        await cache.put("chat", f"k{number}", Loaded(b"x" * 100, ttl_seconds=10.0 + number))
    assert cache.shrink(0.1) > 0
    assert cache.statistics().l1.entries <= 100
    cache.restore()
    assert cache.statistics().l1.max_entries == 1_000
    clock.seconds = 10_000.0
    entries = cache.statistics().l1.entries
    assert cache.purge_expired() == entries > 0
    assert cache.statistics().l1.entries == 0


async def test_claim_without_a_second_level_is_always_given() -> None:
    cache = make(FakeClock())
    assert [await cache.claim("chat", "k", 10.0) for _ in range(2)] == [True, True]
