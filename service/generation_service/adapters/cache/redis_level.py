"""Answers in Redis, and the few other things that replicas settle there: locks and its clock.

Every call ends within the time-out, counts for the breaker, and fails as `LevelDownError` alone, whatever the cause.
Speaks RESP2 on purpose: tracking listens on a pub/sub channel, which RESP3 (the client's default) never fills.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from generation_service.adapters.cache.breaker import Breaker
from generation_service.adapters.cache.settings import CacheSettings
from generation_service.adapters.cache.tracking import Connection
from generation_service.engine.batching import Batcher, BatchFullError
from generation_service.ports import Clock

Result = TypeVar("Result")

_BATCHES_AT_ONCE = 2  # one on its way while the next gathers; more only split the batches
# Only the holder's token counts: a holder that was too slow must not end or extend the lock of the next one.
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
_EXTEND = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"


class LevelDownError(Exception):
    """Redis did not answer, or is not asked at the moment; the message says why."""


class RedisLevel:
    """The second level. Close it when done.

    Args:
        url: `redis://`, `rediss://` or `unix://`; raises `ValueError` for anything else.
        clock: to follow the server's clock in between the probes.
        settings: time-out, connections, batch size.
    """

    def __init__(self, url: str, clock: Clock, settings: CacheSettings) -> None:
        self._clock = clock
        self._timeout = settings.timeout_seconds
        self._pool = BlockingConnectionPool.from_url(
            url,
            protocol=2,
            max_connections=settings.connections,
            timeout=settings.timeout_seconds,
            socket_timeout=settings.timeout_seconds,
            socket_connect_timeout=settings.timeout_seconds,
            driver_info=None,  # saves two commands at each connection
        )
        self._redis: Redis = Redis(connection_pool=self._pool)
        self._breaker = Breaker()
        self._batcher: Batcher[str, bytes | None] = Batcher(
            self._read_batch, max_size=settings.batch_size, concurrency=_BATCHES_AT_ONCE
        )
        self._offset: float | None = None  # of the server's clock to ours
        self._calls: set[asyncio.Future[Any]] = set()
        self.errors = 0

    @property
    def available(self) -> bool:
        """Whether it is asked at all at the moment."""
        return self._breaker.closed

    @property
    def opened(self) -> int:
        """How often the breaker gave it up."""
        return self._breaker.opened

    @property
    def server_now(self) -> float:
        """Seconds since the epoch on the server's clock. Raises `LevelDownError` before it was ever asked."""
        if self._offset is None:
            raise LevelDownError("the time of the Redis server is not known yet; it is asked for once a second.")
        return self._clock.now() + self._offset

    def new_connection(self) -> Connection:
        """A connection outside of the pool, not connected yet."""
        return cast("Connection", self._pool.make_connection())  # type: ignore[no-untyped-call]

    async def probe(self) -> bool:
        """Ask for the time; an answer closes the breaker. Never raises."""
        asked = self._clock.now()
        try:
            seconds, microseconds = await self._bounded(self._redis.time)
        except LevelDownError:
            return False
        # The server looked at its clock somewhere between question and answer; half of the way is the best guess.
        self._offset = seconds + microseconds / 1e6 - (asked + self._clock.now()) / 2
        self._breaker.close()
        return True

    async def read(self, key: str) -> bytes | None:
        """The bytes of a key; keys asked for at the same time share one MGET."""
        if not self._breaker.closed:
            raise LevelDownError("Redis failed too often lately; it is asked again when a probe is answered.")
        try:
            return await self._batcher.submit(key)
        except BatchFullError as error:
            raise LevelDownError("too many reads wait for Redis.") from error

    async def write(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Set a key."""
        await self._call(lambda: self._redis.set(key, value, px=max(1, round(ttl_seconds * 1000))))

    async def delete(self, *keys: str) -> None:
        """Delete keys."""
        await self._call(lambda: self._redis.delete(*keys))

    async def replace(self, key: str, value: bytes) -> None:
        """Set a key that does not end."""
        await self._call(lambda: self._redis.set(key, value))

    async def add(self, key: str, value: bytes, ttl_seconds: float | None = None) -> bool:
        """Set a key unless it exists; whether it was set."""
        px = None if ttl_seconds is None else max(1, round(ttl_seconds * 1000))
        return bool(await self._call(lambda: self._redis.set(key, value, nx=True, px=px)))

    async def extend(self, key: str, token: str, ttl_seconds: float) -> bool:
        """Give a lock more time; False when it is no longer the token's."""
        return bool(await self._script(_EXTEND, key, token, str(round(ttl_seconds * 1000))))

    async def release(self, key: str, token: str) -> None:
        """Delete a lock, if it is still the token's."""
        await self._script(_RELEASE, key, token)

    async def close(self) -> None:
        """Close all connections."""
        await self._batcher.drain()
        if self._calls:
            await asyncio.wait(set(self._calls))
        await self._redis.aclose()
        await self._pool.disconnect()

    async def _read_batch(self, keys: Sequence[str]) -> Sequence[bytes | BaseException | None]:
        unique = list(dict.fromkeys(keys))
        found = cast("Sequence[bytes | None]", await self._call(lambda: self._redis.mget(unique)))
        values = dict(zip(unique, found, strict=True))
        return [values[key] for key in keys]

    async def _script(self, script: str, key: str, *arguments: str) -> object:
        return await self._call(lambda: self._redis.eval(script, 1, key, *arguments))

    async def _call(self, work: Callable[[], Awaitable[Result]]) -> Result:
        if not self._breaker.closed:
            raise LevelDownError("Redis failed too often lately; it is asked again when a probe is answered.")
        result = await self._bounded(work)
        self._breaker.succeeded()
        return result

    async def _bounded(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Wait for the time-out and no longer, without cancelling what is waited for.

        The client library loses a connection of its pool when it is cancelled at the wrong moment. Each of its own
        steps has the same time-out, so what is left behind ends soon.
        """
        task = asyncio.ensure_future(work())
        self._calls.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task}, timeout=self._timeout)
        if not task.done():
            self._failed()
            raise LevelDownError(f"Redis did not answer within {self._timeout:g} s.")
        try:
            return task.result()
        except (RedisError, OSError, TimeoutError) as error:
            self._failed()
            raise LevelDownError(f"Redis: {type(error).__name__}: {error}") from error

    def _ended(self, task: "asyncio.Future[Any]") -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # seen: whoever waited for it may be gone

    def _failed(self) -> None:
        self.errors += 1
        self._breaker.failed()
