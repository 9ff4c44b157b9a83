"""Counts what happens, for Prometheus. What there is to count, and under which name, is in `catalogue`.

A registry per app, never the global one, so that several apps can live in one process. Every series exists from the
first scrape on: `rate()` over a counter that appears with its first error would miss that error. Nothing here may
raise or wait on the hot path, and no label value may come from a client.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Final, TypeAlias

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    ProcessCollector,
    Summary,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from generation_service.domain.workflow import Outcome, Status
from generation_service.performance.activity import Activity
from generation_service.performance.catalogue import (
    ACTION_RESULTS,
    ACTIONS,
    ENDED,
    METRICS,
    OTHER,
    OUTCOMES,
    Kind,
    MetricSpec,
    Origin,
)
from generation_service.performance.tally import LEVEL_OF, HttpTally
from generation_service.ports import CacheStatus

Values: TypeAlias = "float | Mapping[tuple[str, ...], float | None] | None"
Reader: TypeAlias = Callable[[], Values]  # one figure, or one for each combination of label values; None: not known

API_PREFIX: Final = "/v1/"  # what the objectives are about; probes and scrapes would only make the figures look better
_SPECS: Final = {spec.name: spec for spec in METRICS}
_PREFIX: Final = "generation_service_"


class Metrics:
    """`ports.Observer` and more that counts for Prometheus and for the service's own reports.

    The methods that count belong to the event loop; `render` may run in any thread.

    Args:
        service: the service that this process belongs to.
        activity: is told the same, for figures of the last while.
        routes: path templates that get their own label; all others are `other`.
        step_types: names of the registered types of steps; all others are `other`.
    """

    def __init__(
        self, service: str, activity: Activity, *, routes: Sequence[str] = (), step_types: Sequence[str] = ()
    ) -> None:
        # Process-wide, and wanted so: nobody queries `_created`, and it would double the series of a scrape.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._activity = activity
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        Info("generation_service", _help("info"), registry=self._registry).info({"service": service})
        # Everything is bound to its labels once: looking them up costs more than counting (2.3 us against 0.6 us).
        self._duration = self._histogram("request_duration_seconds")
        self._arrived = self._counter("workflows_arrived_total")
        self._service = Summary(
            _PREFIX + "workflow_service_seconds", _help("workflow_service_seconds"), registry=self._registry
        )
        self._requests = self._counters("requests_total", OUTCOMES)
        self._workflows = self._counters("workflows_total", ENDED)
        types = (*step_types, OTHER)
        self._step_seconds = self._histograms("step_duration_seconds", types)
        self._steps = self._counters("steps_total", types, OUTCOMES)
        self._retries = self._counter("generator_retries_total")
        self._actions = self._counters("optimizer_actions_total", ACTIONS, ACTION_RESULTS)
        self._readings = _Readings(self._counter("scrape_errors_total"))
        self._registry.register(self._readings)
        self._http = HttpTally({name.removeprefix(_PREFIX): spec for name, spec in _SPECS.items()}, routes)
        self._registry.register(self._http)
        self._step_types = frozenset(step_types)

    # --- ports.Observer -----------------------------------------------------------------------------------------

    def arrived(self) -> None:
        """Count one piece of work that asks for admission."""
        self._arrived.inc()

    def ran(self, seconds: float) -> None:
        """Count one that leaves its slot."""
        self._service.observe(seconds)

    def finished(self, outcome: Outcome, seconds: float) -> None:
        """Count one that ended."""
        self._duration.observe(seconds)
        self._requests[(outcome.value,)].inc()
        self._activity.finished(outcome, seconds)

    def rejected(self) -> None:
        """Count one that was refused: an error, but no duration, which as 0 would make an overload look fast."""
        self._requests[(Outcome.ERROR.value,)].inc()
        self._activity.rejected()

    def step_finished(self, step_type: str, outcome: Outcome, seconds: float) -> None:
        """Count one run of a step."""
        known = step_type if step_type in self._step_types else OTHER
        self._step_seconds[(known,)].observe(seconds)
        self._steps[known, outcome.value].inc()

    # --- what else is told --------------------------------------------------------------------------------------

    def http_request(
        self, route: str, status: int, cache_status: CacheStatus | None, seconds: float, *, streamed: bool
    ) -> None:
        """Count an HTTP answer.

        Args:
            route: its path template; not the path, which clients choose.
            status: as sent; 499 when the client left before.
            cache_status: where the answer came from, if a cache was asked.
            seconds: from the request to the end of its answer.
            streamed: the time is that of a stream or of a wait that was asked for, and says nothing about the API.
        """
        self._http.count(route, status, cache_status)
        if not route.startswith(API_PREFIX):
            return
        level = None if cache_status is None else LEVEL_OF.get(cache_status)
        timed = not streamed and status != 499  # a client that left did not wait for an answer
        self._activity.responded(status, seconds if timed else None, cached=level is not None)
        if timed:
            self._http.timed(seconds, level)

    def workflow_ended(self, status: Status) -> None:
        """Count a workflow that reached a terminal status."""
        self._workflows[(status.value,)].inc()

    def retried(self, count: int) -> None:
        """Count requests to the generator that were repeated."""
        self._retries.inc(count)

    def optimized(self, action: str, done: bool) -> None:
        """Count a run of an action of the optimizer."""
        self._actions[action, ACTION_RESULTS[0 if done else 1]].inc()

    # --- what is read at each scrape ----------------------------------------------------------------------------

    def watch(self, name: str, read: Reader) -> None:
        """Ask `read` for the values of a metric at each scrape, in the scraping thread: it must only look.

        Raises `KeyError` for a name that the catalogue does not have as one that is read.
        """
        self._readings.add(name, read)

    @property
    def unwatched(self) -> frozenset[str]:
        """Metrics of the catalogue that nobody tells yet; empty when everything is wired."""
        return self._readings.missing()

    def render(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its content type. Takes milliseconds: not for the loop."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    # --- collectors from the catalogue --------------------------------------------------------------------------

    def _counter(self, name: str) -> Counter:
        return Counter(_PREFIX + name, _help(name), registry=self._registry)

    def _counters(self, name: str, *values: Sequence[str]) -> Mapping[tuple[str, ...], Counter]:
        counter = Counter(_PREFIX + name, _help(name), tuple(_spec(name).labels), registry=self._registry)
        return {labels: counter.labels(*labels) for labels in product(*values)}

    def _histogram(self, name: str) -> Histogram:
        return Histogram(_PREFIX + name, _help(name), buckets=_spec(name).buckets, registry=self._registry)

    def _histograms(self, name: str, values: Sequence[str]) -> Mapping[tuple[str, ...], Histogram]:
        spec = _spec(name)
        histogram = Histogram(spec.name, spec.help, tuple(spec.labels), buckets=spec.buckets, registry=self._registry)
        return {(value,): histogram.labels(value) for value in values}


class _Readings(Collector):
    """Asks the owners of figures at each scrape. One that cannot tell loses its own metric, not the whole scrape."""

    def __init__(self, errors: Counter) -> None:
        self._errors = errors
        self._readers: dict[str, Reader] = {}

    def add(self, name: str, read: Reader) -> None:
        """Ask `read` from now on."""
        if _SPECS[name].origin is not Origin.READ:
            raise KeyError(name)
        self._readers[name] = read

    def missing(self) -> frozenset[str]:
        """What nobody tells."""
        return frozenset(spec.name for spec in METRICS if spec.origin is Origin.READ) - self._readers.keys()

    def describe(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Nothing: the registry would otherwise collect at registration."""
        return ()

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Ask everybody."""
        for name, read in self._readers.items():
            try:
                yield _family(_SPECS[name], read())
            except Exception:  # noqa: BLE001 - whatever an owner raises; counted, and the metric is missing
                self._errors.inc()


def _family(spec: MetricSpec, values: Values) -> CounterMetricFamily | GaugeMetricFamily:
    make = CounterMetricFamily if spec.kind is Kind.COUNTER else GaugeMetricFamily
    family = make(spec.name, spec.help, labels=tuple(spec.labels))
    rows = values if isinstance(values, Mapping) else {(): values}
    for labels, value in rows.items():
        if len(labels) != len(spec.labels):
            raise ValueError(f"{spec.name} has the labels {tuple(spec.labels)}, not {labels}")
        family.add_metric(labels, float("nan") if value is None else value)
    return family


def _spec(name: str) -> MetricSpec:
    return _SPECS[_PREFIX + name]


def _help(name: str) -> str:
    return _spec(name).help
