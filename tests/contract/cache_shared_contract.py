"""What caches do that share a server: they agree, and load once."""

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from contract.cache_contract import HITS, Loader, Replicas, at_hand, until
from generation_service.adapters.cache.l1 import Level1
from generation_service.adapters.cache.redis_level import RedisLevel
from generation_service.adapters.cache.settings import CacheSettings
from generation_service.adapters.cache.two_level import TwoLevelCache
from generation_service.adapters.clock import LoopClock
from generation_service.ports import CacheStatus, CacheUse, Loaded

TRIES = 1_000


class LateRead(RedisLevel):
    """Redis whose answers are held up on their way once there is a gate."""

    gate: asyncio.Event | None = None
    held = 0

    async def read(self, key: str) -> bytes | None:
        raw = await super().read(key)
        if self.gate is not None:
            self.held += 1
            await self.gate.wait()
        return raw


class SharedCacheContract:
    """The module that uses this provides the fixture `url` of a server."""

    async def test_replica_sees_what_another_one_kept(self, replicas: Replicas) -> None:
        one, two = await replicas.add(), await replicas.add()
        await one.put("chat", "k", Loaded(b"v"))
        found = await two.get("chat", "k")
        assert found is not None
        assert (found.value, found.status) == (b"v", CacheStatus.HIT_L2)
        assert (await at_hand(two, "k")).status is CacheStatus.HIT_L1

    async def test_copy_is_dropped_when_another_replica_replaces_it(self, replicas: Replicas) -> None:
        one, two = await replicas.add(), await replicas.add()
        await one.put("chat", "k", Loaded(b"old"))
        await at_hand(two, "k")
        await one.put("chat", "k", Loaded(b"new"))
        await until(lambda: two.peek("chat", "k") is None, seconds=1.0)
        assert (await at_hand(two, "k")).value == b"new"

    async def test_delete_and_purge_reach_the_other_replica(self, replicas: Replicas) -> None:
        one, two = await replicas.add(), await replicas.add()
        for key in ("a", "b"):
            await one.put("chat", key, Loaded(b"old"))
            await at_hand(two, key)
        await one.delete("chat", "a")
        await until(lambda: two.peek("chat", "a") is None, seconds=1.0)
        assert two.peek("chat", "b") is not None
        await one.purge("chat")
        await until(lambda: two.peek("chat", "b") is None, seconds=1.0)
        assert await two.get("chat", "b") is None

    async def test_two_replicas_that_write_one_key_never_disagree(self, replicas: Replicas) -> None:
        """A write each at the same time, reads in between; then both and the server hold the same."""
        one, two = await replicas.add(), await replicas.add()

        async def write(cache: TwoLevelCache, key: str, value: bytes) -> None:
            await cache.put("chat", key, Loaded(value))
            await cache.get("chat", key)

        async def check(number: int) -> tuple[bytes, bytes]:
            key = f"k{number % 50}"  # also over values of earlier rounds
            await asyncio.gather(
                write(one, key, b"one-%d" % number),
                two.get("chat", key),
                write(two, key, b"two-%d" % number),
                one.get("chat", key),
            )
            await asyncio.sleep(0.002)  # notices are under way for up to a millisecond
            return await settled(one, key), await settled(two, key)

        async def settled(cache: TwoLevelCache, key: str) -> bytes:
            found = cache.peek("chat", key) or await cache.get("chat", key)
            assert found is not None
            return found.value

        disagreements = 0
        for start in range(0, TRIES, 25):
            pairs = await asyncio.gather(*(check(number) for number in range(start, start + 25)))
            disagreements += sum(first != second for first, second in pairs)
        assert disagreements == 0

    async def test_value_that_was_replaced_on_its_way_is_not_kept(self, replicas: Replicas, url: str) -> None:
        other = await replicas.add()
        settings, clock = CacheSettings(prefix=replicas.prefix, timeout_seconds=2.0), LoopClock()
        l1 = Level1(clock, max_entries=10, max_bytes=10**6, max_value_bytes=10**5)
        late = LateRead(url, clock, settings)
        cache = TwoLevelCache(l1, late, clock, settings=settings)
        await cache.start()
        await other.put("chat", "k", Loaded(b"old"))
        await cache.get("chat", "any")  # so that the generation is known
        late.gate = asyncio.Event()
        reader = asyncio.create_task(cache.get("chat", "k"))
        await until(lambda: late.held == 1)
        await other.put("chat", "k", Loaded(b"new"))
        await asyncio.sleep(0.05)  # the notice takes less than a millisecond
        late.gate.set()
        found = await reader
        peeked = cache.peek("chat", "k")
        await cache.close()
        assert found is not None
        assert found.value == b"old"  # it was asked for before the change
        assert peeked is None

    async def test_stampede_on_three_replicas_is_one_load(self, replicas: Replicas) -> None:
        caches = [await replicas.add() for _ in range(3)]
        load = Loader(seconds=0.1)
        found = await asyncio.gather(*(cache.fetch("chat", "k", load) for cache in caches for _ in range(50)))
        assert load.calls == 1
        assert {each.value for each in found} == {b"value-1"}
        assert sum(cache.statistics().waited_for_replica for cache in caches) == 2

    async def test_refresh_on_two_replicas_is_one_load(self, replicas: Replicas) -> None:
        one, two = await replicas.add(), await replicas.add()
        await one.put("chat", "k", Loaded(b"old"))
        load = Loader(seconds=0.2)
        found = await asyncio.gather(*(cache.fetch("chat", "k", load, CacheUse.REFRESH) for cache in (one, two)))
        assert load.calls == 1
        assert {each.value for each in found} == {b"value-1"}

    async def test_lock_outlives_a_load_that_takes_longer_than_its_life(self, replicas: Replicas) -> None:
        one, two = await replicas.add(lock_ttl_seconds=0.3), await replicas.add(lock_ttl_seconds=0.3)
        load = Loader(seconds=1.0)
        await asyncio.gather(*(cache.fetch("chat", "k", load) for cache in (one, two)))
        assert load.calls == 1

    async def test_holder_that_died_blocks_for_the_life_of_its_lock_only(self, replicas: Replicas, url: str) -> None:
        cache = await replicas.add()
        await cache.fetch("chat", "other", Loader())  # so that the generation is known
        client: Any = Redis.from_url(url)
        for name in await client.keys(f"{replicas.prefix}:chat:*:v1:*"):
            await client.set(f"{replicas.prefix}-lock:".encode() + name, b"dead", px=300)
        started = time.monotonic()
        found = await cache.fetch("chat", "other", Loader(), CacheUse.REFRESH)
        await client.aclose()
        assert found.status is CacheStatus.MISS
        assert 0.2 < time.monotonic() - started < 1.5

    async def test_replica_whose_peer_fails_to_load_loads_by_itself(self, replicas: Replicas) -> None:
        one, two = await replicas.add(), await replicas.add()
        started = asyncio.Event()

        async def broken() -> Loaded:
            started.set()
            await asyncio.sleep(0.1)
            raise RuntimeError("no answer")

        failing = asyncio.create_task(one.fetch("chat", "k", broken))
        await started.wait()
        found = await two.fetch("chat", "k", Loader())
        with pytest.raises(RuntimeError, match="no answer"):
            await failing
        assert found.value == b"value-1"

    async def test_early_refresh_happens_on_one_replica(self, replicas: Replicas) -> None:
        caches = [await replicas.add(early_refresh=1e12) for _ in range(3)]
        await caches[0].fetch("chat", "k", Loader(seconds=0.05))
        gate = asyncio.Event()
        load = Loader(gate=gate)
        found = [await cache.fetch("chat", "k", load) for cache in caches for _ in range(10)]
        assert {each.status for each in found} <= HITS
        await asyncio.sleep(0.05)
        gate.set()
        await until(lambda: sum(cache.statistics().early_refreshes for cache in caches) == 1)
        assert load.calls == 1

    async def test_generation_lost_by_the_server_never_brings_purged_answers_back(
        self, replicas: Replicas, url: str
    ) -> None:
        cache = await replicas.add()
        await cache.put("chat", "k", Loaded(b"purged"))
        await cache.purge("chat")
        client: Any = Redis.from_url(url)
        for key in await client.keys(f"{replicas.prefix}:chat:generation"):
            await client.delete(key)
        await client.aclose()
        assert await cache.get("chat", "k") is None
        assert await (await replicas.add()).get("chat", "k") is None

    async def test_claim_is_given_to_one_replica_until_it_ends(self, replicas: Replicas) -> None:
        one, two = await replicas.add(), await replicas.add()
        given = await asyncio.gather(*(cache.claim("chat", "k", 0.2) for cache in (one, two)))
        assert sorted(given) == [False, True]
        await asyncio.sleep(0.25)
        assert await two.claim("chat", "k", 0.2)

    async def test_bytes_that_are_not_ours_are_a_miss(self, replicas: Replicas, url: str) -> None:
        cache = await replicas.add()
        await cache.put("chat", "k", Loaded(b"v"))
        client: Any = Redis.from_url(url)
        for key in await client.keys(f"{replicas.prefix}:chat:*:v1:*"):
            await client.set(key, b"\x09garbage of another version", px=10_000)
        await client.aclose()
        assert (await cache.fetch("chat", "k", Loader())).value == b"value-1"

    async def test_reads_at_the_same_time_share_few_commands(self, replicas: Replicas, url: str) -> None:
        cache = await replicas.add()
        await cache.get("chat", "first")
        client: Any = Redis.from_url(url)
        await client.config_resetstat()
        await asyncio.gather(*(cache.get("chat", f"k{number}") for number in range(100)))
        calls = (await client.info("commandstats"))["cmdstat_mget"]["calls"]
        await client.aclose()
        assert calls <= 3
