"""Lets one replica at a time load an answer.

A lock is a key in Redis with a random token and a short life that its holder prolongs while it loads: a holder that
died blocks the others for one life and no longer. The keys lie outside of the tracked prefix, so taking a lock tells
nobody anything. A lock saves work; nothing breaks if two replicas hold it.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from generation_service.adapters.cache.redis_level import LevelDownError, RedisLevel
from generation_service.ports import Clock


class ReplicaLocks:
    """Locks by name.

    Args:
        level: where they are.
        clock: to prolong in time.
        prefix: of the cache's keys; the locks' own is made from it.
        ttl_seconds: life of a lock that nobody prolongs.
    """

    def __init__(self, level: RedisLevel, clock: Clock, *, prefix: str, ttl_seconds: float) -> None:
        self._level = level
        self._clock = clock
        self._prefix = f"{prefix}-lock:"
        self._ttl_seconds = ttl_seconds

    async def take(self, name: str) -> str | None:
        """A token if the lock was free. Raises `LevelDownError`."""
        token = secrets.token_hex(8)
        return token if await self._level.add(self._prefix + name, token.encode(), self._ttl_seconds) else None

    async def claim(self, name: str, seconds: float) -> bool:
        """Take a lock that nobody gives back before its time. Raises `LevelDownError`."""
        return await self._level.add(self._prefix + name, b"claimed", seconds)

    @asynccontextmanager
    async def holding(self, name: str, token: str | None) -> AsyncGenerator[None]:
        """Prolong the lock as long as this lasts, then give it back. Without a token: do nothing."""
        if token is None:
            yield
            return
        prolonging = asyncio.get_running_loop().create_task(self._prolong(name, token))
        try:
            yield
        finally:
            prolonging.cancel()
            with suppress(LevelDownError):  # its life ends by itself
                await self._level.release(self._prefix + name, token)

    async def _prolong(self, name: str, token: str) -> None:
        while True:
            await self._clock.sleep(self._ttl_seconds / 3)
            with suppress(LevelDownError):  # two more attempts before its life ends
                if not await self._level.extend(self._prefix + name, token, self._ttl_seconds):
                    return
