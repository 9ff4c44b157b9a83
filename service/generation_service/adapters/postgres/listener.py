"""Notices from the database, on one connection that comes back by itself.

A connection that is lost takes notices with it. Whoever listens is told `None` as soon as there is a new one, and looks
again; while there is none nobody hears anything, and nobody waits for one to start.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from generation_service.adapters.postgres.driver import Connection, PoolSettings, connect, translated
from generation_service.ports import Clock, StoreUnavailableError

_LOG = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0
# A connection that a router dropped looks alive until something is sent over it.
PROBE_SECONDS: Final = 10.0

Heard = Callable[[str | None], None]


class Listener:
    """Keeps one connection that listens. `start` it before use."""

    def __init__(self, url: str, settings: PoolSettings, clock: Clock, channels: tuple[str, ...]) -> None:
        self._url = url
        self._settings = settings
        self._clock = clock
        self._listeners: dict[str, list[Heard]] = {channel: [] for channel in channels}
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()

    async def start(self) -> None:
        """Connect for the first time. Raises `StoreUnavailableError`."""
        connection = await self._connect()
        self._task = asyncio.get_running_loop().create_task(self._keep(connection), name="store-listener")

    async def close(self) -> None:
        """Hear nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def add(self, channel: str, heard: Heard) -> Callable[[], None]:
        """Have `heard(payload)` called for each notice of a channel, `heard(None)` when some may be lost."""
        listeners = self._listeners[channel]
        listeners.append(heard)

        def remove() -> None:
            if heard in listeners:
                listeners.remove(heard)

        return remove

    async def _connect(self) -> Connection:
        connection = await connect(self._url, self._settings)
        self._lost = lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            with translated():
                for channel in self._listeners:
                    await connection.add_listener(channel, self._heard)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _keep(self, connection: Connection) -> None:
        try:
            while True:
                await self._until_lost(connection)
                connection.terminate()
                connection = await self._connect_again()
                for channel in self._listeners:
                    self._tell(channel, None)
        finally:
            connection.terminate()

    async def _until_lost(self, connection: Connection) -> None:
        while not self._lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._lost.wait()
                    return
            try:
                with translated():
                    await connection.fetch("SELECT 1")
            except StoreUnavailableError:
                return

    async def _connect_again(self) -> Connection:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._connect()
            except StoreUnavailableError as error:
                _LOG.warning("no notices from the database for now: %s", error)
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _heard(self, _connection: Connection, _pid: int, channel: str, payload: str) -> None:
        self._tell(channel, payload)

    def _tell(self, channel: str, payload: str | None) -> None:
        for heard in tuple(self._listeners[channel]):
            heard(payload)
