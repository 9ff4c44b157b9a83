"""Ray Serve as an autoscaler under test: fresh counts from replicas and handles, averaged, and long delays."""

import math

import numpy as np

from generation_operator.rivals import ray_serve
from generation_operator.simulate.baselines.metrics_path import draw_phase, last_tick
from generation_operator.simulate.ports import Seconds, View

# The original looks ten times a second at numbers that come every 10 s; once a second sees the same.
_LOOP_SECONDS = 1.0


class RayServe:
    """Ongoing requests per replica, averaged over a look-back period.

    Args:
        target_ongoing_requests: per replica.
        min_replicas: lower bound.
        max_replicas: upper bound.
        upscale_delay_seconds: see `rivals.ray_serve.Config`.
        downscale_delay_seconds: see `rivals.ray_serve.Config`.
        look_back_seconds: of the average.
        metrics_interval_seconds: between two reports of replicas and handles.
    """

    name = "ray-serve"

    def __init__(
        self,
        target_ongoing_requests: float,
        *,
        min_replicas: int,
        max_replicas: int,
        upscale_delay_seconds: Seconds = 30.0,
        downscale_delay_seconds: Seconds = 600.0,
        look_back_seconds: Seconds = 30.0,
        metrics_interval_seconds: Seconds = 10.0,
    ) -> None:
        self._config = ray_serve.Config(
            min_replicas,
            max_replicas,
            target_ongoing_requests,
            upscale_delay_seconds,
            downscale_delay_seconds,
            loop_seconds=_LOOP_SECONDS,
        )
        self._look_back_seconds = look_back_seconds
        self._interval = metrics_interval_seconds
        self._memory = ray_serve.Memory()
        self._phase = 0.0

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        """Draw the phases of the reports and of the loop."""
        self._phase = draw_phase(rng, self._interval)
        return draw_phase(rng, _LOOP_SECONDS)

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        """Look once."""
        newest = last_tick(now, self._phase, self._interval)
        if newest is None:
            return None, now + _LOOP_SECONDS
        reports = math.ceil(self._look_back_seconds / self._interval)
        seen = [view.sample(max(0.0, newest - back * self._interval)) for back in range(reports)]
        ongoing = sum(sample.in_flight + sample.queued for sample in seen) / len(seen)
        wanted = ray_serve.decided(self._config, self._memory, ongoing, view.replicas)
        return wanted, now + _LOOP_SECONDS
