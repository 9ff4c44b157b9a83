"""Remembers what Redis has still to forget, for the time in which it cannot be told.

Without this an answer that was deleted or replaced during an outage would come back with Redis.
"""

from collections.abc import Callable

from generation_service.adapters.cache.redis_level import LevelDownError, RedisLevel

_LIMIT = 10_000  # names of about 130 bytes; beyond it whole namespaces are purged instead
_AT_ONCE = 500  # names in one DEL


class Revocations:
    """Names that are revoked here and may live on in Redis.

    Args:
        level: what is to forget them.
        give_up: called with a name that finds no place here: forget everything that it belongs to.
    """

    def __init__(self, level: RedisLevel, give_up: Callable[[str], None]) -> None:
        self._level = level
        self._give_up = give_up
        self._names: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: str) -> None:
        """Redis is to forget this name."""
        if name in self._names or len(self._names) < _LIMIT:
            self._names[name] = None
        else:
            self._give_up(name)

    def drop(self, name: str) -> None:
        """Redis knows better now: the name was written anew or deleted."""
        self._names.pop(name, None)

    async def settle(self, name: str) -> None:
        """Have Redis forget this name now, if that is due. Raises `LevelDownError`."""
        if name in self._names:
            await self._level.delete(name)
            self.drop(name)

    async def settle_all(self) -> None:
        """Have Redis forget all of them. Raises `LevelDownError`."""
        while names := list(self._names)[:_AT_ONCE]:
            if not self._level.available:
                raise LevelDownError("Redis is not asked at the moment.")
            await self._level.delete(*names)
            for name in names:
                self.drop(name)
