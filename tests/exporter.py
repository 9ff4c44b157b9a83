"""A service's /metrics with values that a test sets, scraped by the cluster's real Prometheus.

It stands in for pods that KWOK only pretends to run. Counters advance with time at the given rates, so that PromQL's
rate() sees what it would see from a real service.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import text_server
from localcluster.plan import Plan


@dataclass(frozen=True, slots=True)
class Load:
    """What one replica reports."""

    requests_per_second: float = 0.0
    response_seconds: float = 0.0
    cpu_cores: float = 0.0
    memory_bytes: float = 50e6
    queue_length: float = 0.0
    in_flight: float | None = None  # workflows in a slot; None: not exported, as by a service that does not count them
    error_share: float = 0.0  # of the requests, 0..1


HIGH = Load(requests_per_second=100, response_seconds=3.0, cpu_cores=0.9, queue_length=200)
LOW = Load(requests_per_second=2, response_seconds=0.05, cpu_cores=0.01)


@dataclass(slots=True)
class _Counters:
    requests: float = 0.0
    errors: float = 0.0
    seconds: float = 0.0
    cpu: float = 0.0
    at: float = field(default_factory=time.monotonic)


class Exporter:
    """One HTTP server that reports for the replicas of one service.

    Args:
        plan: of the cluster whose Prometheus scrapes it.
        namespace: of the service.
        service: its name.
        targets: the folder in which another Prometheus than the cluster's looks for whom to scrape.
        stamped: whether each sample says when it was taken, as those of a gateway do. Prometheus writes no end into
            such a series when it loses sight of it, so that its last value is answered for five minutes.
    """

    def __init__(
        self, plan: Plan, namespace: str, service: str, *, targets: Path | None = None, stamped: bool = False
    ) -> None:
        self._namespace, self._service, self._label, self._stamped = namespace, service, service, stamped
        self._targets = targets or plan.state / "targets"
        self._load = Load()
        self._counters = _Counters()
        self._lock = threading.Lock()
        self._port = 0
        self._frozen: str | None = None

    @contextlib.contextmanager
    def serving(self, pods: list[str], load: Load) -> Iterator["Exporter"]:
        """Report `load` for each pod until the block ends."""
        self._load = load
        with text_server.serving(lambda _: self._text()) as self._port:
            self.announce(pods)
            try:
                yield self
            finally:
                self._target_file.unlink(missing_ok=True)

    def set(self, load: Load) -> None:
        """Change what is reported from now on."""
        with self._lock:
            self._advance()
            self._load = load

    def relabel(self, service: str) -> None:
        """Say from now on that the pods belong to this service."""
        with self._lock:
            self._label = service

    def freeze(self) -> None:
        """Answer the same from now on, the times of the samples included."""
        frozen = self._text()
        with self._lock:
            self._frozen = frozen

    def thaw(self) -> None:
        """Answer what is so again."""
        with self._lock:
            self._frozen = None

    @property
    def requests(self) -> float:
        """Requests counted so far."""
        with self._lock:
            self._advance()
            return self._counters.requests

    @property
    def _target_file(self) -> Path:
        return self._targets / f"{self._namespace}-{self._service}.json"

    def announce(self, pods: list[str]) -> None:
        """Tell Prometheus for which pods to ask here."""
        groups = [
            {"targets": [f"127.0.0.1:{self._port}"], "labels": {"namespace": self._namespace, "pod": pod}}
            for pod in pods
        ]
        text_server.announce(self._target_file, groups)

    def _advance(self) -> None:
        now = time.monotonic()
        passed, self._counters.at = now - self._counters.at, now
        self._counters.requests += passed * self._load.requests_per_second
        self._counters.errors += passed * self._load.requests_per_second * self._load.error_share
        self._counters.seconds += passed * self._load.requests_per_second * self._load.response_seconds
        self._counters.cpu += passed * self._load.cpu_cores

    def _text(self) -> str:
        with self._lock:
            if self._frozen is not None:
                return self._frozen
            self._advance()
            counters, load = self._counters, self._load
            samples = {
                f'generation_service_info{{service="{self._label}"}}': 1,
                "generation_service_request_duration_seconds_sum": counters.seconds,
                "generation_service_request_duration_seconds_count": counters.requests,
                'generation_service_requests_total{outcome="success"}': counters.requests - counters.errors,
                'generation_service_requests_total{outcome="error"}': counters.errors,
                "generation_service_workflows_arrived_total": counters.requests,
                "generation_service_queue_length": load.queue_length,
                "process_cpu_seconds_total": counters.cpu,
                "process_resident_memory_bytes": load.memory_bytes,
            }
            if load.in_flight is not None:
                samples["generation_service_requests_in_flight"] = load.in_flight
        when = f" {time.time() * 1000:.0f}" if self._stamped else ""
        return "".join(f"{name} {value}{when}\n" for name, value in samples.items())
