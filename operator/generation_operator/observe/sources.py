"""Put together what the pods say now and what Prometheus said last, each at its own pace.

A service has something new when its pods were just asked, or when Prometheus was: only then there is a reading, and a
decision. A Prometheus that is slow or dead delays nobody whose pods answer.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from generation_operator.api.resource import Key
from generation_operator.observe.load import Load
from generation_operator.observe.pods import Target
from generation_operator.observe.signals import Ask, FreshLoad, MetricsSource, Reading

# What Prometheus takes on an ordinary day. While pods are asked too, its answer may come with the next round.
_PATIENCE_SECONDS: Final = 0.5


class LoadSource(Protocol):
    """Samples the pods of services."""

    async def sample(self, targets: Sequence[Target]) -> Mapping[Key, Load]:
        """The load of the services that had their turn."""


class _Known(NamedTuple):
    reading: Reading
    at: float


class Sources:
    """A `MetricsSource` that reads the pods each time it is asked, and Prometheus every `metrics_seconds`.

    Args:
        metrics: Prometheus.
        loads: the pods.
        metrics_seconds: between two reads of Prometheus.
        clock: monotonic, in seconds.
    """

    def __init__(
        self, metrics: MetricsSource, loads: LoadSource, *, metrics_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._metrics = metrics
        self._loads = loads
        self._metrics_seconds = metrics_seconds
        self._clock = clock
        self._known: dict[Key, _Known] = {}
        self._told: dict[Key, Load] = {}
        self._refresh: asyncio.Task[Mapping[Key, Reading]] | None = None
        self._next_refresh = -1.0  # before any monotonic time

    async def read(self, asks: Sequence[Ask]) -> Mapping[Key, Reading]:
        """One reading for each service that has something new."""
        if self._refresh is None and self._clock() >= self._next_refresh:
            self._next_refresh = self._clock() + self._metrics_seconds
            self._refresh = asyncio.create_task(self._metrics.read(asks), name="metrics")
        loads = await self._loads.sample([Target(ask.key, ask.port) for ask in asks])
        new = await self._refreshed(wait=not any(load.answered for load in loads.values()))
        keys = {ask.key for ask in asks}
        sampled = {key: load for key, load in loads.items() if load.answered}
        self._known = {key: known for key, known in self._known.items() if key in keys}
        self._told = {key: load for key, load in self._told.items() if key in keys} | sampled
        now = self._clock()
        return {key: self._reading(key, now) for key in keys & (sampled.keys() | new)}

    async def close(self) -> None:
        """End a read that is under way."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)

    async def _refreshed(self, *, wait: bool) -> set[Key]:
        """Take in what Prometheus said, if it has by now; the services that it was asked about."""
        if self._refresh is None:
            return set()
        await asyncio.wait([self._refresh], timeout=None if wait else _PATIENCE_SECONDS)
        if not self._refresh.done():
            return set()
        readings, self._refresh = self._refresh.result(), None
        now = self._clock()
        self._known.update({key: _Known(reading, now) for key, reading in readings.items()})
        return set(readings)

    def _reading(self, key: Key, now: float) -> Reading:
        known, load = self._known.get(key), self._told.get(key)
        reading = Reading() if known is None else _aged(known.reading, now - known.at)
        if load is None:
            return reading
        fresh = FreshLoad(load.in_flight, load.queued, load.arrivals, now - load.at, load.expected, load.answered)
        return dataclasses.replace(reading, load=fresh)


def _aged(reading: Reading, seconds: float) -> Reading:
    if reading.age is None or seconds <= 0:
        return reading
    return dataclasses.replace(reading, age=reading.age + seconds)
