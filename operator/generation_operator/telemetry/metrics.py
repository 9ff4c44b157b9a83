"""The operator's own metrics, in a registry of their own."""

import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from generation_operator.decide.types import SignalName, SignalState
from generation_operator.loops.actuation import Turn
from generation_operator.loops.witness import Phase
from generation_operator.telemetry import catalogue
from generation_operator.telemetry.catalogue import PREFIX, MetricSpec

K = TypeVar("K")
States = Tally[tuple[SignalName, SignalState]]


class Metrics:
    """Counts; a `Witness` of the loops."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._leader = self._gauge(catalogue.LEADER)
        self._tick = self._histogram(catalogue.TICK)
        self._decisions = self._counter(catalogue.DECISIONS)
        self._steps = self._counter(catalogue.STEPS)
        self._signals = self._gauge(catalogue.SIGNALS)
        self._reconciles = self._histogram(catalogue.RECONCILES)
        self._queue_depth = self._gauge(catalogue.QUEUE_DEPTH)
        self._queue_failing = self._gauge(catalogue.QUEUE_RETRIES)
        self._requests = self._histogram(catalogue.REQUESTS)
        self._states: Callable[[], States] = Tally

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        states = self._states()
        for name in SignalName:
            for state in SignalState:
                self._signals.labels(name, state).set(states[name, state])
        return prometheus_client.generate_latest(self.registry)

    def watch(
        self,
        *,
        leads: Callable[[], bool],
        queued: Callable[[], int],
        failing: Callable[[], int],
        states: Callable[[], States],
    ) -> None:
        """Read these whenever somebody asks for the metrics.

        Args:
            leads: whether this process leads.
            queued: services that wait for a reconcile.
            failing: services whose last reconcile failed.
            states: how many services have each signal in each state.
        """
        self._states = states
        self._leader.set_function(lambda: float(leads()))
        self._queue_depth.set_function(lambda: float(queued()))
        self._queue_failing.set_function(lambda: float(failing()))

    def ticked(self, phase: Phase, seconds: float) -> None:
        """A part of a tick has ended."""
        self._tick.labels(phase).observe(seconds)

    def decided(self, turns: Sequence[Turn], news: Sequence[Turn]) -> None:
        """A tick decided on these services."""
        for (reason, binder), count in Tally((turn.decision.reason, turn.decision.binder) for turn in turns).items():
            self._decisions.labels(reason, binder).inc(count)
        for turn in turns:
            if turn.written:
                self._steps.labels("up" if turn.decision.desired > turn.decision.current else "down").inc()

    def requested(self, method: str, resource: str, code: int, seconds: float) -> None:
        """The API server was asked once."""
        self._requests.labels(method, resource, str(code)).observe(seconds)

    def timed(self, reconcile: Callable[[K], Awaitable[None]]) -> Callable[[K], Awaitable[None]]:
        """The same, measured."""

        async def measured(key: K) -> None:
            started, outcome = time.monotonic(), "error"
            try:
                await reconcile(key)
                outcome = "success"
            finally:
                self._reconciles.labels(outcome).observe(time.monotonic() - started)

        return measured

    def _gauge(self, spec: MetricSpec) -> Gauge:
        return Gauge(PREFIX + spec.name, spec.help, tuple(spec.labels), registry=self.registry)

    def _counter(self, spec: MetricSpec) -> Counter:
        return Counter(PREFIX + spec.name, spec.help, tuple(spec.labels), registry=self.registry)

    def _histogram(self, spec: MetricSpec) -> Histogram:
        return Histogram(
            PREFIX + spec.name, spec.help, tuple(spec.labels), buckets=spec.buckets, registry=self.registry
        )
