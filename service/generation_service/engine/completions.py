"""Answer chat completions: from the cache, else from the generator, each question once however many ask it.

The generator's bytes are handed on as they are. A stream that several clients ask for at the same time runs once; each
reader gets it from the beginning, and it stops when the last one has gone.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final

from generation_service.engine.pools import Pool
from generation_service.ports import Cache, CacheStatus, CacheUse, Found, Generator, GeneratorError, Loaded, Warmer

WHOLE: Final = "chat"
STREAMED: Final = "chat-stream"
# A stream is kept in memory for late readers and for the cache; no model answers with more than this.
LARGEST_STREAM_BYTES: Final = 4 * 1024 * 1024
WARMING_TIMEOUT_SECONDS: Final = 60.0  # nobody waits for it
_SEPARATOR: Final = b"\x1e"  # JSON never contains this byte as it is

Gate = Callable[[float], AbstractAsyncContextManager[None]]  # takes the seconds that one may wait before it


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request in the OpenAI format."""

    body: bytes  # what the generator gets
    canonical: bytes  # equal for requests that mean the same; a request too
    key: str  # of that
    streamed: bool = False

    @classmethod
    def of(cls, canonical: bytes, body: bytes | None = None, *, streamed: bool = False) -> "ChatRequest":
        """A request whose meaning is `canonical`: keys sorted, fields without influence on the answer left out."""
        key = hashlib.blake2b(canonical, digest_size=20).hexdigest()
        return cls(canonical if body is None else body, canonical, key, streamed)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer in parts (the data of each event) and where it came from."""

    status: CacheStatus
    parts: AsyncGenerator[bytes, None]


def _open(_timeout_seconds: float) -> AbstractAsyncContextManager[None]:
    return nullcontext()


class Completions:
    """The way to the generator for everything in this process."""

    def __init__(
        self,
        generator: Generator,
        cache: Cache,
        pool: Pool,
        warmer: Warmer,
        retried: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self.generator = generator
        self._retried = retried
        self._cache = cache
        self._pool = pool
        self._warmer = warmer
        self._live: dict[str, LiveStream] = {}

    def peek(self, request: ChatRequest) -> Found | None:
        """The whole answer if this process has it at hand."""
        found = self._cache.peek(WHOLE, request.key)
        if found is not None:
            self._warmer.record(WHOLE, request.key, request.canonical)
        return found

    async def complete(
        self, request: ChatRequest, timeout_seconds: float, use: CacheUse = CacheUse.NORMAL, gate: Gate = _open
    ) -> Found:
        """Answer a request.

        Args:
            request: without `stream`.
            timeout_seconds: for everything; whoever shares a load has that of the one who started it, if it is less.
            use: of the cache.
            gate: entered only if the generator must be asked, around the wait for its pool.

        Raises `GeneratorError`, `PoolFullError`, `TimeoutError`, and whatever the gate raises.
        """
        # No timer around it all: each wait has its own, and those that need not wait need none.
        now = asyncio.get_running_loop().time
        until = now() + timeout_seconds

        async def load() -> Loaded:
            async with gate(until - now()):
                await self._pool.acquire(until - now())  # by hand: a context manager would cost more than the place
                try:
                    completion = await self.generator.complete(request.body, until - now())
                finally:
                    self._pool.release()
            if completion.retries:
                self._retried(completion.retries)
            return Loaded(completion.body)

        found = await self._cache.fetch(WHOLE, request.key, load, use, timeout_seconds)
        if use is CacheUse.NORMAL:
            self._warmer.record(WHOLE, request.key, request.canonical)
        return found

    async def warm(self, canonical: bytes) -> None:
        """Ask again what was asked before, so that the next one finds the answer. Raises as `complete`."""

        async def load() -> Loaded:
            async with self._pool.slot():
                return Loaded((await self.generator.complete(canonical, WARMING_TIMEOUT_SECONDS)).body)

        await self._cache.fetch(WHOLE, ChatRequest.of(canonical).key, load, CacheUse.REFRESH)

    async def stream(
        self, request: ChatRequest, timeout_seconds: float, use: CacheUse = CacheUse.NORMAL, gate: Gate = _open
    ) -> Stream:
        """Answer a request with `"stream": true`; as `complete`, the errors come with the first part or later."""
        if use is CacheUse.NONE:
            return Stream(CacheStatus.BYPASS, self._from_generator(request, timeout_seconds, gate))
        if use is CacheUse.NORMAL:
            found = await self._cache.get(STREAMED, request.key)
            if found is not None:
                return Stream(found.status, _replay(found.value))
        live = self._live.get(request.key)
        if live is None or live.over or use is CacheUse.REFRESH:
            live = LiveStream(self._from_generator(request, timeout_seconds, gate), partial(self._done, request.key))
            self._live[request.key] = live
        return Stream(CacheStatus.MISS, live.read())

    async def _from_generator(
        self, request: ChatRequest, timeout_seconds: float, gate: Gate
    ) -> AsyncGenerator[bytes, None]:
        async with (
            gate(timeout_seconds),
            self._pool.slot(timeout_seconds),
            aclosing(self.generator.stream(request.body, timeout_seconds)) as parts,
        ):
            async for part in parts:
                yield part

    async def _done(self, key: str, live: "LiveStream") -> None:
        if self._live.get(key) is live:
            del self._live[key]
        if live.whole:
            await self._cache.put(STREAMED, key, Loaded(_SEPARATOR.join(live.parts)))


async def _replay(value: bytes) -> AsyncGenerator[bytes, None]:
    for part in value.split(_SEPARATOR):
        yield part


class LiveStream:
    """One stream and its readers, each of whom starts at the beginning whenever they come."""

    def __init__(self, source: AsyncGenerator[bytes, None], done: Callable[["LiveStream"], Awaitable[None]]) -> None:
        self.parts: list[bytes] = []
        self.whole = False  # ended well
        self.over = False
        self._source = source
        self._done = done
        self._error: Exception | None = None
        self._readers = 0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def read(self) -> AsyncGenerator[bytes, None]:
        """All parts, the past ones at once. Raises what the source raised."""
        self._readers += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._pump())
        position = 0
        try:
            while True:
                while position < len(self.parts):
                    position += 1
                    yield self.parts[position - 1]
                if self.over:
                    break
                await self._changed.wait()
            if self._error is not None:
                raise self._error
        finally:
            self._readers -= 1
            if self._readers == 0 and not self.over:
                self._task.cancel()

    async def _pump(self) -> None:
        size = 0
        try:
            async with aclosing(self._source) as source:
                async for part in source:
                    size += len(part)
                    if size > LARGEST_STREAM_BYTES:
                        self._error = GeneratorError(f"the stream is longer than {LARGEST_STREAM_BYTES} bytes")
                        break
                    self.parts.append(part)
                    self._wake()
            self.whole = self._error is None
        except Exception as error:  # noqa: BLE001 - raised again for every reader
            self._error = error
        finally:
            self.over = True
            self._wake()
            await self._done(self)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
