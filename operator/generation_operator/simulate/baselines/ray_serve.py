"""Ray Serve's autoscaler as an autoscaler under test: real arithmetic on what a handle reports every ten seconds."""

from collections import deque

import numpy as np

from generation_operator.rivals import ray_serve
from generation_operator.simulate.baselines.metrics_path import draw_phase
from generation_operator.simulate.ports import Seconds, View

_STEP_SECONDS = 1.0  # between two looks; the real loop takes 0.1 s or more, and its delays are measured on a clock


class RayServe:
    """One deployment behind one handle.

    Each report has the mean of what waits, and per replica the mean of what it works on, over as much of the look-back
    as the replica has lived; a replica that stops running drops out of the sum.

    Args:
        target_ongoing_requests: per replica, waiting ones included.
        min_replicas: lower bound.
        max_replicas: upper bound.
        upscale_delay: seconds that more replicas must have been wanted all the time.
        downscale_delay: the same for fewer.
        look_back: seconds that a report averages over.
        metrics_interval: between two reports.
    """

    name = "ray-serve"

    def __init__(
        self,
        target_ongoing_requests: float,
        *,
        min_replicas: int,
        max_replicas: int,
        upscale_delay: Seconds = 30.0,
        downscale_delay: Seconds = 600.0,
        look_back: Seconds = 30.0,
        metrics_interval: Seconds = 10.0,
    ) -> None:
        self._policy = ray_serve.Policy(
            ray_serve.Settings(
                min_replicas,
                max_replicas,
                target_ongoing_requests,
                upscale_delay=upscale_delay,
                downscale_delay=downscale_delay,
            )
        )
        self._metrics_interval = metrics_interval
        self._seen: deque[tuple[int, dict[int, int]]] = deque(maxlen=round(look_back / _STEP_SECONDS))
        self._queued = 0.0
        self._running: dict[int, float] = {}  # as reported, by replica
        self._next_report = 0.0

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        """Draw the phases of looks and reports."""
        start = draw_phase(rng, _STEP_SECONDS)
        self._next_report = start + draw_phase(rng, self._metrics_interval)
        return start

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        """Record, report if it is time to, and let the policy look."""
        busy = {pod.id: pod.busy for pod in view.pods() if pod.is_ready(now)}
        self._seen.append((view.sample(now).queued, busy))
        if self._next_report <= now:
            self._report()
            self._next_report += self._metrics_interval
        requests = self._queued + sum(self._running.get(pod, 0.0) for pod in busy)
        decided = self._policy.decide(requests, len(busy), view.replicas, now)
        return (None if decided == view.replicas else decided), now + _STEP_SECONDS

    def _report(self) -> None:
        self._queued = sum(queued for queued, _ in self._seen) / len(self._seen)
        points: dict[int, list[int]] = {}
        for _, busy in self._seen:
            for pod, requests in busy.items():
                points.setdefault(pod, []).append(requests)
        self._running = {pod: sum(seen) / len(seen) for pod, seen in points.items()}
