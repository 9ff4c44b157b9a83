"""HTTP answers as plain integers, turned into Prometheus' families at each scrape.

An answer from the cache takes some 60 us in all. prometheus_client's own objects take a lock for each increment and
walk the buckets in Python: 6 us for the four that an answer touches, against 1 us here. The event loop writes; the
thread of a scrape reads, and may see an answer in one family that is not in the next one yet.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from generation_service.performance.catalogue import LEVELS, OTHER, STATUS_CLASSES, MetricSpec
from generation_service.ports import CacheStatus

LEVEL_OF = {CacheStatus.HIT_L1: "l1", CacheStatus.HIT_L2: "l2"}


class Buckets:
    """A histogram of fixed bounds; a value counts in the first bucket whose bound it does not exceed."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Add one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Bounds as Prometheus writes them, and how many values did not exceed each."""
        names = [*map(str, map(float, self.bounds)), "+Inf"]
        return list(zip(names, accumulate(self.counts), strict=True))


class HttpTally(Collector):
    """What was answered.

    Args:
        specs: of the four metrics, by the last part of their names.
        routes: path templates; all others are `OTHER`.
    """

    def __init__(self, specs: Mapping[str, MetricSpec], routes: Sequence[str]) -> None:
        self._specs = specs
        self._responses = {route: [0] * len(STATUS_CLASSES) for route in (*routes, OTHER)}
        self._cache = dict.fromkeys(CacheStatus, 0)
        self._seconds = Buckets(specs["http_response_seconds"].buckets)
        self._cached = {level: Buckets(specs["cached_response_seconds"].buckets) for level in LEVELS}

    def count(self, route: str, status: int, cache_status: CacheStatus | None) -> None:
        """Count an answer."""
        classes = self._responses.get(route)
        if classes is None:
            classes = self._responses[OTHER]
        classes[min(max(status // 100, 2), 5) - 2] += 1
        if cache_status is not None:
            self._cache[cache_status] += 1

    def timed(self, seconds: float, level: str | None) -> None:
        """Add the time of an answer, and the level of the cache that it came from."""
        self._seconds.observe(seconds)
        if level is not None:
            self._cached[level].observe(seconds)

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Nothing: the registry would otherwise collect at registration."""
        return ()

    def collect(self) -> Iterable[CounterMetricFamily | HistogramMetricFamily]:
        """All four families; every series from the first scrape on."""
        responses = self._counter("http_responses_total")
        for route, classes in self._responses.items():
            for status_class, count in zip(STATUS_CLASSES, classes, strict=True):
                responses.add_metric((route, status_class), count)
        yield responses
        cache = self._counter("cache_responses_total")
        for status, count in self._cache.items():
            cache.add_metric((status.value,), count)
        yield cache
        yield self._histogram("http_response_seconds", {(): self._seconds})
        yield self._histogram("cached_response_seconds", {(level,): each for level, each in self._cached.items()})

    def _counter(self, name: str) -> CounterMetricFamily:
        spec = self._specs[name]
        return CounterMetricFamily(spec.name, spec.help, labels=tuple(spec.labels))

    def _histogram(self, name: str, rows: Mapping[tuple[str, ...], Buckets]) -> HistogramMetricFamily:
        spec = self._specs[name]
        family = HistogramMetricFamily(spec.name, spec.help, labels=tuple(spec.labels))
        for labels, buckets in rows.items():
            family.add_metric(labels, buckets.cumulative(), buckets.total)
        return family
