"""AIBrix's own algorithm (APA) as an autoscaler under test: real arithmetic on what it scrapes at each turn."""

import numpy as np

from generation_operator.rivals import aibrix
from generation_operator.simulate.baselines.metrics_path import draw_phase
from generation_operator.simulate.ports import Seconds, View


class Apa:
    """One PodAutoscaler on requests per replica, in a slot or waiting for one.

    Args:
        target_per_replica: `targetValue`.
        min_replicas: lower bound.
        max_replicas: upper bound.
        window: seconds that the metric is averaged over.
        max_scale_up_rate: the count may grow to at most so many times itself in one turn.
        max_scale_down_rate: it may shrink to at least this part of itself.
        down_cooldown: seconds of recommendations of which the lowest counts.
    """

    name = "apa"

    def __init__(
        self,
        target_per_replica: float,
        *,
        min_replicas: int,
        max_replicas: int,
        window: Seconds = 180.0,
        max_scale_up_rate: float = 2.0,
        max_scale_down_rate: float = 2.0,
        down_cooldown: Seconds = 300.0,
    ) -> None:
        self._apa = aibrix.Apa(
            aibrix.Settings(
                target_per_replica,
                min_replicas,
                max_replicas,
                window=window,
                max_scale_up_rate=max_scale_up_rate,
                max_scale_down_rate=max_scale_down_rate,
                down_cooldown=down_cooldown,
            )
        )

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        """Draw the phase of the turns."""
        return draw_phase(rng, aibrix.RESYNC_SECONDS)

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        """One turn: scrape all replicas that answer, and decide."""
        ready = [pod for pod in view.pods() if pod.is_ready(now)]
        reading = (sum(pod.busy for pod in ready) + view.sample(now).queued) / len(ready) if ready else None
        current = view.replicas
        desired = self._apa.synced(reading, current, now)
        return (None if desired == current else desired), now + aibrix.RESYNC_SECONDS
