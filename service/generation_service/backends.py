"""Open what the settings name, or what stands in for it, and close it again in the opposite order.

Nothing is replaced silently: each stand-in is a line in the log and in `/api/performance/status`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from generation_service.adapters.cache.settings import CacheSettings
from generation_service.adapters.cache.two_level import TwoLevelCache, build_cache
from generation_service.adapters.embedded import NotInstalledError, data_folder
from generation_service.adapters.embedded.generator import start_embedded_generator
from generation_service.adapters.embedded.postgres import EmbeddedPostgres
from generation_service.adapters.embedded.valkey import EmbeddedValkey
from generation_service.adapters.generators.built_in import BuiltInGenerator
from generation_service.adapters.generators.openai import GeneratorSettings, OpenAIGenerator
from generation_service.adapters.memory import MemoryStore
from generation_service.adapters.postgres.driver import PoolSettings
from generation_service.adapters.postgres.housekeeping import Retention
from generation_service.adapters.postgres.store import PostgresStore
from generation_service.ports import Clock, Dispatcher, Generator, JobStore
from generation_service.settings import BUILT_IN, MEMORY, Settings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """What the service works with. All of it is open."""

    store: JobStore
    dispatcher: Dispatcher
    cache: TwoLevelCache
    generator: Generator
    durable: PostgresStore | None = None  # the store, if it is one: it has more to tell
    background: tuple[Callable[[], Awaitable[None]], ...] = ()  # to be run beside the service
    stand_ins: tuple[str, ...] = ()  # for people: what is not what it would be in production
    opened: dict[str, str] = field(default_factory=dict)  # kind: what is behind it


@asynccontextmanager
async def open_backends(
    settings: Settings, clock: Clock, wall: Callable[[], float], say: Say
) -> AsyncIterator[Backends]:
    """Open everything, the slow parts side by side.

    Raises `StoreUnavailableError`, `MigrationError` and `EmbeddedError` when what is needed cannot be opened.
    """
    async with AsyncExitStack() as stack:
        folder = Path(settings.data_directory) if settings.data_directory else data_folder()
        opening = _Opening(settings, clock, folder, stack, say)
        async with asyncio.TaskGroup() as group:
            database = group.create_task(opening.database_url())
            redis = group.create_task(opening.redis_url())
            generator = group.create_task(opening.generator())
        cache = build_cache(redis.result(), clock, _cache_settings(settings))
        await cache.start()
        stack.push_async_callback(cache.close)
        store: JobStore
        durable: PostgresStore | None = None
        dispatcher: Dispatcher
        background: tuple[Callable[[], Awaitable[None]], ...] = ()
        if (url := database.result()) is None:
            memory = MemoryStore(clock, wall, finished_seconds=settings.result_retention_seconds)
            store, dispatcher = memory, memory.dispatcher(settings.concurrent_workflows)
        else:
            durable = await PostgresStore.open(
                url, _pool_settings(settings), clock, slow_seconds=settings.slow_query_milliseconds / 1000
            )
            stack.push_async_callback(durable.close)
            store, dispatcher = durable, durable.dispatcher(settings.concurrent_workflows)
            background = (durable.housekeeping(Retention(finished_seconds=settings.result_retention_seconds)).run,)
        yield Backends(
            store=store,
            dispatcher=dispatcher,
            cache=cache,
            generator=generator.result(),
            durable=durable,
            background=background,
            stand_ins=tuple(opening.stand_ins),
            opened=opening.opened,
        )


class _Opening:
    """Finds out what to use. Tells about every stand-in."""

    def __init__(self, settings: Settings, clock: Clock, folder: Path, stack: AsyncExitStack, say: Say) -> None:
        self.stand_ins: list[str] = []
        self.opened: dict[str, str] = {}
        self._settings = settings
        self._clock = clock
        self._folder = folder
        self._stack = stack
        self._say = say

    async def database_url(self) -> str | None:
        """Where Postgres is; None: workflows are kept in memory."""
        if self._settings.database_url == MEMORY:
            self._stand_in("workflows are kept in memory and lost with this process (DATABASE_URL=memory:)")
            return None
        if self._settings.database_url is not None:
            self.opened["database"] = "DATABASE_URL"
            return self._settings.database_url
        try:
            server = EmbeddedPostgres(self._folder, self._say)
            url = await server.start()
        except NotInstalledError as error:
            self._stand_in(f"workflows are kept in memory and lost with this process ({error})")
            return None
        self._stack.push_async_callback(server.stop)
        self.opened["database"] = "embedded"
        return url

    async def redis_url(self) -> str | None:
        """Where Redis is; None: the cache has one level."""
        if self._settings.redis_url == MEMORY:
            self._stand_in("the cache is this process's alone (REDIS_URL=memory:)")
            return None
        if self._settings.redis_url is not None:
            self.opened["redis"] = "REDIS_URL"
            return self._settings.redis_url
        try:
            server = EmbeddedValkey(self._say)
            url = await server.start()
        except NotInstalledError as error:
            self._stand_in(f"the cache is this process's alone ({error})")
            return None
        self._stack.push_async_callback(server.stop)
        self.opened["redis"] = "embedded"
        return url

    async def generator(self) -> Generator:
        """What answers."""
        settings = self._settings
        if settings.generator_url is None:
            embedded = await start_embedded_generator(self._built_in(), self._clock, self._say)
            self._stack.push_async_callback(embedded.stop)
            if embedded.stand_in is not None:
                self._stand_in(embedded.stand_in)
            self.opened["generator"] = embedded.generator.description
            return embedded.generator
        if settings.generator_url == BUILT_IN:
            self._stand_in("answers are made up by the built-in generator (GENERATOR_URL=built-in:)")
            self.opened["generator"] = "built-in"
            return self._built_in()
        rate = settings.generator_requests_per_second or None
        generator = OpenAIGenerator(
            settings.generator_url,
            key=settings.generator_api_key,
            settings=GeneratorSettings(requests_per_second=rate),
            clock=self._clock,
        )
        await generator.start()
        self._stack.push_async_callback(generator.close)
        self.opened["generator"] = "GENERATOR_URL"
        return generator

    def _built_in(self) -> BuiltInGenerator:
        return BuiltInGenerator(
            self._clock,
            latency_seconds=self._settings.simulated_latency_milliseconds / 1000,
            jitter_percent=self._settings.simulated_latency_jitter_percent,
            tokens=self._settings.simulated_tokens,
        )

    def _stand_in(self, text: str) -> None:
        self.stand_ins.append(text)
        self._say(text)


def _cache_settings(settings: Settings) -> CacheSettings:
    return CacheSettings(
        prefix=settings.name[:64],
        ttl_seconds=settings.cache_ttl_seconds,
        l1_ttl_seconds=settings.cache_l1_ttl_seconds,
        l1_entries=settings.cache_l1_entries,
        l1_bytes=settings.cache_l1_mebibytes * 1024 * 1024,
    )


def _pool_settings(settings: Settings) -> PoolSettings:
    return PoolSettings(max_size=settings.database_connections)
