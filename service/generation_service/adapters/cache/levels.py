"""Both levels and what keeps them in step.

What may be served from this process:

| second level | notices | first level |
| --- | --- | --- |
| none | - | always |
| answers | come | always: what another replica changes is dropped within about a millisecond |
| answers | lost | never: Redis is asked |
| away | any | always, for the level's own TTL at most: an old answer is better than none |

Own writes are not kept in the first level while Redis answers: the notice of an own write cannot be told from that of
another replica's write in the same instant, so the next reader takes what Redis has. When notices come again everything
is dropped first. What was revoked while Redis was away is revoked there before it is read again.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from generation_service.adapters.cache import codec
from generation_service.adapters.cache.codec import Answer
from generation_service.adapters.cache.in_flight import InFlight
from generation_service.adapters.cache.l1 import Level1
from generation_service.adapters.cache.namespaces import Namespaces
from generation_service.adapters.cache.redis_level import LevelDownError, RedisLevel
from generation_service.adapters.cache.revocations import Revocations
from generation_service.adapters.cache.settings import CacheSettings
from generation_service.adapters.cache.tracking import Tracker
from generation_service.ports import CacheStatus, Clock

_FIRST_NOTICE_SECONDS = 1.0  # `start` waits this long for the tracking; later is fine, Redis is asked until then

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the levels said."""

    answer: Answer | None
    status: CacheStatus
    l1_asked: bool
    l2_answered: bool


class Levels:
    """The first level, and the second one if there is one. Nothing here raises for Redis unless it says so."""

    def __init__(self, l1: Level1, l2: RedisLevel | None, clock: Clock, settings: CacheSettings) -> None:
        self.l1 = l1
        self.l2 = l2
        self._clock = clock
        self._settings = settings
        self._l1_ttl_seconds = settings.l1_ttl_seconds
        self._in_flight = InFlight()
        self._names = Namespaces(settings.prefix, settings.schema, l2, self._in_flight)
        self._changes: dict[str, set[asyncio.Future[None]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.tracker: Tracker | None = None
        self.revocations: Revocations | None = None
        if l2 is not None:
            self.revocations = Revocations(l2, lambda name: self._names.want_purge(self._names.namespace_of(name)))
            self.tracker = Tracker(
                l2.new_connection,
                f"{settings.prefix}:",
                clock,
                on_change=self._changed,
                on_up=self._forget_all,
            )

    @property
    def trusted(self) -> bool:
        """Whether every change by another replica is heard of."""
        return self.tracker is None or self.tracker.up

    @property
    def l1_usable(self) -> bool:
        """See the table above."""
        return self.l2 is None or self.trusted or not self.l2.available

    def set_l1_ttl(self, seconds: float) -> None:
        """Change how long answers stay in this process at most; those that are here keep their time."""
        self._l1_ttl_seconds = seconds

    async def start(self) -> None:
        """Connect, or go on trying in the background."""
        if self.l2 is not None and self.tracker is not None:
            await self.l2.probe()
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self.tracker.run()), loop.create_task(self._maintain(self.l2))]
            if self.l2.available:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_FIRST_NOTICE_SECONDS):
                        await self.tracker.wait_up()

    async def close(self) -> None:
        """Close all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self.l2 is not None:
            await self.l2.close()

    def name_at_hand(self, namespace: str, key: str) -> str | None:
        """The name of an answer, if that takes no I/O."""
        return self._names.at_hand(namespace, key) if self.l1_usable else None

    async def name(self, namespace: str, key: str) -> str:
        """The name of an answer."""
        return await self._names.name(namespace, key, trusted=self.trusted)

    async def find(self, name: str) -> Lookup:
        """The answer from the nearest level that has it and can be trusted."""
        asked = self.l1_usable
        if asked:
            answer = self.l1.get(name)
            if answer is not None or self.l2 is None:
                return Lookup(answer, CacheStatus.MISS if answer is None else CacheStatus.HIT_L1, True, False)
        try:
            answer = await self.read_shared(name)
        except LevelDownError:
            answer = None if asked else self.l1.get(name)
            return Lookup(answer, CacheStatus.MISS if answer is None else CacheStatus.HIT_L1, True, False)
        return Lookup(answer, CacheStatus.MISS if answer is None else CacheStatus.HIT_L2, asked, True)

    async def read_shared(self, name: str) -> Answer | None:
        """The answer in Redis, kept in this process too if it may be. Raises `LevelDownError`."""
        assert self.l2 is not None and self.revocations is not None  # noqa: S101, PT018 - callers looked
        await self.revocations.settle(name)
        ticket = self._in_flight.begin(name)
        clean = False
        try:
            raw = await self.l2.read(name)
        finally:
            clean = self._in_flight.end(ticket)
        if raw is None:
            return None
        answer = codec.decode(raw, now=self._clock.now(), server_now=self.l2.server_now)
        if answer is not None and clean:
            self.l1.put(name, answer, self._l1_ttl_seconds)
        return answer

    async def keep(self, name: str, answer: Answer, *, replaces: bool) -> None:
        """Keep an answer; `replaces`: an earlier one must not come back, even if Redis cannot be told now."""
        if self.l2 is None or self.revocations is None:
            self.l1.put(name, answer, answer.ttl_seconds)
            return
        self._forget_here(name)
        ticket = self._in_flight.begin(name)
        written = clean = False
        try:
            raw = codec.encode(answer, now=self._clock.now(), server_now=self.l2.server_now)
            await self.l2.write(name, raw, answer.expires_at - self._clock.now())
            written = True
        except LevelDownError:
            pass  # then this process alone has it
        finally:
            clean = self._in_flight.end(ticket)
        if written:
            self.revocations.drop(name)
            self._forget_here(name)
            return
        if replaces and self._names.is_shared(name):
            self.revocations.add(name)
        if clean:
            self.l1.put(name, answer, self._l1_ttl_seconds)

    async def forget(self, name: str) -> None:
        """Forget an answer everywhere, as soon as Redis can be told."""
        self._forget_here(name)
        if self.l2 is not None and self.revocations is not None:
            try:
                await self.l2.delete(name)
                self.revocations.drop(name)
            except LevelDownError:
                if self._names.is_shared(name):
                    self.revocations.add(name)
                else:  # nobody knows by which name the others have it
                    self._names.want_purge(self._names.namespace_of(name))
            self._forget_here(name)

    async def purge(self, namespace: str) -> None:
        """Forget a namespace everywhere, as soon as Redis can be told."""
        await self._names.purge(namespace)

    async def wait_change(self, name: str, seconds: float) -> None:
        """Return when the answer may have changed in Redis, or after this time."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes.setdefault(name, set()).add(future)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await future
        finally:
            waiting = self._changes.get(name)
            if waiting is not None:
                waiting.discard(future)
                if not waiting:
                    del self._changes[name]

    async def _maintain(self, l2: RedisLevel) -> None:
        while True:
            # Spread, so that replicas that lost Redis together do not come back in one instant.
            await self._clock.sleep(self._settings.probe_seconds * random.uniform(0.8, 1.2))  # noqa: S311
            try:
                if await l2.probe():
                    await self._names.settle_wanted()
                    if self.revocations is not None:
                        await self.revocations.settle_all()
            except LevelDownError:
                pass  # next time
            except Exception:  # noqa: BLE001 - the loop must go on: without it Redis would never be used again
                _log.exception("cache: maintenance failed; it is tried again.")

    def _changed(self, names: Sequence[str] | None) -> None:
        if names is None:
            self._forget_all()
            return
        for name in names:
            self._in_flight.spoil(name)
            if not self._names.changed(name):
                self.l1.discard(name)
                for future in self._changes.pop(name, ()):
                    if not future.done():
                        future.set_result(None)

    def _forget_all(self) -> None:
        self._in_flight.spoil_all()
        self._names.forget()
        self.l1.clear()

    def _forget_here(self, name: str) -> None:
        self._in_flight.spoil(name)
        self.l1.discard(name)
