"""Knative's pod autoscaler as an autoscaler under test, on samples of its own that are a second old, as in reality."""

import math

import numpy as np

from generation_operator.rivals import kpa
from generation_operator.simulate.baselines.metrics_path import draw_phase
from generation_operator.simulate.ports import Seconds, View

_TICK_SECONDS = 2.0
_PANIC_SHARE = 0.1  # of the stable window


class Kpa:
    """Concurrency per replica; requests that wait in front of a replica count, as its queue-proxy counts them.

    Args:
        target_per_replica: concurrency that is aimed at, utilisation already taken off (Knative: 70 %).
        min_replicas: `min-scale`.
        max_replicas: `max-scale`.
        stable_window_seconds: `window`.
        scale_down_delay_seconds: `scale-down-delay`.
    """

    name = "kpa"

    def __init__(
        self,
        target_per_replica: float,
        *,
        min_replicas: int,
        max_replicas: int,
        stable_window_seconds: int = 60,
        scale_down_delay_seconds: Seconds = 0.0,
    ) -> None:
        self._spec = kpa.Spec(
            target_per_replica,
            stable_window_seconds=stable_window_seconds,
            scale_down_delay_seconds=scale_down_delay_seconds,
        )
        self._bounds = min_replicas, max_replicas
        self._stable = kpa.Window(stable_window_seconds)
        self._panic = kpa.Window(max(1, round(_PANIC_SHARE * stable_window_seconds)))
        self._memory = kpa.Memory()
        self._scraped = -1

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        """Start as after a restart, and draw the tick's phase."""
        self._memory = kpa.Memory.after_start(view.sample(0.0).ready, 0.0)
        return draw_phase(rng, _TICK_SECONDS)

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        """Take in the scrapes since the last tick, one per second, and decide."""
        for second in range(self._scraped + 1, math.floor(now) + 1):
            sample = view.sample(float(second))
            for window in (self._stable, self._panic):
                window.record(second, sample.in_flight + sample.queued)
        self._scraped = math.floor(now)
        stable, panic = self._stable.average(now), self._panic.average(now)
        ready = view.sample(now).ready
        result = kpa.scale(self._spec, self._memory, ready=ready, stable=stable, panic=panic, now=now)
        if not result.valid:
            return None, now + _TICK_SECONDS
        least, most = self._bounds
        return max(least, min(most, result.desired)), now + _TICK_SECONDS
