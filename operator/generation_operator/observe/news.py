"""Ask Prometheus many times between two scrapes what it has scraped since: the load, and nothing that is known already.

A service is scraped at a moment of its own, every 15 s or so. To read everything of all services so often that none
waits long after its scrape would cost Prometheus 270 ms of CPU per thousand pods each time. One query for what is new
takes 20, and its answer is short. What there is to do is a gauge, so it tells of a new load at once; rates over a
minute, which tell it late, can wait for the next read of everything.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, Protocol

from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName
from generation_operator.observe.queries import GAUGES, NEWEST, ONE_PER_POD, entries
from generation_operator.observe.share import Share

# 1 s: a sample bears the time at which its scrape began, and can be read when it has ended. What takes longer than that
# is seen by the next read of everything.
_SCRAPE_SECONDS: Final = 1.0
# The share of the time that a server may spend on this: a slow one, or one with tens of thousands of pods, is asked
# less often. Asked every 0.5 s, 5,000 pods take a fifth of one core.
_SHARE: Final = 0.25
_ANSWER_SECONDS: Final = 5.0
# After a failure. What is wrong is told by the read of everything, which comes about as often.
_PAUSE_SECONDS: Final = 5.0
_LOAD: Final = {gauge: name for name, gauge in GAUGES.items()}
_SAMPLED: Final = "Sampled"


class News(NamedTuple):
    """The load of one service as it was just scraped."""

    values: Mapping[SignalName, float]
    sampled_at: float  # Unix seconds on the clock of Prometheus
    asked_at: float  # on the same

    @property
    def age(self) -> float:
        """Seconds from the sample to the question."""
        return max(0.0, self.asked_at - self.sampled_at)


class Client(Protocol):
    """The one blocking call that is needed of the client library."""

    def custom_query(self, query: str) -> object:
        """The `result` of an instant query."""


class NewsQueries:
    """Asks one Prometheus.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prometheus-news")
        self._not_before = -math.inf
        self._share = Share(_SHARE)
        self._since = 0.0
        self._newest: dict[Key, float] = {}  # samples that may be told again

    async def ask(self, client: Client, keys: Collection[Key]) -> dict[Key, News]:
        """What is new of these services; nothing from a server that fails, and for a while after."""
        began = self._clock()
        if began < self._not_before:
            return {}
        try:
            job = asyncio.get_running_loop().run_in_executor(self._thread, _told, client, self._since)
            told = await asyncio.wait_for(job, _ANSWER_SECONDS)
        except Exception:  # noqa: BLE001 - the other side may send anything, or nothing; none of it may escape
            self._not_before = self._clock() + _PAUSE_SECONDS
            return {}
        self._share.took(self._clock() - began)
        self._not_before = began + self._share.period
        # Not ahead of the server's own clock: a sample from the future would hide all that follow it.
        seen = max((min(news.sampled_at, news.asked_at) for news in told.values()), default=0.0)
        self._since = max(self._since, seen - _SCRAPE_SECONDS)
        before, self._newest = self._newest, {key: news.sampled_at for key, news in told.items() if key in keys}
        return {key: told[key] for key, at in self._newest.items() if at > before.get(key, -math.inf)}

    def close(self) -> None:
        """Start no further query; one that is on its way ends by its own time-out."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def news_query(since: float) -> str:
    """One query for the load of all services that were scraped since, and for when they were.

    Args:
        since: Unix seconds on the clock of Prometheus.
    """
    fresh = f"{NEWEST} > {since:.3f}"
    sampled = f'label_replace({fresh}, "signal", "{_SAMPLED}", "", "")'
    # Joined with the pods of these services only, and both gauges at once: a third of the time of two queries.
    gauges = f'label_replace({{__name__=~"{"|".join(_LOAD)}"}}, "signal", "$1", "__name__", "(.+)")'
    pods = f"({ONE_PER_POD} and on (namespace, service) ({fresh}))"
    joined = f"{gauges} * on (namespace, pod) group_left (service) {pods}"
    return f"{sampled} or sum by (namespace, service, signal) ({joined})"


def _told(client: Client, since: float) -> dict[Key, News]:
    """Runs in a thread."""
    return parse_news(client.custom_query(news_query(since)))


def parse_news(result: object) -> dict[Key, News]:
    """The answer to `news_query` by service; what is no finite number, or of nobody, is left out.

    Raises:
        ValueError: this is not an instant vector.
    """
    times: dict[Key, tuple[float, float]] = {}
    values: dict[Key, dict[SignalName, float]] = defaultdict(dict)
    for metric, at, value in entries(result):
        namespace, service, signal = metric.get("namespace"), metric.get("service"), metric.get("signal")
        if type(namespace) is not str or type(service) is not str or not math.isfinite(value):
            continue
        if signal == _SAMPLED:
            times[Key(namespace, service)] = value, at
        elif signal in _LOAD:
            values[Key(namespace, service)][_LOAD[signal]] = value
    return {key: News(values[key], sampled_at, asked_at) for key, (sampled_at, asked_at) in times.items()}
