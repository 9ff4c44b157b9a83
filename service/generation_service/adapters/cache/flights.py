"""Callers who want the same at the same time share one piece of work.

A caller who is cancelled leaves; the work is cancelled when the last one has left. Holds nothing for work that is done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Result = TypeVar("Result")


@dataclass(slots=True)
class Flight(Generic[Result]):
    """Work under way. `keep` is for the work itself to look at: False when its result was revoked meanwhile."""

    keep: bool = True
    waiting: int = 0
    task: "asyncio.Task[Result] | None" = field(default=None)


class Flights(Generic[Result]):
    """Work by key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight[Result]] = {}
        self.coalesced = 0  # callers who found the work under way

    def __len__(self) -> int:
        return len(self._flights)

    def get(self, key: Hashable) -> Flight[Result] | None:
        """The work under way for this key."""
        return self._flights.get(key)

    async def join(self, key: Hashable, work: Callable[[Flight[Result]], Awaitable[Result]]) -> Result:
        """The result of the work under way, or of `work`, started now. What it raises is raised for every caller."""
        flight = self._flights.get(key)
        if flight is None:
            flight = Flight()
            self._flights[key] = flight
            flight.task = asyncio.get_running_loop().create_task(self._run(key, flight, work))
        else:
            self.coalesced += 1
        assert flight.task is not None  # noqa: S101 - set in the same turn in which the flight became visible
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._forget(key, flight)  # at once: whoever comes now needs work that is not being cancelled
                flight.task.cancel()

    async def _run(
        self, key: Hashable, flight: Flight[Result], work: Callable[[Flight[Result]], Awaitable[Result]]
    ) -> Result:
        try:
            return await work(flight)
        finally:
            self._forget(key, flight)

    def _forget(self, key: Hashable, flight: Flight[Result]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
