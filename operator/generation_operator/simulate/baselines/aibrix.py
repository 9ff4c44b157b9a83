"""AIBrix's policy APA as an autoscaler under test."""

import numpy as np

from generation_operator.rivals import aibrix
from generation_operator.simulate.baselines.metrics_path import draw_phase
from generation_operator.simulate.ports import Seconds, View

_RESYNC_SECONDS = 10.0


class Apa:
    """An average of load per ready replica, over a window.

    Args:
        target_per_replica: load of one replica that is aimed at.
        min_replicas: lower bound.
        max_replicas: upper bound.
        window_seconds: of the average.
    """

    name = "apa"

    def __init__(
        self, target_per_replica: float, *, min_replicas: int, max_replicas: int, window_seconds: int = 60
    ) -> None:
        self._config = aibrix.Config(target_per_replica, min_replicas, max_replicas)
        self._memory = aibrix.Memory()
        self._window_seconds = window_seconds

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        """Draw the phase of the loop."""
        return draw_phase(rng, _RESYNC_SECONDS)

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        """Resync once."""
        seen = [view.sample(max(0.0, now - back)) for back in range(0, self._window_seconds, 5)]
        average = sum((sample.in_flight + sample.queued) / max(1, sample.ready) for sample in seen) / len(seen)
        return aibrix.decided(self._config, self._memory, average, view.replicas, now), now + _RESYNC_SECONDS
