"""Wake up whoever waits for a workflow when it changed, wherever it runs.

The store says "this one changed" or "look again"; nobody polls while it can say so. A slow poll remains for the case
that a notice was lost with a connection that nobody has found dead yet.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from generation_service.ports import Clock, JobStore

LONGEST_SILENCE_SECONDS: Final = 5.0


class Bell:
    """Rings for one waiter. A ring while nobody listens is kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake the waiter."""
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        """Return True when it rings, False after `seconds`."""
        timed_out = False

        def time_out() -> None:
            nonlocal timed_out
            timed_out = not self._event.is_set()
            self._event.set()

        timer = self._clock.call_later(seconds, time_out)
        try:
            await self._event.wait()
        finally:
            timer.cancel()
        self._event.clear()
        return not timed_out


class Notices:
    """Bells by workflow."""

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self._clock = clock
        self._bells: dict[str, set[Bell]] = {}
        self._waiting = 0
        self._stop = store.watch(self._changed)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    def close(self) -> None:
        """Hear nothing more."""
        self._stop()

    def ring_all(self) -> None:
        """Wake everybody: something concerns all of them."""
        self._changed(None)

    @contextmanager
    def bell(self, workflow_id: str) -> Iterator[Bell]:
        """A bell that rings whenever the workflow changed. Take it before looking, or a change can be missed."""
        bell = Bell(self._clock)
        self._bells.setdefault(workflow_id, set()).add(bell)
        self._waiting += 1
        try:
            yield bell
        finally:
            self._waiting -= 1
            bells = self._bells[workflow_id]
            bells.discard(bell)
            if not bells:
                del self._bells[workflow_id]

    def _changed(self, workflow_id: str | None) -> None:
        if workflow_id is not None:
            for bell in self._bells.get(workflow_id, ()):
                bell.ring()
            return
        for bells in self._bells.values():
            for bell in bells:
                bell.ring()
