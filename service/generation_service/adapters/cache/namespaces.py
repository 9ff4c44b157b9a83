"""Names of kept answers, made so that a whole namespace can be forgotten by changing one key.

A name holds the namespace's generation, which lives in Redis. It is random and not a counter: if Redis loses the key
(restarted empty, evicted) the next generation is a new one, so nothing that was purged can come back. The generation is
one of the tracked keys: a purge anywhere is heard of everywhere.
"""

import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from generation_service.adapters.cache.flights import Flights
from generation_service.adapters.cache.in_flight import InFlight
from generation_service.adapters.cache.redis_level import LevelDownError, RedisLevel

_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(slots=True)
class _Generation:
    start: str  # of names, with the token last known; one of this process's own making before that
    shared: bool = False  # Redis said it
    known: bool = False  # still true as far as anybody told us
    purges_wanted: int = 0
    purges_settled: int = 0  # fewer: Redis could not be told yet


def _leaf(key: str) -> str:
    """The last part of a name: short plain keys as they are (`=` is in no digest), of others the digest."""
    if len(key) <= 64 and key.isascii() and key.isalnum():
        return f"={key}"
    return sha256(key.encode()).hexdigest()


def _new_token() -> str:
    return secrets.token_hex(6)


class Namespaces:
    """Names for keys.

    Args:
        prefix: of everything this cache keeps.
        schema: version of the meaning of the kept bytes.
        level: where generations are settled; None: in this process alone.
        in_flight: where changes of generations are noted, as for any other key.
    """

    def __init__(self, prefix: str, schema: int, level: RedisLevel | None, in_flight: InFlight) -> None:
        self._prefix = prefix
        self._schema = schema
        self._level = level
        self._in_flight = in_flight
        self._settling: Flights[None] = Flights()
        self._generations: dict[str, _Generation] = {}  # namespaces are names in code: few

    def at_hand(self, namespace: str, key: str) -> str | None:
        """The name, if it takes no I/O to know it."""
        generation = self._generations.get(namespace) or self._new(namespace)
        if generation.known or self._level is None or not self._level.available:
            return generation.start + _leaf(key)
        return None

    async def name(self, namespace: str, key: str, *, trusted: bool) -> str:
        """The name; asks Redis unless the generation is known and notices can be `trusted`. Never fails for Redis."""
        generation = self._generations.get(namespace) or self._new(namespace)
        level = self._level
        if level is not None and not (generation.known and trusted):
            with suppress(LevelDownError):  # then the last known one is all that this process can do by itself
                if trusted:
                    await self._settling.join(namespace, lambda _: self._settle(level, namespace, generation))
                if not generation.known or not trusted:  # what we joined may have asked before the last purge
                    await self._settle(level, namespace, generation)
        return generation.start + _leaf(key)

    async def purge(self, namespace: str) -> None:
        """Forget the namespace: here at once; everywhere when Redis knows, which is tried until it works."""
        generation = self._generations.get(namespace) or self._new(namespace)
        generation.start = self._start(namespace, _new_token())
        generation.shared = False
        if self._level is not None:
            generation.known = False
            generation.purges_wanted += 1
            with suppress(LevelDownError):  # then it stays wanted
                await self._settle(self._level, namespace, generation)

    def want_purge(self, namespace: str) -> None:
        """Have the namespace forgotten with the next question to Redis."""
        generation = self._generations[namespace]
        generation.known = False
        generation.purges_wanted += 1

    def is_shared(self, name: str) -> bool:
        """Whether other replicas may know the answer by this name: its generation came from Redis."""
        generation = self._generations[self.namespace_of(name)]
        return generation.shared and name.startswith(generation.start)

    def namespace_of(self, name: str) -> str:
        """The namespace in a name."""
        return name[len(self._prefix) + 1 :].split(":", 1)[0]

    def changed(self, name: str) -> bool:
        """Take note of a changed key; True if it was a generation."""
        namespace, _, rest = name[len(self._prefix) + 1 :].partition(":")
        if rest != "generation":
            return False
        generation = self._generations.get(namespace)
        if generation is not None:
            generation.known = False
        return True

    def forget(self) -> None:
        """Know nothing any more: notices were lost."""
        for generation in self._generations.values():
            generation.known = False

    async def settle_wanted(self) -> None:
        """Tell Redis about the purges that it does not know of. Raises `LevelDownError`."""
        if self._level is not None:
            for namespace, generation in list(self._generations.items()):
                if generation.purges_settled < generation.purges_wanted:
                    await self._settle(self._level, namespace, generation)

    async def _settle(self, level: RedisLevel, namespace: str, generation: _Generation) -> None:
        key = f"{self._prefix}:{namespace}:generation"
        wanted = generation.purges_wanted
        if generation.purges_settled < wanted:
            await level.replace(key, _new_token().encode())
            generation.purges_settled = max(generation.purges_settled, wanted)
            self._in_flight.spoil(key)
        ticket = self._in_flight.begin(key)
        clean = False
        try:
            token = await level.read(key)
            if token is None:
                await level.add(key, _new_token().encode())
                token = await level.read(key)
        finally:
            clean = self._in_flight.end(ticket)
        if token is None:
            raise LevelDownError(f"Redis does not keep the key {key}.")
        if generation.purges_wanted == wanted:  # else somebody purged meanwhile, and what was read is older
            generation.start = self._start(namespace, token.decode(errors="replace"))
            generation.shared = True
            generation.known = clean

    def _new(self, namespace: str) -> _Generation:
        if not _NAMESPACE.fullmatch(namespace):
            raise ValueError(f"namespace: {namespace!r} is not 1 to 64 letters, digits, '_', '.', '-'; choose another.")
        generation = _Generation(self._start(namespace, _new_token()))
        self._generations[namespace] = generation
        return generation

    def _start(self, namespace: str, token: str) -> str:
        return f"{self._prefix}:{namespace}:{token}:v{self._schema}:"
