"""Hears from Redis which keys changed, so that no replica goes on serving what another one replaced.

One connection of its own in RESP2: it subscribes to `__redis__:invalidate` and redirects its tracking to itself, so
there is no second connection whose loss would end the notices silently. Tracking is by prefix (BCAST): the server keeps
nothing per key. A silent network is found by asking once a second. While this is not `up`, notices are lost: whoever
keeps copies must not trust them.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from generation_service.ports import Clock

_CHANNEL = b"__redis__:invalidate"
_CONNECT_SECONDS = 1.0
_HEARTBEAT_SECONDS = 1.0  # the longest time for which a replica that is cut off trusts its copies is twice this
_RETRY_SECONDS = (0.05, 2.0)  # first and longest pause between attempts


class Connection(Protocol):
    """The verbs of the client library's connection that are used here."""

    async def connect(self) -> None:
        """Connect and authenticate."""

    async def disconnect(self, nowait: bool = False) -> None:
        """Close."""

    async def send_command(self, *command: str | bytes, check_health: bool) -> None:
        """Send, without waiting for an answer."""

    async def read_response(self, *, timeout: float) -> object:  # noqa: ASYNC109 - the library's name
        """The next answer or message; None after `timeout` seconds without one."""


_log = logging.getLogger(__name__)


class Tracker:
    """Follows the keys with a prefix.

    Args:
        new_connection: makes a connection that is not connected yet.
        prefix: of the keys.
        clock: to wait between attempts.
        on_change: called with changed keys, or None: any key may have changed.
        on_up: called when notices come (again), before the first of them.
    """

    def __init__(
        self,
        new_connection: Callable[[], Connection],
        prefix: str,
        clock: Clock,
        *,
        on_change: Callable[[Sequence[str] | None], None],
        on_up: Callable[[], None],
    ) -> None:
        self._new_connection = new_connection
        self._prefix = prefix
        self._clock = clock
        self._on_change = on_change
        self._on_up = on_up
        self._up = asyncio.Event()
        self.losses = 0

    @property
    def up(self) -> bool:
        """Whether every change is heard of."""
        return self._up.is_set()

    async def wait_up(self) -> None:
        """Return when notices come."""
        await self._up.wait()

    async def run(self) -> None:
        """Follow, and connect again after every loss, until cancelled."""
        pause = _RETRY_SECONDS[0]
        while True:
            connection = self._new_connection()
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await self._begin(connection)
                self._on_up()
                self._up.set()
                pause = _RETRY_SECONDS[0]
                await self._listen(connection)
            except Exception as error:  # noqa: BLE001 - whatever it was, without notices all is slow for good
                if self._up.is_set():
                    self.losses += 1
                    _log.warning("cache: notices of Redis stopped (%s); copies in memory are not trusted.", error)
            finally:
                self._up.clear()
                await connection.disconnect(nowait=True)
            await self._clock.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the replicas
            pause = min(2 * pause, _RETRY_SECONDS[1])

    async def _begin(self, connection: Connection) -> None:
        await connection.connect()
        number = await _ask(connection, "CLIENT", "ID")
        await _ask(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", str(number), "BCAST", "PREFIX", self._prefix)
        await _ask(connection, "SUBSCRIBE", _CHANNEL)

    async def _listen(self, connection: Connection) -> None:
        asked = False
        while True:
            _end_if_cancelled()
            message = await connection.read_response(timeout=_HEARTBEAT_SECONDS)
            if message is None:
                if asked:
                    raise TimeoutError(f"no answer for {_HEARTBEAT_SECONDS:g} s")
                asked = True
                await connection.send_command("PING", check_health=False)
                continue
            asked = False
            kind, _, keys = (*cast("Sequence[object]", message), None)[:3]
            if kind == b"message":
                names = cast("Sequence[bytes] | None", keys)  # None: all, after FLUSHALL
                self._on_change(None if names is None else [name.decode(errors="replace") for name in names])


def _end_if_cancelled() -> None:
    """Make up for `asyncio.wait_for` of Python 3.11, in which the client sends: it can swallow a cancellation."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _ask(connection: Connection, *command: str | bytes) -> object:
    await connection.send_command(*command, check_health=False)
    _end_if_cancelled()
    answer = await connection.read_response(timeout=_CONNECT_SECONDS)
    if answer is None:
        raise TimeoutError(f"no answer to {command[0]!r} for {_CONNECT_SECONDS:g} s")
    return answer
