"""What every cache does, whatever is behind it; and what replicas that share a server do on top."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from generation_service.adapters.cache.settings import CacheSettings
from generation_service.adapters.cache.two_level import TwoLevelCache, build_cache
from generation_service.adapters.clock import LoopClock
from generation_service.ports import CacheStatus, CacheUse, Found, Loaded

HITS = {CacheStatus.HIT_L1, CacheStatus.HIT_L2}


class Replicas:
    """Makes caches that share one server and one prefix."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self.prefix = f"t{uuid.uuid4().hex[:12]}"
        self._caches: list[TwoLevelCache] = []

    async def add(self, **changes: Any) -> TwoLevelCache:
        chosen: dict[str, Any] = {
            "prefix": self.prefix,
            "probe_seconds": 0.1,
            "ttl_jitter": 0.0,
            "timeout_seconds": 2.0,
        } | changes
        settings = CacheSettings(**chosen)
        cache = build_cache(self._url, LoopClock(), settings)
        await cache.start()
        self._caches.append(cache)
        return cache

    async def close(self) -> None:
        for cache in self._caches:
            await cache.close()


@pytest.fixture
async def replicas(url: str | None) -> AsyncIterator[Replicas]:
    made = Replicas(url)
    yield made
    await made.close()


@pytest.fixture
async def cache(replicas: Replicas) -> TwoLevelCache:
    return await replicas.add()


class Loader:
    """Counts its calls; answers `value-N`, after `gate` if there is one."""

    def __init__(self, *, gate: asyncio.Event | None = None, seconds: float = 0.0, **loaded: Any) -> None:
        self.calls = 0
        self.cancelled = 0
        self._gate = gate
        self._seconds = seconds
        self._loaded = loaded

    async def __call__(self) -> Loaded:
        self.calls += 1
        number = self.calls
        try:
            if self._gate is not None:
                await self._gate.wait()
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Loaded(f"value-{number}".encode(), **self._loaded)


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if result if isinstance(result, bool) else await result:
                return
            await asyncio.sleep(0.005)


async def at_hand(cache: TwoLevelCache, key: str, namespace: str = "chat") -> Found:
    """Read until the answer is in the first level; own writes get there with a read."""
    found = None
    async with asyncio.timeout(5):
        while found is None:
            assert await cache.get(namespace, key) is not None
            found = cache.peek(namespace, key)
    return found


class CacheContract:
    """The module that uses this provides the fixture `url`."""

    async def test_second_fetch_is_a_hit_with_the_same_bytes(self, cache: TwoLevelCache) -> None:
        load = Loader()
        first = await cache.fetch("chat", "k", load)
        second = await cache.fetch("chat", "k", load)
        assert (first.value, first.status) == (b"value-1", CacheStatus.MISS)
        assert second.value == b"value-1"
        assert second.status in HITS
        assert load.calls == 1

    async def test_peek_answers_what_was_read_before_and_type_is_bytes(self, cache: TwoLevelCache) -> None:
        assert cache.peek("chat", "k") is None
        await cache.put("chat", "k", Loaded(b"\x00\xff"))
        found = await at_hand(cache, "k")
        assert (type(found.value), found.value, found.status) == (bytes, b"\x00\xff", CacheStatus.HIT_L1)
        assert 0 <= found.age_seconds < 5

    async def test_mutable_buffer_of_the_caller_is_copied(self, cache: TwoLevelCache) -> None:
        buffer = bytearray(b"good")
        await cache.put("chat", "k", Loaded(buffer))  # type: ignore[arg-type] # a bytearray is not what the port says
        buffer[:] = b"evil"
        found = await cache.get("chat", "k")
        assert found is not None
        assert found.value == b"good"

    async def test_ttl_of_the_caller_holds_on_both_levels(self, cache: TwoLevelCache) -> None:
        await cache.put("chat", "k", Loaded(b"v", ttl_seconds=0.25))
        assert await cache.contains("chat", "k")
        await at_hand(cache, "k")
        await asyncio.sleep(0.3)
        assert cache.peek("chat", "k") is None
        assert await cache.get("chat", "k") is None
        assert not await cache.contains("chat", "k")

    @pytest.mark.parametrize("ttl", [0.0, -1.0])
    async def test_answer_without_time_is_given_and_not_kept(self, cache: TwoLevelCache, ttl: float) -> None:
        found = await cache.fetch("chat", "k", Loader(ttl_seconds=ttl))
        assert found.value == b"value-1"
        assert not await cache.contains("chat", "k")

    async def test_negative_answer_is_a_hit_for_a_short_time_only(self, replicas: Replicas) -> None:
        cache = await replicas.add(negative_ttl_seconds=0.2)
        load = Loader(negative=True, ttl_seconds=3600.0)
        await cache.fetch("chat", "k", load)
        assert (await cache.fetch("chat", "k", load)).status in HITS
        await asyncio.sleep(0.25)
        assert (await cache.fetch("chat", "k", load)).status is CacheStatus.MISS

    async def test_no_store_neither_reads_nor_keeps(self, cache: TwoLevelCache) -> None:
        await cache.put("chat", "k", Loaded(b"old"))
        found = await cache.fetch("chat", "k", Loader(), CacheUse.NONE)
        assert (found.value, found.status) == (b"value-1", CacheStatus.BYPASS)
        kept = await cache.get("chat", "k")
        assert kept is not None
        assert kept.value == b"old"

    async def test_refresh_loads_and_replaces(self, cache: TwoLevelCache) -> None:
        await cache.put("chat", "k", Loaded(b"old"))
        await at_hand(cache, "k")
        found = await cache.fetch("chat", "k", Loader(), CacheUse.REFRESH)
        assert (found.value, found.status) == (b"value-1", CacheStatus.MISS)
        kept = await cache.get("chat", "k")
        assert kept is not None
        assert kept.value == b"value-1"

    async def test_put_is_seen_by_the_next_read_of_the_same_process(self, cache: TwoLevelCache) -> None:
        for number in range(50):
            await cache.put("chat", "k", Loaded(str(number).encode()))
            peeked = cache.peek("chat", "k")
            found = await cache.get("chat", "k")
            assert found is not None
            assert found.value == str(number).encode()
            assert peeked is None or peeked.value == found.value

    async def test_callers_of_one_key_share_one_load(self, cache: TwoLevelCache) -> None:
        load = Loader(seconds=0.05)
        found = await asyncio.gather(*(cache.fetch("chat", "k", load) for _ in range(50)))
        assert load.calls == 1
        assert {each.value for each in found} == {b"value-1"}
        assert cache.statistics().coalesced == 49

    async def test_cancelled_leader_does_not_disturb_the_others(self, cache: TwoLevelCache) -> None:
        gate = asyncio.Event()
        load = Loader(gate=gate)
        leader = asyncio.create_task(cache.fetch("chat", "k", load))
        await until(lambda: load.calls == 1)
        others = [asyncio.create_task(cache.fetch("chat", "k", load)) for _ in range(5)]
        await until(lambda: cache.statistics().coalesced == 5)
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        gate.set()
        assert {(await other).value for other in others} == {b"value-1"}
        assert (load.calls, load.cancelled, leader.cancelled()) == (1, 0, True)

    async def test_load_is_cancelled_when_nobody_waits_for_it(self, cache: TwoLevelCache) -> None:
        load = Loader(gate=asyncio.Event())
        callers = [asyncio.create_task(cache.fetch("chat", "k", load)) for _ in range(3)]
        await until(lambda: load.calls == 1 and cache.statistics().coalesced == 2)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        await until(lambda: load.cancelled == 1)
        assert (await cache.fetch("chat", "k", Loader())).status is CacheStatus.MISS

    async def test_failed_load_fails_all_callers_and_keeps_nothing(self, cache: TwoLevelCache) -> None:
        calls = 0

        async def broken() -> Loaded:
            nonlocal calls
            calls += 1
            await asyncio.sleep(0.05)
            raise RuntimeError("no answer")

        results = await asyncio.gather(*(cache.fetch("chat", "k", broken) for _ in range(5)), return_exceptions=True)
        assert [str(result) for result in results] == ["no answer"] * 5
        assert calls == 1
        assert (await cache.fetch("chat", "k", Loader())).status is CacheStatus.MISS

    async def test_delete_forgets_one_answer(self, cache: TwoLevelCache) -> None:
        await cache.put("chat", "a", Loaded(b"1"))
        await cache.put("chat", "b", Loaded(b"2"))
        await at_hand(cache, "a")
        await cache.delete("chat", "a")
        assert cache.peek("chat", "a") is None
        assert await cache.get("chat", "a") is None
        assert await cache.contains("chat", "b")

    async def test_deleted_while_it_loads_is_not_kept(self, cache: TwoLevelCache) -> None:
        gate = asyncio.Event()
        load = Loader(gate=gate)
        caller = asyncio.create_task(cache.fetch("chat", "k", load))
        await until(lambda: load.calls == 1)
        await cache.delete("chat", "k")
        gate.set()
        assert (await caller).value == b"value-1"
        assert not await cache.contains("chat", "k")

    async def test_purge_forgets_the_namespace_and_no_other(self, cache: TwoLevelCache) -> None:
        for key in ("a", "b"):
            await cache.put("chat", key, Loaded(b"1"))
        await cache.put("other", "a", Loaded(b"2"))
        await at_hand(cache, "a")
        await cache.purge("chat")
        assert cache.peek("chat", "a") is None
        assert [await cache.contains(*name) for name in (("chat", "a"), ("chat", "b"), ("other", "a"))] == [
            False,
            False,
            True,
        ]
        await cache.put("chat", "a", Loaded(b"3"))
        assert (await at_hand(cache, "a")).value == b"3"

    async def test_key_of_one_namespace_is_no_key_of_another(self, cache: TwoLevelCache) -> None:
        await cache.put("a", "k", Loaded(b"1"))
        assert await cache.get("b", "k") is None

    @pytest.mark.parametrize("namespace", ["", "a:b", "a b", "x" * 65])
    async def test_namespace_that_could_be_mistaken_is_refused(self, cache: TwoLevelCache, namespace: str) -> None:
        with pytest.raises(ValueError, match="namespace: "):
            await cache.get(namespace, "k")

    async def test_too_large_answer_is_given_and_not_kept(self, replicas: Replicas) -> None:
        cache = await replicas.add(max_value_bytes=100)
        assert (await cache.fetch("chat", "k", Loader())).status is CacheStatus.MISS
        await cache.put("chat", "k", Loaded(b"x" * 101))
        assert await cache.get("chat", "k") is None  # nor the smaller one from before

    async def test_old_schema_is_a_miss(self, replicas: Replicas) -> None:
        old, new = await replicas.add(schema=1), await replicas.add(schema=2)
        await old.put("chat", "k", Loaded(b"old"))
        assert await new.get("chat", "k") is None

    async def test_early_refresh_happens_in_the_background_and_once(self, replicas: Replicas) -> None:
        cache = await replicas.add(early_refresh=1e12)  # any answer that took time to load is due at once
        gate = asyncio.Event()
        first, second = Loader(seconds=0.05), Loader(gate=gate)
        await cache.fetch("chat", "k", first)
        found = [await cache.fetch("chat", "k", second) for _ in range(20)]
        assert {each.value for each in found} == {b"value-1"}
        assert {each.status for each in found} <= HITS
        await until(lambda: second.calls == 1)
        gate.set()
        await until(lambda: cache.statistics().early_refreshes == 1)
        assert second.calls == 1

    async def test_due_answer_is_refreshed_even_if_it_was_only_peeked_at(self, replicas: Replicas) -> None:
        cache = await replicas.add(early_refresh=1e12)
        load = Loader(seconds=0.05)
        await cache.fetch("chat", "k", load)
        found = cache.peek("chat", "k") or await cache.fetch("chat", "k", load)
        assert found.value == b"value-1"
        await until(lambda: cache.statistics().early_refreshes == 1)

    async def test_failed_early_refresh_leaves_the_old_answer(self, replicas: Replicas) -> None:
        cache = await replicas.add(early_refresh=1e12)

        async def broken() -> Loaded:
            raise RuntimeError("no answer")

        await cache.fetch("chat", "k", Loader(seconds=0.05))
        for _ in range(3):
            assert (await cache.fetch("chat", "k", broken)).value == b"value-1"
            await asyncio.sleep(0.02)
        assert cache.statistics().early_refresh_failures == 1

    async def test_statistics_have_no_ratio_without_a_sample_and_count_each_lookup_once(
        self, cache: TwoLevelCache
    ) -> None:
        empty = cache.statistics()
        assert (empty.hit_ratio, empty.l1.hit_ratio) == (None, None)
        await cache.fetch("chat", "k", Loader())
        await cache.fetch("chat", "k", Loader())
        await cache.get("chat", "other")
        await cache.contains("chat", "k")
        figures = cache.statistics()
        assert (figures.lookups, figures.hits, figures.loads) == (3, 1, 1)
        assert figures.hit_ratio == pytest.approx(1 / 3)
