"""Open watches at a pace that an API server in trouble can bear.

kopf opens a watch that was cut again at once, and its `reconnect_backoff` does not apply there. While something between
us and the API server lets watches start and cuts them, eight kinds come to well over a hundred requests a second. A
watch that ends as usual has lasted minutes, so nothing here ever delays it.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Final

import aiohttp

# A watch that is cut at once costs its kind this much delay; eight kinds make eight requests a second at most.
WATCH_SECONDS: Final = 1.0


class Pace:
    """Lets each path have its turn once in a while.

    Args:
        seconds: from one turn of a path to its next.
        clock: monotonic, in seconds.
        sleep: waits for that many seconds.
    """

    def __init__(
        self,
        seconds: float = WATCH_SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._next: dict[str, float] = {}

    async def turn(self, path: str) -> None:
        """Wait until it is the turn of the path."""
        now = self._clock()
        at = max(now, self._next.get(path, now))
        self._next[path] = at + self._seconds
        if at > now:
            await self._sleep(at - now)


def paced_session(tls: ssl.SSLContext, headers: Mapping[str, str], pace: Pace) -> aiohttp.ClientSession:
    """An HTTP session that opens watches at the given pace; everything else is not delayed.

    Args:
        tls: how to trust the API server, with the client's certificate if it has one.
        headers: of every request; the token above all.
        pace: shared by all sessions of the process, so that a new login does not start it anew.
    """

    async def on_start(_: aiohttp.ClientSession, __: SimpleNamespace, request: aiohttp.TraceRequestStartParams) -> None:
        if "watch" in request.url.query:
            await pace.turn(request.url.path)

    tracing = aiohttp.TraceConfig()
    tracing.on_request_start.append(on_start)
    # No limit of connections: every watch keeps one.
    connector = aiohttp.TCPConnector(limit=0, ssl=tls)
    return aiohttp.ClientSession(connector=connector, headers=headers, trace_configs=[tracing])
