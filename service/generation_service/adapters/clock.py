"""The real clock: the event loop's own, so that timers and measured durations agree."""

import asyncio
from collections.abc import Callable


class LoopClock:
    """`ports.Clock` on the event loop in which it is first asked."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        """Seconds, monotonic."""
        return self._running().time()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Schedule a call."""
        return self._running().call_later(seconds, callback)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def _running(self) -> asyncio.AbstractEventLoop:
        # Finding the running loop is a system call on Python 3.11: three times what asking it for the time takes.
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop
