"""What the cache does when Redis dies, hangs or loses its memory or its time: requests go on, nothing is stale."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from contract.cache_contract import HITS, Loader, Replicas, at_hand, until
from contract.cache_servers import CacheServer, valkey_binary
from generation_service.adapters.cache.codec import Answer, decode, encode
from generation_service.adapters.cache.settings import CacheSettings
from generation_service.adapters.cache.two_level import TwoLevelCache, build_cache
from generation_service.adapters.clock import LoopClock
from generation_service.ports import CacheStatus, CacheUse, Loaded

TIMEOUT = CacheSettings().timeout_seconds


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CacheServer]:
    made = CacheServer(valkey_binary(), tmp_path)
    made.start()
    yield made
    made.kill()


@pytest.fixture
async def replicas(server: CacheServer) -> AsyncIterator[Replicas]:
    made = Replicas(server.url)
    yield made
    await made.close()


def available(cache: TwoLevelCache) -> bool:
    l2 = cache.statistics().l2
    assert l2 is not None
    return l2.available


def trusted(cache: TwoLevelCache) -> bool:
    return cache.statistics().l1.trusted


async def back(*caches: TwoLevelCache) -> None:
    await until(lambda: all(available(cache) and trusted(cache) for cache in caches), seconds=8.0)


async def test_killed_redis_is_survived_and_used_again(server: CacheServer, replicas: Replicas) -> None:
    cache = await replicas.add(timeout_seconds=TIMEOUT)
    await cache.put("chat", "hot", Loaded(b"v"))
    await at_hand(cache, "hot")
    server.kill()
    load = Loader()
    for _ in range(20):
        assert (await cache.fetch("chat", "hot", load)).value == b"v"  # the first level serves
        assert (await cache.fetch("chat", "new", load)).value == b"value-1"
    assert load.calls == 1
    await until(lambda: not available(cache))
    peeked = cache.peek("chat", "hot")
    assert peeked is not None
    server.start()
    await back(cache)
    assert (await cache.fetch("chat", "hot", load)).status is CacheStatus.MISS  # an empty server says so
    assert (await cache.fetch("chat", "hot", load)).status is CacheStatus.HIT_L2


async def test_answer_revoked_during_an_outage_does_not_come_back(server: CacheServer, replicas: Replicas) -> None:
    """The server hangs, so it keeps what it had; the deleted, replaced and purged must not be seen afterwards."""
    cache, other = await replicas.add(timeout_seconds=TIMEOUT), await replicas.add(timeout_seconds=TIMEOUT)
    for key in ("deleted", "replaced"):
        await cache.put("chat", key, Loaded(b"old"))
    await cache.put("notes", "purged", Loaded(b"old"))
    server.pause()
    async with asyncio.timeout(10):
        while available(cache):  # as long as Redis is asked, its socket keeps the question until it wakes
            await cache.get("chat", "other")
    await cache.delete("chat", "deleted")
    await cache.fetch("chat", "replaced", Loader(), CacheUse.REFRESH)
    await cache.purge("notes")
    assert cache.peek("notes", "purged") is None
    server.resume()
    await back(cache, other)
    await until(lambda: revocations(cache) == 0)
    for each in (cache, other):
        assert await each.get("chat", "deleted") is None
        replaced = await each.get("chat", "replaced")
        assert replaced is None or replaced.value != b"old"
        await until(lambda each=each: gone(each, "notes", "purged"))


def revocations(cache: TwoLevelCache) -> int:
    l2 = cache.statistics().l2
    assert l2 is not None
    return l2.waiting_revocations


async def gone(cache: TwoLevelCache, namespace: str, key: str) -> bool:
    return await cache.get(namespace, key) is None


def errors(cache: TwoLevelCache) -> int:
    level2 = cache.statistics().l2
    assert level2 is not None
    return level2.errors


async def test_hanging_redis_delays_no_request_for_long(server: CacheServer, replicas: Replicas) -> None:
    cache = await replicas.add(timeout_seconds=TIMEOUT)
    await cache.put("chat", "hot", Loaded(b"v"))
    await at_hand(cache, "hot")
    server.pause()
    worst = 0.0
    for number in range(30):
        started = time.monotonic()
        assert (await cache.fetch("chat", f"new{number}", Loader())).value == b"value-1"
        worst = max(worst, time.monotonic() - started)
    # A read and a write that time out, and the machine's own delays; once the breaker is open, none of it.
    assert worst < 3 * TIMEOUT + 0.2
    assert not available(cache)
    before = errors(cache)
    await asyncio.gather(*(cache.fetch("chat", f"more{number}", Loader()) for number in range(200)))
    assert errors(cache) - before <= 1, "nobody waits for Redis now, but for a probe"
    assert (await cache.fetch("chat", "hot", Loader())).status is CacheStatus.HIT_L1
    server.resume()
    await back(cache)
    await cache.put("chat", "again", Loaded(b"v"))
    found = await cache.get("chat", "again")
    assert found is not None
    assert found.status is CacheStatus.HIT_L2


async def test_lost_tracking_makes_redis_be_asked_until_it_is_back(server: CacheServer, replicas: Replicas) -> None:
    cache, other = await replicas.add(timeout_seconds=TIMEOUT), await replicas.add(timeout_seconds=TIMEOUT)
    await cache.put("chat", "k", Loaded(b"old"))
    await at_hand(cache, "k")
    client: Any = Redis.from_url(server.url)
    await client.client_kill_filter(_type="pubsub")
    await until(lambda: not trusted(cache) or losses(cache) == 1)
    await other.put("chat", "k", Loaded(b"new"))
    for _ in range(200):
        found = cache.peek("chat", "k") or await cache.get("chat", "k")
        assert found is not None
        assert found.value == b"new"
        await asyncio.sleep(0.001)
    await back(cache, other)
    await client.aclose()
    assert (await at_hand(cache, "k")).value == b"new"


def losses(cache: TwoLevelCache) -> int:
    l2 = cache.statistics().l2
    assert l2 is not None
    return l2.tracking_losses


async def test_emptied_server_empties_the_copies(server: CacheServer, replicas: Replicas) -> None:
    cache = await replicas.add(timeout_seconds=TIMEOUT)
    await cache.put("chat", "k", Loaded(b"v"))
    await at_hand(cache, "k")
    client: Any = Redis.from_url(server.url)
    await client.flushall()
    await client.aclose()
    await until(lambda: cache.peek("chat", "k") is None)
    assert await cache.get("chat", "k") is None


async def test_cache_starts_without_redis_and_finds_it_later(server: CacheServer) -> None:
    server.kill()
    cache = build_cache(server.url, LoopClock(), CacheSettings(probe_seconds=0.1))
    started = time.monotonic()
    await cache.start()
    load = Loader()
    first = await cache.fetch("chat", "k", load)
    assert time.monotonic() - started < 2.0
    assert (first.status, (await cache.fetch("chat", "k", load)).status) == (CacheStatus.MISS, CacheStatus.HIT_L1)
    server.start()
    await back(cache)
    await cache.put("chat", "k", Loaded(b"v"))
    found = await cache.get("chat", "k")
    await cache.close()
    assert found is not None
    assert found.status is CacheStatus.HIT_L2


async def test_cache_closes_at_once_at_whatever_moment_of_its_start(server: CacheServer) -> None:
    for turns in range(40):  # of the event loop; connecting takes about 20
        cache = build_cache(server.url, LoopClock(), CacheSettings())
        start = asyncio.create_task(cache.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        async with asyncio.timeout(5.0):
            await cache.close()


async def test_full_server_is_no_error_for_the_caller(server: CacheServer, replicas: Replicas) -> None:
    cache = await replicas.add(timeout_seconds=TIMEOUT)
    await cache.get("chat", "k")
    client: Any = Redis.from_url(server.url)
    await client.config_set("maxmemory", "1")
    await client.config_set("maxmemory-policy", "noeviction")
    await client.aclose()
    load = Loader()
    assert (await cache.fetch("chat", "k", load)).status is CacheStatus.MISS
    assert (await cache.fetch("chat", "k", load)).status in HITS
    assert load.calls == 1


@pytest.mark.parametrize(
    ("jump_seconds", "remaining"),
    [
        pytest.param(0.0, 60.0, id="none"),
        pytest.param(-86_400.0, 60.0, id="back-a-day-never-lives-longer-than-its-ttl"),
        pytest.param(20.0, 40.0, id="forward-within-ttl"),
        pytest.param(86_400.0, None, id="forward-a-day-is-a-miss"),
    ],
)
def test_jump_of_the_servers_clock_never_lengthens_an_answer(jump_seconds: float, remaining: float | None) -> None:
    raw = encode(Answer(b"v", 160.0, 60.0, 0.5), now=100.0, server_now=1_700_000_000.0)
    answer = decode(raw, now=500.0, server_now=1_700_000_000.0 + jump_seconds)
    assert (None if answer is None else answer.expires_at - 500.0) == remaining
