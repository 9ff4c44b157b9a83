"""The cache: who asks, gets what is kept; what is not kept is loaded once for all who ask, over all replicas.

A `load` given to `fetch` may be called after its caller was answered (early refresh), so it must not depend on anything
that ends with the request.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable

from generation_service.adapters.cache.codec import Answer
from generation_service.adapters.cache.flights import Flight, Flights
from generation_service.adapters.cache.l1 import Level1
from generation_service.adapters.cache.levels import Levels, Lookup
from generation_service.adapters.cache.locks import ReplicaLocks
from generation_service.adapters.cache.redis_level import LevelDownError, RedisLevel
from generation_service.adapters.cache.settings import CacheSettings
from generation_service.adapters.cache.statistics import (
    CacheStatistics,
    Counts,
    LevelOneStatistics,
    LevelTwoStatistics,
    ratio,
)
from generation_service.ports import CacheStatus, CacheUse, Clock, Found, Loaded

MAX_TTL_FACTOR = 4.0
_POLL_SECONDS = (0.02, 0.25)  # first and longest pause of a replica that waits for another one's load
_NAMES_NOTED = 1_000  # names whose refresh is due or rests; more are not noted, which costs a refresh at most
_CLOCK_ERROR_SECONDS = 0.05  # at most, between two replicas' ideas of the server's clock: half of a call's time-out
_REST_SECONDS = 5.0  # no early refresh of an answer after one failed: the answer is still good, the generator is not

Load = Callable[[], Awaitable[Loaded]]


class TwoLevelCache:
    """`ports.Cache`.

    Args:
        l1: the level in this process.
        l2: Redis; None: answers are kept in this process alone.
        clock: monotonic.
        settings: see there.
        chance: a number in [0, 1), for jitter and early refresh.
    """

    def __init__(
        self,
        l1: Level1,
        l2: RedisLevel | None,
        clock: Clock,
        *,
        settings: CacheSettings,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._chance = chance
        self._levels = Levels(l1, l2, clock, settings)
        self._locks = (
            None
            if l2 is None
            else ReplicaLocks(l2, clock, prefix=settings.prefix, ttl_seconds=settings.lock_ttl_seconds)
        )
        self._flights: Flights[Found] = Flights()
        self._counts = Counts()
        self._factor = 1.0
        self._due: set[str] = set()
        self._resting: dict[str, float] = {}
        self._refreshing: dict[str, Flight[Found]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connect to Redis; without an answer in a second go on and connect in the background."""
        await self._levels.start()

    async def close(self) -> None:
        """Stop everything in the background and close the connections. Loads with callers are theirs to cancel."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._levels.close()

    def peek(self, namespace: str, key: str) -> Found | None:
        """The answer if this process has it at hand.

        None also now and then for one that is about to end: the `fetch` that follows answers with it and has it
        refreshed. A miss is counted by what is asked next, not here.
        """
        levels = self._levels
        name = levels.name_at_hand(namespace, key)
        if name is None or not levels.l1_usable:
            return None
        answer = levels.l1.get(name)
        if answer is None:
            return None
        now = self._clock.now()
        if self._is_due(answer, now) and self._may_refresh(name, now) and self._note_due(name):
            return None
        self._counts.lookups += 1
        self._counts.l1_hits += 1
        return Found(answer.value, CacheStatus.HIT_L1, answer.age(now))

    async def fetch(
        self,
        namespace: str,
        key: str,
        load: Load,
        use: CacheUse = CacheUse.NORMAL,
        timeout_seconds: float | None = None,
    ) -> Found:
        """The kept answer, or a loaded one."""
        if use is CacheUse.NONE:
            self._counts.bypassed += 1
            return Found(bytes((await load()).value), CacheStatus.BYPASS)
        name = await self._name(namespace, key)
        if use is CacheUse.REFRESH:
            self._counts.refreshed += 1
            async with asyncio.timeout(timeout_seconds):
                return await self._flights.join((name, True), lambda flight: self._load_once(name, load, flight, True))
        lookup = await self._levels.find(name)
        self._count(lookup)
        if lookup.answer is not None:
            self._consider_refresh(name, lookup.answer, load)
            return self._found(lookup.answer, lookup.status)
        async with asyncio.timeout(timeout_seconds):  # not before: a look is bounded by itself and must cost little
            if self._flights.get((name, True)) is not None:  # what somebody has loaded anew is good for everybody
                return await self._flights.join((name, True), lambda flight: self._load_once(name, load, flight, True))
            if lookup.l2_answered:
                return await self._flights.join(
                    (name, False), lambda flight: self._load_once(name, load, flight, False)
                )
            return await self._flights.join(
                (name, False), lambda flight: self._load(name, load, flight, replaces=False)
            )

    async def get(self, namespace: str, key: str) -> Found | None:
        """The kept answer from either level."""
        lookup = await self._levels.find(await self._name(namespace, key))
        self._count(lookup)
        return None if lookup.answer is None else self._found(lookup.answer, lookup.status)

    async def put(self, namespace: str, key: str, loaded: Loaded) -> None:
        """Keep an answer that was computed elsewhere."""
        await self._keep(await self._name(namespace, key), loaded, cost_seconds=0.0, replaces=True)

    async def contains(self, namespace: str, key: str) -> bool:
        """Whether a fresh answer is kept on either level. Not counted."""
        return await self.remaining(namespace, key) is not None

    async def remaining(self, namespace: str, key: str) -> float | None:
        """Seconds for which the answer is kept still; None: there is none. Not counted."""
        answer = (await self._levels.find(await self._name(namespace, key))).answer
        return None if answer is None else answer.expires_at - self._clock.now()

    async def delete(self, namespace: str, key: str) -> None:
        """Forget one answer, in all replicas; a load of this process that is under way is not kept either."""
        name = await self._name(namespace, key)
        for flight in (self._flights.get((name, True)), self._flights.get((name, False)), self._refreshing.get(name)):
            if flight is not None:
                flight.keep = False
        await self._levels.forget(name)

    async def purge(self, namespace: str) -> None:
        """Forget a whole namespace, in all replicas, in constant time."""
        await self._levels.purge(namespace)

    async def claim(self, namespace: str, key: str, seconds: float) -> bool:
        """Whether no other replica claimed this key within so many seconds; True if Redis cannot say."""
        if self._locks is None:
            return True
        try:
            return await self._locks.claim(f"claim:{await self._name(namespace, key)}", seconds)
        except LevelDownError:
            return True

    def shrink(self, fraction: float) -> int:
        """Allow only this share of the configured size in this process; says how many bytes that freed."""
        return self._levels.l1.shrink(fraction)

    def restore(self) -> None:
        """Allow the configured size again."""
        self._levels.l1.restore()

    def purge_expired(self) -> int:
        """Forget what is over in this process (Redis does so by itself); says how many."""
        return self._levels.l1.purge_expired()

    def set_ttl_factor(self, factor: float) -> float:
        """Keep answers longer and refresh them sooner, 1 to 4 times; says what was set. For answers kept from now on.

        A TTL that came with an answer is a promise of its maker and stays.
        """
        self._factor = min(MAX_TTL_FACTOR, max(1.0, factor))
        self._levels.set_l1_ttl(self._settings.l1_ttl_seconds * self._factor)
        return self._factor

    def statistics(self) -> CacheStatistics:
        """All figures."""
        counts, levels = self._counts, self._levels
        hits = counts.l1_hits + counts.l2_hits
        l1, l2, tracker, revocations = levels.l1, levels.l2, levels.tracker, levels.revocations
        return CacheStatistics(
            hit_ratio=ratio(hits, counts.lookups),
            lookups=counts.lookups,
            hits=hits,
            loads=counts.loads,
            load_failures=counts.load_failures,
            coalesced=self._flights.coalesced,
            waited_for_replica=counts.waited_for_replica,
            bypassed=counts.bypassed,
            refreshed=counts.refreshed,
            early_refreshes=counts.early_refreshes,
            early_refresh_failures=counts.early_refresh_failures,
            ttl_factor=self._factor,
            l1=LevelOneStatistics(
                hits=counts.l1_hits,
                misses=counts.l1_misses,
                hit_ratio=ratio(counts.l1_hits, counts.l1_hits + counts.l1_misses),
                entries=l1.entries,
                bytes=l1.bytes,
                max_entries=l1.max_entries,
                max_bytes=l1.max_bytes,
                evictions=l1.evictions,
                expirations=l1.expirations,
                skipped=l1.skipped,
                trusted=levels.trusted,
            ),
            l2=None
            if l2 is None or tracker is None or revocations is None
            else LevelTwoStatistics(
                hits=counts.l2_hits,
                misses=counts.l2_misses,
                hit_ratio=ratio(counts.l2_hits, counts.l2_hits + counts.l2_misses),
                errors=l2.errors,
                available=l2.available,
                opened=l2.opened,
                tracking_losses=tracker.losses,
                waiting_revocations=len(revocations),
            ),
        )

    async def _name(self, namespace: str, key: str) -> str:
        return self._levels.name_at_hand(namespace, key) or await self._levels.name(namespace, key)

    def _found(self, answer: Answer, status: CacheStatus) -> Found:
        return Found(answer.value, status, answer.age(self._clock.now()))

    def _count(self, lookup: Lookup) -> None:
        counts = self._counts
        counts.lookups += 1
        if lookup.status is CacheStatus.HIT_L1:
            counts.l1_hits += 1
            return
        counts.l1_misses += lookup.l1_asked
        if lookup.status is CacheStatus.HIT_L2:
            counts.l2_hits += 1
        else:
            counts.l2_misses += lookup.l2_answered

    # --- loading ---------------------------------------------------------------------------------------------------

    async def _load_once(self, name: str, load: Load, flight: Flight[Found], fresh: bool) -> Found:
        """Load unless another replica does; then wait for what it loads. `fresh`: what is kept already is no answer."""
        if self._locks is None:
            return await self._load(name, load, flight, replaces=fresh)
        since = self._clock.now() + _CLOCK_ERROR_SECONDS if fresh else -math.inf
        token: str | None = None
        try:
            token = await self._locks.take(name)
            pause = _POLL_SECONDS[0]
            give_up = self._clock.now() + self._settings.lock_wait_seconds
            while token is None and self._clock.now() < give_up:
                await self._levels.wait_change(name, pause)
                pause = min(1.5 * pause, _POLL_SECONDS[1])
                answer = await self._levels.read_shared(name)
                if answer is not None and answer.expires_at - answer.ttl_seconds >= since:
                    self._counts.waited_for_replica += 1
                    return self._found(answer, CacheStatus.HIT_L2)
                token = await self._locks.take(name)
        except LevelDownError:
            pass  # better twice than not at all
        async with self._locks.holding(name, token):
            if token is not None and not fresh:  # it may have been kept between our look and our lock
                answer = (await self._levels.find(name)).answer
                if answer is not None:
                    self._counts.waited_for_replica += 1
                    return self._found(answer, CacheStatus.HIT_L2)
            return await self._load(name, load, flight, replaces=fresh)

    async def _load(self, name: str, load: Load, flight: Flight[Found], *, replaces: bool) -> Found:
        started = self._clock.now()
        self._counts.loads += 1
        try:
            loaded = await load()
        except Exception:
            self._counts.load_failures += 1
            raise
        if flight.keep:
            await self._keep(name, loaded, cost_seconds=self._clock.now() - started, replaces=replaces)
        return Found(bytes(loaded.value), CacheStatus.MISS)

    async def _keep(self, name: str, loaded: Loaded, *, cost_seconds: float, replaces: bool) -> None:
        settings = self._settings
        value = bytes(loaded.value)
        ttl = settings.ttl_seconds * self._factor if loaded.ttl_seconds is None else loaded.ttl_seconds
        if loaded.negative:
            ttl = min(ttl, settings.negative_ttl_seconds)
        if ttl > 0 and len(value) <= settings.max_value_bytes:
            ttl *= 1 - settings.ttl_jitter * self._chance()
            answer = Answer(value, self._clock.now() + ttl, ttl, cost_seconds, loaded.negative)
            await self._levels.keep(name, answer, replaces=replaces)
        elif replaces:
            await self._levels.forget(name)

    # --- early refresh ---------------------------------------------------------------------------------------------

    def _is_due(self, answer: Answer, now: float) -> bool:
        """XFetch: the nearer the end and the dearer the load, the likelier; of many callers one comes early."""
        gap = answer.cost_seconds * self._settings.early_refresh * self._factor
        remaining = answer.expires_at - now
        if answer.negative or remaining > 20 * gap:  # beyond 20 the chance is below 1 in 400 million
            return False
        return -math.log(1 - self._chance()) * gap >= remaining

    def _may_refresh(self, name: str, now: float) -> bool:
        return (
            name not in self._refreshing
            and len(self._refreshing) < self._settings.max_refreshes
            and self._resting.get(name, -math.inf) <= now
        )

    def _note_due(self, name: str) -> bool:
        if name in self._due or len(self._due) >= _NAMES_NOTED:
            return False
        self._due.add(name)
        return True

    def _consider_refresh(self, name: str, answer: Answer, load: Load) -> None:
        now = self._clock.now()
        noted = name in self._due
        self._due.discard(name)
        if (noted or self._is_due(answer, now)) and self._may_refresh(name, now):
            flight: Flight[Found] = Flight()
            self._refreshing[name] = flight
            task = asyncio.get_running_loop().create_task(self._refresh(name, answer, load, flight))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _refresh(self, name: str, old: Answer, load: Load, flight: Flight[Found]) -> None:
        """Load anew unless another replica does or did. What goes wrong is counted: the old answer is still good."""
        try:
            token: str | None = None
            if self._locks is not None:
                token = await self._locks.take(name)
                if token is None:
                    return
                async with self._locks.holding(name, token):
                    current = await self._levels.read_shared(name)
                    if current is None or current.expires_at <= old.expires_at + _CLOCK_ERROR_SECONDS:
                        await self._load(name, load, flight, replaces=False)
                        self._counts.early_refreshes += 1
            else:
                await self._load(name, load, flight, replaces=False)
                self._counts.early_refreshes += 1
        except Exception:  # noqa: BLE001 - see above
            self._counts.early_refresh_failures += 1
            self._rest(name)
        finally:
            self._refreshing.pop(name, None)

    def _rest(self, name: str) -> None:
        now = self._clock.now()
        self._resting = {other: until for other, until in self._resting.items() if until > now}
        if len(self._resting) < _NAMES_NOTED:
            self._resting[name] = now + _REST_SECONDS


def build_cache(redis_url: str | None, clock: Clock, settings: CacheSettings) -> TwoLevelCache:
    """A cache of both levels, or of the first alone without a URL. Raises `ValueError` for a URL that is none."""
    l1 = Level1(
        clock,
        max_entries=settings.l1_entries,
        max_bytes=settings.l1_bytes,
        max_value_bytes=settings.max_value_bytes,
    )
    l2 = None if redis_url is None else RedisLevel(redis_url, clock, settings)
    return TwoLevelCache(l1, l2, clock, settings=settings)
