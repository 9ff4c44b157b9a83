"""Knative's autoscaler (KPA) as an autoscaler under test: real arithmetic on samples one second apart.

It sees what the real one sees: the requests that ready replicas work on, and all that wait, be it at a replica or at
the activator. Two things are kinder than reality: the real one scrapes a sample of the pods when there are many, and it
loses its history when its own pod restarts. Scaling to zero is not modelled.
"""

import numpy as np

from generation_operator.rivals import kpa
from generation_operator.simulate.baselines.metrics_path import draw_phase
from generation_operator.simulate.ports import Seconds, View


class Kpa:
    """One revision.

    Args:
        target_per_replica: requests that one replica should have; Knative's default is 0.7 of its slots.
        min_replicas: `min-scale`, at least 1.
        max_replicas: `max-scale`.
        stable_window: seconds of the usual average; the fast one covers a tenth of it.
        panic_threshold: panic begins when the fast average needs so many times the ready replicas.
        max_scale_up_rate: the count may grow to at most so many times the ready replicas.
        max_scale_down_rate: it may shrink to at least this part of them.
        scale_down_delay: seconds that a lower count must have been wanted all the time.
        tick_seconds: between two decisions.
    """

    name = "kpa"

    def __init__(
        self,
        target_per_replica: float,
        *,
        min_replicas: int,
        max_replicas: int,
        stable_window: Seconds = 60.0,
        panic_threshold: float = 2.0,
        max_scale_up_rate: float = 1000.0,
        max_scale_down_rate: float = 2.0,
        scale_down_delay: Seconds = 0.0,
        tick_seconds: Seconds = kpa.TICK_SECONDS,
    ) -> None:
        if min_replicas < 1:
            raise ValueError(f"min_replicas is {min_replicas}: scaling to zero is not modelled, give at least 1")
        self._bounds = (min_replicas, max_replicas)
        self._settings = kpa.Settings(
            total=target_per_replica,
            utilization=1.0,
            stable_window=stable_window,
            panic_threshold=panic_threshold,
            max_scale_up_rate=max_scale_up_rate,
            max_scale_down_rate=max_scale_down_rate,
            scale_down_delay=scale_down_delay,
        )
        self._tick_seconds = tick_seconds
        self._collector = kpa.Collector(self._settings)
        self._autoscaler = kpa.Autoscaler(self._settings, 0, 0.0)
        self._next_scrape = 0.0
        self._next_tick = 0.0

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        """Start the autoscaler, and draw the phases of scrapes and ticks."""
        self._autoscaler = kpa.Autoscaler(self._settings, _ready(view, 0.0), 0.0)
        self._next_scrape = draw_phase(rng, kpa.SCRAPE_SECONDS)
        self._next_tick = draw_phase(rng, self._tick_seconds)
        return min(self._next_scrape, self._next_tick)

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        """Scrape or decide, whichever is due."""
        if self._next_scrape <= now:
            self._collector.record(now, concurrency(view, now))
            self._next_scrape += kpa.SCRAPE_SECONDS
        wanted = None
        if self._next_tick <= now:
            wanted = self._decided(view, now)
            self._next_tick += self._tick_seconds
        return wanted, min(self._next_scrape, self._next_tick)

    def _decided(self, view: View, now: Seconds) -> int | None:
        proposal = self._autoscaler.scale(self._collector.averages(now), _ready(view, now), now)
        if proposal is None:
            return None
        desired = kpa.bounded(proposal.desired, *self._bounds)
        return None if desired == view.replicas else desired


def concurrency(view: View, now: Seconds) -> float:
    """Requests at replicas that take requests, and waiting ones. What drains away is not scraped any more."""
    return float(sum(pod.busy for pod in view.pods() if pod.is_ready(now)) + view.sample(now).queued)


def _ready(view: View, now: Seconds) -> int:
    return sum(pod.is_ready(now) for pod in view.pods())
