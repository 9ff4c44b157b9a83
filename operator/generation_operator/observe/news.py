"""Ask Prometheus many times between two scrapes what it has scraped since: the load, and nothing that is known already.

A service is scraped at a moment of its own, every 15 s or so. To read everything of all services so often that none
waits long after its scrape would cost Prometheus more than all other uses of it together. One query for what is new
costs a few milliseconds per thousand pods, and its answer is short.
"""

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, Protocol

from generation_operator.api.resource import Key
from generation_operator.decide.types import SignalName
from generation_operator.observe.queries import GAUGES, NEWEST, arrivals_over
from generation_operator.observe.signals import Ask

# 1 s: a sample bears the time at which its scrape began, and can be read when it has ended. What takes longer than that
# is seen by the next read of everything.
_SCRAPE_SECONDS: Final = 1.0
# Windows that one server is asked about: nearly all services have the same one.
_WINDOWS: Final = 4
_ANSWER_SECONDS: Final = 5.0
# After a failure. What is wrong is told by the read of everything, which comes about as often.
_PAUSE_SECONDS: Final = 5.0
_LOAD: Final = frozenset({SignalName.WORKFLOW_ARRIVALS, *GAUGES})
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
        self._paused_until = -1.0  # before any monotonic time
        self._since: dict[int, float] = {}  # by window
        self._newest: dict[Key, float] = {}  # samples that may be told again

    async def ask(self, client: Client, asks: Sequence[Ask]) -> dict[Key, News]:
        """What is new of these services; nothing from a server that fails, and for a while after."""
        if self._clock() < self._paused_until:
            return {}
        loop, found, newest = asyncio.get_running_loop(), dict[Key, News](), dict[Key, float]()
        for window, _ in Counter(ask.window_seconds for ask in asks).most_common(_WINDOWS):
            try:
                job = loop.run_in_executor(self._thread, self._told, client, window)
                told = await asyncio.wait_for(job, _ANSWER_SECONDS)
            except Exception:  # noqa: BLE001 - the other side may send anything, or nothing; none of it may escape
                self._paused_until = self._clock() + _PAUSE_SECONDS
                return found
            for ask in asks:
                news = told.get(ask.key) if ask.window_seconds == window else None
                if news is not None:
                    newest[ask.key] = news.sampled_at
                    if news.sampled_at > self._newest.get(ask.key, -math.inf):
                        found[ask.key] = news
        self._newest = newest
        return found

    def close(self) -> None:
        """Start no further query; one that is on its way ends by its own time-out."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _told(self, client: Client, window_seconds: int) -> dict[Key, News]:
        """Runs in a thread."""
        since = self._since.get(window_seconds, 0.0)
        told = parse_news(client.custom_query(news_query(window_seconds, since)))
        # Not ahead of the server's own clock: a sample from the future would hide all that follow it.
        seen = max((min(news.sampled_at, news.asked_at) for news in told.values()), default=0.0)
        self._since[window_seconds] = max(since, seen - _SCRAPE_SECONDS)
        return told


def news_query(window_seconds: int, since: float) -> str:
    """One query for the load of all services that were scraped since, and for when they were.

    Args:
        window_seconds: over how long the rate of arrivals is taken.
        since: Unix seconds on the clock of Prometheus.
    """
    fresh = f"{NEWEST} > {since:.3f}"
    load = {SignalName.WORKFLOW_ARRIVALS: arrivals_over(window_seconds), **GAUGES}
    parts = {_SAMPLED: fresh} | {
        str(name): f"{text} and on (namespace, service) ({fresh})" for name, text in load.items()
    }
    return " or ".join(f'label_replace({text}, "signal", "{name}", "", "")' for name, text in parts.items())


def parse_news(result: object) -> dict[Key, News]:
    """The answer to `news_query` by service; what is no finite number, or of nobody, is left out.

    Raises:
        ValueError: this is not an instant vector.
    """
    if not isinstance(result, list):
        raise ValueError("not an instant vector")  # noqa: TRY004 - about content that came in, not about our types
    times: dict[Key, tuple[float, float]] = {}
    values: dict[Key, dict[SignalName, float]] = defaultdict(dict)
    for entry in result:
        match entry:
            case {
                "metric": {"namespace": str(namespace), "service": str(service), "signal": str(signal)},
                "value": [float() | int() as at, str(text)],
            }:
                key, value = Key(namespace, service), float(text)
                if not math.isfinite(value):
                    continue
                if signal == _SAMPLED:
                    times[key] = value, at
                elif signal in _LOAD:
                    values[key][SignalName(signal)] = value
            case {"metric": dict(), "value": [_, str()]}:
                continue
            case _:
                raise ValueError("not an instant vector")
    return {key: News(values[key], sampled_at, asked_at) for key, (sampled_at, asked_at) in times.items()}
