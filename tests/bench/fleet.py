"""What Prometheus scrapes of thousands of services with one pod each, spread over the scrape interval as real ones are.

One HTTP server in the place of all pods: Prometheus takes namespace and pod from what is exported (`honor_labels`). The
services are scraped in parts, each part at a moment of its own.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import text_server
from generation_operator.api.resource import Key

SCRAPE_SECONDS: Final = 15
_PARTS: Final = 30


@dataclass(slots=True)
class Fleet:
    """Services that go on working at the same pace.

    Args:
        arrivals_per_second: workflows of each.
        service_seconds: that a workflow takes.
    """

    arrivals_per_second: float = 2.0
    service_seconds: float = 3.0
    _began: float = field(default_factory=time.monotonic)
    _services: list[Key] = field(default_factory=list)

    def run(self, service: Key) -> None:
        """From now on it has metrics; the pod has the name of its service."""
        self._services.append(service)

    def text(self, part: int) -> str:
        """The metrics of one part of the services."""
        passed = time.monotonic() - self._began
        arrived = passed * self.arrivals_per_second
        in_flight = self.arrivals_per_second * self.service_seconds
        lines: list[str] = []
        for key in self._services[part::_PARTS]:
            where = f'namespace="{key.namespace}",pod="{key.name}"'
            lines += (
                f'generation_service_info{{{where},service="{key.name}"}} 1',
                f'generation_service_requests_total{{{where},outcome="success"}} {arrived}',
                f'generation_service_requests_total{{{where},outcome="error"}} 0',
                f"generation_service_request_duration_seconds_sum{{{where}}} {arrived * self.service_seconds}",
                f"generation_service_request_duration_seconds_count{{{where}}} {arrived}",
                f"generation_service_workflow_service_seconds_sum{{{where}}} {arrived * self.service_seconds}",
                f"generation_service_workflow_service_seconds_count{{{where}}} {arrived}",
                f"generation_service_workflows_arrived_total{{{where}}} {arrived}",
                f"generation_service_queue_length{{{where}}} 0",
                f"generation_service_requests_in_flight{{{where}}} {in_flight}",
                f"process_cpu_seconds_total{{{where}}} {passed * 0.3}",
                f"process_resident_memory_bytes{{{where}}} 300000000",
            )
        return "\n".join((*lines, ""))

    @contextlib.contextmanager
    def serving(self, targets: Path) -> Iterator["Fleet"]:
        """Export on a free port of this machine, and tell Prometheus in a file of targets, until the block ends."""
        with text_server.serving(lambda path: self.text(int(path.rpartition("/")[2]))) as port:
            groups = [
                {
                    "targets": [f"127.0.0.1:{port}"],
                    "labels": {
                        "instance": f"part-{part}",
                        "__metrics_path__": f"/metrics/{part}",
                        "__scrape_interval__": f"{SCRAPE_SECONDS}s",
                        "__scrape_timeout__": "10s",
                    },
                }
                for part in range(_PARTS)
            ]
            text_server.announce(targets, groups)
            try:
                yield self
            finally:
                targets.unlink(missing_ok=True)
