"""The metrics that the operator queries; their names are a contract with it.

A registry per app, never the global one, so that several apps can live in one process. Every series exists from the
first scrape on: `rate()` over a counter that appears with its first error would miss that error.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    Summary,
    generate_latest,
)

from generation_service.domain.workflow import Outcome

# Seconds. Fine around 0.2 and 1 (the thresholds of the score policy) and up to the 30 s of the workflow target.
DURATION_BUCKETS: Final = (
    0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 25, 30, 45, 60,
)  # fmt: skip


class Metrics:
    """`ports.Observer` that counts for Prometheus."""

    def __init__(self, service: str) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        Info("generation_service", "Which service this process belongs to.", registry=self._registry).info(
            {"service": service}
        )
        self._duration = Histogram(
            "generation_service_request_duration_seconds",
            "Time from admission to answer of workflow requests that were accepted or rejected.",
            buckets=DURATION_BUCKETS,
            registry=self._registry,
        )
        self._arrived = Counter(
            "generation_service_workflows_arrived",
            "Workflows that asked for admission, rejected ones included.",
            registry=self._registry,
        )
        self._service = Summary(
            "generation_service_workflow_service_seconds",
            "Time that a workflow kept its slot, waiting excluded.",
            registry=self._registry,
        )
        requests = Counter(
            "generation_service_requests",
            "Workflow requests that ended; rejected, failed and abandoned ones are errors, invalid ones do not count.",
            ["outcome"],
            registry=self._registry,
        )
        # Bound once: looking labels up costs more than counting.
        self._requests = {outcome: requests.labels(outcome.value) for outcome in Outcome}

    def arrived(self) -> None:
        """Count one workflow that asks for admission."""
        self._arrived.inc()

    def ran(self, seconds: float) -> None:
        """Count one workflow that leaves its slot."""
        self._service.observe(seconds)

    def finished(self, outcome: Outcome, seconds: float) -> None:
        """Count one workflow request."""
        self._duration.observe(seconds)
        self._requests[outcome].inc()

    def watch(self, *, queue_length: Callable[[], int], in_flight: Callable[[], int]) -> None:
        """Read these two at every scrape; they belong to the engine, which is built after its observer."""
        Gauge(
            "generation_service_queue_length", "Workflow requests waiting for a slot.", registry=self._registry
        ).set_function(queue_length)
        Gauge(
            "generation_service_requests_in_flight", "Workflow requests in a slot.", registry=self._registry
        ).set_function(in_flight)

    def render(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
