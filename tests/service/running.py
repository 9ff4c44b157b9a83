"""A replica for tests that are not asynchronous: it runs on an event loop in a thread of its own."""

import asyncio
import threading
from contextlib import AsyncExitStack

from contract.postgres_server import PostgresServer
from service.replicas import replica


class Running:
    """A context whose value is the URL of a replica with a database of its own."""

    def __init__(self, postgres: PostgresServer, **settings: object) -> None:
        self._postgres = postgres
        self._settings = settings
        self._stack = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> str:
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(90)

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stack.aclose(), self._loop).result(90)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> str:
        database = await self._postgres.fresh()
        settings: dict[str, object] = {"simulated_latency_milliseconds": 0} | self._settings
        return (await self._stack.enter_async_context(replica(database, **settings))).url  # type: ignore[arg-type]
