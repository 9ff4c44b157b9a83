"""Put together what the pods say now and what Prometheus said last, each at its own pace.

A service has something new when its pods were just asked, when Prometheus has just scraped it, or when everything of
it was read: only then there is a reading, and a decision. A Prometheus that is slow or dead delays nobody whose pods
answer and nobody of another Prometheus, and what was read of thousands of services at once does not delay the one whose
load has just changed.
"""

import asyncio
import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from generation_operator.api.resource import Key
from generation_operator.observe.load import Load
from generation_operator.observe.news import News
from generation_operator.observe.pods import Target
from generation_operator.observe.queries import GAUGES
from generation_operator.observe.share import Share
from generation_operator.observe.signals import Ask, FreshLoad, MetricsSource, Reading

# What all take on an ordinary day, with hundreds of services.
PATIENCE_SECONDS: Final = 0.25
# The share of the time that the reads of everything may take one Prometheus. Where they take longer, which is with more
# than 3,000 services or so, they come later, up to half as often: what is urgent is told by the news, and most of what
# such a read gives was not even scraped again since the one before.
_SHARE: Final = 0.2
_LONGER: Final = 2.0
# And never so rarely that what is still fresh would pass for stale between two reads.
_READS_WHILE_FRESH: Final = 2
# Of what was read of all services at once, so many are given in one look, which is 0.1 s of deciding, or an eighth if
# that is more: with ten looks from one read to the next all have had their turn before it. With fewer reads, less.
_AT_ONCE: Final = 250
_LOOKS: Final = 8
# Between two decisions on what was scraped of the same service: one with many pods is scraped all the time.
_NEWS_SECONDS: Final = 1.0

A = TypeVar("A")
R = TypeVar("R")


class LoadSource(Protocol):
    """Samples the pods of services."""

    async def sample(self, targets: Sequence[Target]) -> Mapping[Key, Load]:
        """The load of the services that had their turn."""


class NewsSource(MetricsSource, Protocol):
    """Can also tell what is new, at little cost."""

    async def news(self, asks: Sequence[Ask]) -> Mapping[Key, News]:
        """The load of the services that were scraped since the last call. A server that none of them names is left."""


class _Known(NamedTuple):
    reading: Reading
    at: float  # when it was asked for
    news: News | None = None  # a higher load, asked for later than that
    news_at: float = -math.inf

    def at_time(self, now: float) -> Reading:
        """The reading as it is now, older than it was, with the newest load."""
        reading = self.reading
        if self.news is not None:
            # The read may have answered a moment later than the news did.
            more = {name: max(load, reading.values.get(name, load)) for name, load in self.news.values.items()}
            values = {**reading.values, **more}
            return dataclasses.replace(reading, values=values, age=self.news.age + now - self.news_at)
        if reading.age is None or now <= self.at:
            return reading
        return dataclasses.replace(reading, age=reading.age + now - self.at)


class _Given(NamedTuple):
    at: float
    loads: tuple[float, ...]  # by `GAUGES`; infinite where there was none


_NOTHING_GIVEN: Final = _Given(-math.inf, (math.inf,) * len(GAUGES))


class Sources:
    """A `MetricsSource` on the pods and on Prometheus. Each call asks for news, and for the rest when it is time.

    Args:
        metrics: Prometheus; read once for each URL.
        loads: the pods.
        metrics_seconds: between two reads of everything from Prometheus; up to twice that where a read takes long.
        load_seconds: between two rounds of asking the pods.
        patience_seconds: how long one call waits for what has been asked; the rest is for the next one.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        metrics: NewsSource,
        loads: LoadSource,
        *,
        metrics_seconds: float,
        load_seconds: float,
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float],
    ) -> None:
        self._patience_seconds = patience_seconds
        self._metrics_seconds = metrics_seconds
        self._clock = clock
        self._known: dict[Key, _Known] = {}
        self._told: dict[Key, Load] = {}
        self._given: dict[Key, _Given] = {}
        # Ordered sets: of whom there is something that no reading was given of yet.
        self._scraped: dict[Key, None] = {}
        self._read: dict[Key, None] = {}
        self._loads = _Repeated("loads", load_seconds, loads.sample, clock)
        self._metrics: dict[str | None, _Repeated[Sequence[Ask], Mapping[Key, Reading]]] = defaultdict(
            lambda: _Repeated("metrics", metrics_seconds, metrics.read, clock)
        )
        self._news = _Repeated("news", 0.0, metrics.news, clock)

    async def read(self, asks: Sequence[Ask]) -> Mapping[Key, Reading]:
        """One reading for each service that has something new, the most urgent first."""
        now = self._clock()
        self._loads.begin([Target(ask.key, ask.port) for ask in asks], now)
        await self._begin_metrics(asks, now)
        self._news.begin(asks, now)
        tasks = (self._loads.task, self._news.task, *(one.task for one in self._metrics.values()))
        if running := [task for task in tasks if task is not None]:
            await asyncio.wait(running, timeout=self._patience_seconds)
        sampled = self._take_loads()
        self._take_metrics()
        self._take_news()
        self._forget_all_but({ask.key for ask in asks})
        now = self._clock()
        # Without those that are gone, and each once.
        due = dict.fromkeys(key for key in (*sampled, *self._due(now)) if key in self._known or key in self._told)
        readings = {key: self._reading(key, now) for key in due}
        for key, reading in readings.items():
            self._scraped.pop(key, None)
            self._read.pop(key, None)
            self._given[key] = _Given(now, tuple(reading.values.get(name, math.inf) for name in GAUGES))
        return readings

    async def close(self) -> None:
        """End what is under way."""
        await asyncio.gather(self._loads.end(), self._news.end(), *(one.end() for one in self._metrics.values()))

    async def _begin_metrics(self, asks: Sequence[Ask], now: float) -> None:
        by_url: dict[str | None, list[Ask]] = defaultdict(list)
        for ask in asks:
            by_url[ask.url].append(ask)
        await asyncio.gather(*(self._metrics.pop(url).end() for url in self._metrics.keys() - by_url.keys()))
        for url, group in by_url.items():
            fresh_seconds = min(ask.max_age_seconds for ask in group)
            longest = min(_LONGER * self._metrics_seconds, fresh_seconds / _READS_WHILE_FRESH)
            self._metrics[url].begin(group, now, longest)

    def _take_loads(self) -> Collection[Key]:
        sampled = {key: load for key, load in (self._loads.take() or {}).items() if load.answered}
        self._told.update(sampled)
        return sampled

    def _take_metrics(self) -> None:
        for metrics in self._metrics.values():
            # As old as it can be: the answers came some time after the question.
            asked_at = metrics.began_at
            for key, reading in (metrics.take() or {}).items():
                known = self._known.get(key)
                if known is not None and known.news_at > asked_at and reading.error is None:
                    self._known[key] = known._replace(reading=reading, at=asked_at)
                else:
                    self._known[key] = _Known(reading, asked_at)
                self._read[key] = None

    def _take_news(self) -> None:
        for key, news in (self._news.take() or {}).items():
            known = self._known.get(key)
            # Load alone is no reading: what else there is has to be known, and is not when there was an error.
            if known is None:
                continue
            # Only what is more counts. What is less may be a part of the pods only, which is known by the next read.
            more = {name: load for name, load in news.values.items() if load > known.reading.values.get(name, math.inf)}
            if more:
                self._known[key] = known._replace(news=news._replace(values=more), news_at=self._news.began_at)
            # A read that has just come may know it too, but was not given yet, and would wait for its turn.
            given = self._given.get(key, _NOTHING_GIVEN).loads
            if more or any(news.values.get(name, 0.0) > load for name, load in zip(GAUGES, given, strict=True)):
                self._scraped[key] = None

    def _due(self, now: float) -> Iterator[Key]:
        """Who has news, then some of those that were read, in turns."""
        for key in self._scraped:
            if now - self._given.get(key, _NOTHING_GIVEN).at >= _NEWS_SECONDS:
                yield key
        soonest = min((one.period for one in self._metrics.values()), default=self._metrics_seconds)
        looks = _LOOKS * soonest / self._metrics_seconds
        yield from islice(self._read, max(_AT_ONCE, int(len(self._known) / looks)))

    def _forget_all_but(self, keys: AbstractSet[Key]) -> None:
        for remembered in (self._known, self._told, self._given, self._scraped, self._read):
            for gone in remembered.keys() - keys:
                del remembered[gone]

    def _reading(self, key: Key, now: float) -> Reading:
        known, load = self._known.get(key), self._told.get(key)
        reading = Reading() if known is None else known.at_time(now)
        if load is None:
            return reading
        fresh = FreshLoad(load.in_flight, load.queued, load.arrivals, now - load.at, load.expected, load.answered)
        return dataclasses.replace(reading, load=fresh)


class _Repeated(Generic[A, R]):
    """Something that is asked again and again, in the background, once at a time.

    Args:
        name: of its task.
        seconds: from one question to the next.
        ask: the question.
        clock: monotonic, in seconds.
    """

    def __init__(
        self, name: str, seconds: float, ask: Callable[[A], Coroutine[Any, Any, R]], clock: Callable[[], float]
    ) -> None:
        self.task: asyncio.Task[R] | None = None
        self.began_at = -math.inf
        self.period = seconds
        self._name = name
        self._seconds = seconds
        self._ask = ask
        self._clock = clock
        self._next = -math.inf
        self._share = Share(_SHARE)

    def begin(self, argument: A, now: float, longest: float = 0.0) -> None:
        """Ask, if it is time and the last answer has been taken.

        Args:
            argument: of the question.
            now: on the clock.
            longest: seconds up to which the next question may wait when the answers take long.
        """
        if self.task is None and now >= self._next:
            self.period = max(self._seconds, min(longest, self._share.period))
            # From when it was due: looks come a little later than that, and the delays must not add up.
            self._next = self._next + self.period if self._next + self.period > now else now + self.period
            self.began_at = now
            self.task = asyncio.create_task(self._answer(argument), name=self._name)

    def take(self) -> R | None:
        """The answer, once; None while there is none."""
        task = self.task
        if task is None or not task.done():
            return None
        self.task = None
        return task.result()

    async def _answer(self, argument: A) -> R:
        answer = await self._ask(argument)
        self._share.took(self._clock() - self.began_at)
        return answer

    async def end(self) -> None:
        """Forget the question."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
