"""PromQL that a resource brings itself, for a service whose metrics are not named like ours.

These queries are a user's: they may be slow, wrong or many. So they run in a few threads of their own, beside the
queries that all services share, and one resource's failure is in its own reading only. A query has to come down to one
number; which of several is meant is never guessed.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol

from prometheus_api_client import PrometheusApiClientException

from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName

# 2: queries of users that one Prometheus evaluates at a time, beside the 4 of the shared batch.
_THREADS: Final = 2

Queries = Mapping[SignalName, str]


class Client(Protocol):
    """The one blocking call that is needed of the client library."""

    def custom_query(self, query: str) -> object:
        """The `result` of an instant query."""


@dataclass(frozen=True, slots=True)
class Own:
    """What the queries of one resource gave."""

    values: Mapping[SignalName, float] = field(default_factory=dict)  # absent when the result is empty; may be NaN
    error: str | None = None  # `Reason: what is wrong with which query and what to do`


class OwnQueries:
    """Asks one Prometheus the queries of single resources.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="prometheus-own")
        self._answered: dict[Key, float] = {}

    async def ask(self, client: Client, wanted: Mapping[Key, Queries], seconds: float) -> dict[Key, Own]:
        """One outcome for each resource, within `seconds`.

        Who was answered longest ago is first, so that with more queries than time each gets its turn.
        """
        loop, deadline = asyncio.get_running_loop(), self._clock() + seconds
        order = sorted(wanted, key=lambda key: (self._answered.get(key, float("-inf")), key))
        jobs = {key: loop.run_in_executor(self._threads, self._one, client, wanted[key], deadline) for key in order}
        if not jobs:
            return {}
        try:
            await asyncio.wait(jobs.values(), timeout=seconds)
            found = {key: job.result() if job.done() else _LATE for key, job in jobs.items()}
        finally:
            for job in jobs.values():
                job.cancel()
        now = self._clock()
        self._answered = {
            key: self._answered.get(key, float("-inf")) if own is _LATE else now for key, own in found.items()
        }
        return found

    def close(self) -> None:
        """Start no further query; one that is on its way ends by its own time-out."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _one(self, client: Client, queries: Queries, deadline: float) -> Own:
        """Runs in a thread."""
        values: dict[SignalName, float] = {}
        error = None
        for name, text in queries.items():
            if self._clock() > deadline:
                return _LATE
            try:
                value = one_number(client.custom_query(text))
            except Exception as failure:  # noqa: BLE001 - the other side may send anything; none of it may escape
                error = error or f"QueryFailed: spec.metrics.queries[{name}] {_symptom(failure)}"
                continue
            if value is not None:
                values[name] = value
        return Own(values, error)


_LATE: Final = Own(
    error="QueryFailed: spec.metrics.queries were not answered in time; make them cheaper, with a recording rule"
)


class SeveralSeriesError(ValueError):
    """A query that should give one number gives several."""


def one_number(result: object) -> float | None:
    """The number that a query comes down to: a scalar, or a vector of one series; None for an empty vector.

    Raises:
        SeveralSeriesError: there are several series.
        ValueError: this is neither a vector nor a scalar.
    """
    match result:
        case []:
            return None
        case [{"value": [_, str(text)]}] | [int() | float(), str(text)]:
            return float(text)
        case [{"value": _}, *_]:
            raise SeveralSeriesError
        case _:
            raise ValueError("neither a scalar nor an instant vector")


def _symptom(error: Exception) -> str:
    """What is wrong and what to do, in words that stay the same while it goes on."""
    if isinstance(error, SeveralSeriesError):
        return "gives several series; aggregate them to one, for example with sum(...)"
    if isinstance(error, PrometheusApiClientException):
        status = re.match(r"HTTP Status Code (\d{3})", str(error))
        return f"was refused (HTTP status {status[1] if status else 'unknown'}); check its PromQL"
    if isinstance(error, OSError) and not isinstance(error, ValueError):  # requests' exceptions are OSErrors
        return f"was not answered ({type(error).__name__}); check spec.metrics.prometheusURL"
    return "gives no number; it has to be an instant vector of one series, or a scalar"
