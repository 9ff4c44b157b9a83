"""Ask a Prometheus once for the past of all services: arrivals, slot by slot.

Eight days of thousands of services are millions of numbers. They are asked for in pieces that fit into one answer, one
after the other, in a thread, so that nobody waits for it: neither a tick nor, for long, anybody else's query.
"""

import asyncio
import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from prometheus_api_client import PrometheusApiClientException

from generation_operator.api.resource import Key
from generation_operator.decide.forecast import SLOT_SECONDS
from generation_operator.observe.prometheus import connection
from generation_operator.observe.queries import arrivals_over

# In one answer: some 30 bytes each, so a third of what is read of an answer at most.
_POINTS: Final = 100_000
_PAUSE_SECONDS: Final = 1.0

Rates = Mapping[Key, Mapping[int, float]]


class HistoryError(Exception):
    """A Prometheus did not tell the past."""


class ArrivalHistory(Protocol):
    """The port."""

    async def read(self, url: str, slots: range, *, services: int, own: Mapping[Key, str]) -> Rates:
        """Arrivals per second by service and slot; what is not known is left out. Raises `HistoryError`.

        Args:
            url: of the Prometheus.
            slots: slot numbers since the epoch, all of them over.
            services: how many services it is expected to tell of.
            own: the queries of services that bring one for their arrivals.
        """


class RangeClient(Protocol):
    """What is needed of the client library, blocking."""

    def custom_query_range(self, query: str, start_time: datetime, end_time: datetime, step: str) -> object:
        """The `result` of a range query."""

    def close(self) -> None:
        """Close idle connections."""


class PrometheusHistory:
    """An `ArrivalHistory` on Prometheus servers.

    Args:
        connect: makes the client of one server.
        slot_seconds: length of a slot.
        points: numbers in one answer, at most.
        pause_seconds: between two queries.
    """

    def __init__(
        self,
        connect: Callable[[str], RangeClient] = connection,
        *,
        slot_seconds: float = SLOT_SECONDS,
        points: int = _POINTS,
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        self._connect = connect
        self._slot_seconds = slot_seconds
        self._points = points
        self._pause_seconds = pause_seconds

    async def read(self, url: str, slots: range, *, services: int, own: Mapping[Key, str]) -> Rates:
        """Arrivals per second by service and slot; an own query is taken at the end of each slot."""
        rates: dict[Key, dict[int, float]] = defaultdict(dict)
        try:
            client = self._connect(url)
            with contextlib.closing(client):
                for piece in self._pieces(slots, services):
                    if rates:
                        await asyncio.sleep(self._pause_seconds)
                    for key, found in (await asyncio.to_thread(self._ask, client, piece)).items():
                        rates[key].update(found)
                for key, query in own.items():
                    await asyncio.sleep(self._pause_seconds)
                    rates[key] = await asyncio.to_thread(self._ask_own, client, query, slots)
        except Exception as error:  # noqa: BLE001 - the other side may send anything; none of it may escape
            # Its kind alone: the text may hold the URL, and with it a password.
            raise HistoryError(type(error).__name__) from None
        return rates

    def _pieces(self, slots: range, services: int) -> Iterator[range]:
        size = max(1, self._points // max(1, services))
        for first in range(0, len(slots), size):
            yield slots[first : first + size]

    def _ask(self, client: RangeClient, slots: range) -> Rates:
        return parse_matrix(self._at_ends(client, arrivals_over(round(self._slot_seconds)), slots), self._slot_seconds)

    def _ask_own(self, client: RangeClient, query: str, slots: range) -> dict[int, float]:
        """Nothing where the query is refused, or gives anything but one series: that is its resource's affair."""
        try:
            result = self._at_ends(client, query, slots)
        except PrometheusApiClientException:
            return {}
        match result:
            case [{"values": list(samples)}]:
                return _by_slot(samples, self._slot_seconds)
            case _:
                return {}

    def _at_ends(self, client: RangeClient, query: str, slots: range) -> object:
        # A rate over a slot is what is known at its end.
        first, last = ((slot + 1) * self._slot_seconds for slot in (slots[0], slots[-1]))
        start, end = (datetime.fromtimestamp(at, UTC) for at in (first, last))
        return client.custom_query_range(query, start, end, f"{self._slot_seconds:g}")


def parse_matrix(result: object, slot_seconds: float) -> dict[Key, dict[int, float]]:
    """Rates by service and slot; what is no finite number, or below zero, is left out.

    Raises:
        ValueError: this is not a matrix.
    """
    if not isinstance(result, list):
        raise ValueError("not a matrix")  # noqa: TRY004 - about content that came in, not about our types
    found: dict[Key, dict[int, float]] = {}
    for entry in result:
        match entry:
            case {"metric": {"namespace": str(namespace), "service": str(service)}, "values": list(samples)}:
                found[Key(namespace, service)] = _by_slot(samples, slot_seconds)
            case {"metric": dict(), "values": list()}:
                continue
            case _:
                raise ValueError("not a matrix")
    return found


def _by_slot(samples: list[Any], slot_seconds: float) -> dict[int, float]:
    rates = {round(float(at) / slot_seconds) - 1: float(text) for at, text in samples}
    return {slot: rate for slot, rate in rates.items() if math.isfinite(rate) and rate >= 0}
