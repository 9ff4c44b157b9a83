"""The AIBrix experiment of February 2025: its service, and three of its autoscalers as they were then.

A published run of 25 minutes: the same 5,012 arrivals for a language model of 7 billion parameters on 1..8 GPUs, under
HPA, KPA and APA, all three on the fill of the key-value cache with a target of one half. Requests in a slot over slots
stand in for that fill, and requests that wait do not count, as they have no cache. Everything below is either from the
experiment's own files or physically plausible and the same for all three; nothing is tuned for one of them.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from generation_operator.rivals import aibrix, kpa
from generation_operator.rivals.hpa_behavior import History, Loop
from generation_operator.rivals.hpa_calculator import PodMetric, per_pod_replicas
from generation_operator.simulate.baselines.hpa import SYNC_SECONDS, pod_state
from generation_operator.simulate.baselines.metrics_path import draw_phase
from generation_operator.simulate.plant import PlantConfig, Startup
from generation_operator.simulate.ports import Pod, Scaler, Seconds, View
from generation_operator.simulate.serving import Patience
from generation_operator.simulate.trace import Floats, Requests

# Arrivals in each minute; the times within a minute are in the trace, which is not part of this repository.
ARRIVALS_PER_MINUTE: Final = (
    *(54, 63, 104, 93, 244, 223, 402, 530, 522, 360, 143, 116, 83),
    *(67, 106, 113, 88, 134, 141, 179, 166, 247, 256, 310, 268),
)
RECORDED_SECONDS: Final = 1550.0  # the replicas were counted for so long
MAX_REPLICAS: Final = 8
TARGET: Final = 0.5  # of the cache

# Calibrated once, for all policies. 64 average conversations of 462 tokens fill the cache that 32 GB leave beside 14 GB
# of weights; a token takes 31 ms, and beyond 12 requests they slow each other down: 390 tokens per second at most.
_SLOTS: Final = 64
_PROCESSORS: Final = 12.0
_SECONDS_PER_TOKEN: Final = 0.031

# Of the experiment's own summary: mean and spread of the answers' lengths, and the longest.
_MEAN_TOKENS, _TOKENS_DEVIATION, _MOST_TOKENS = 155.0, 390.0, 2048.0
TIMEOUT_SECONDS: Final = 120.0  # of its clients
_TURN_SECONDS: Final = 10.0  # between two turns of AIBrix's controller
_SCRAPE_SECONDS: Final = 15.0


def spread_arrivals(seed: int) -> Floats:
    """As many in each minute as there were, at random within it."""
    rng = np.random.default_rng([seed, 8])
    minutes = np.repeat(np.arange(len(ARRIVALS_PER_MINUTE)), ARRIVALS_PER_MINUTE)
    return np.sort(60.0 * (minutes + rng.random(len(minutes))))


def requests(arrivals: Floats, seed: int) -> Requests:
    """The arrivals with drawn answers' lengths."""
    rng = np.random.default_rng([seed, 7])
    spread = np.log(1 + (_TOKENS_DEVIATION / _MEAN_TOKENS) ** 2)
    tokens = rng.lognormal(np.log(_MEAN_TOKENS) - spread / 2, np.sqrt(spread), len(arrivals))
    return Requests(arrivals, np.clip(tokens, 1.0, _MOST_TOKENS) * _SECONDS_PER_TOKEN, RECORDED_SECONDS)


def config() -> PlantConfig:
    """One replica at the start; about 3 s to run and a readiness probe that waits 90 s and looks every 5 s."""
    startup = Startup(mean_seconds=96.0, sigma=0.0, readiness_period_seconds=5.0, endpoint_seconds=0.5)
    patience = Patience(wait_seconds=TIMEOUT_SECONDS, timeout_seconds=TIMEOUT_SECONDS)
    return PlantConfig(slots=_SLOTS, processors=_PROCESSORS, startup=startup, patience=patience, initial_replicas=1)


def fill(pod: Pod) -> float:
    """Of the cache."""
    return pod.busy / pod.slots


class Hpa:
    """A Pods metric behind Prometheus. A replica that is not ready has no sample, and counts as empty on the way up."""

    name = "hpa"

    def __init__(self) -> None:
        self._loop, self._history = Loop(1, MAX_REPLICAS), History()
        self._scraped: dict[str, PodMetric] = {}
        self._next_scrape = self._next_sync = 0.0

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        self._next_scrape, self._next_sync = draw_phase(rng, _SCRAPE_SECONDS), draw_phase(rng, SYNC_SECONDS)
        return min(self._next_scrape, self._next_sync)

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        desired = current = view.replicas
        if self._next_sync <= now:
            states = [pod_state(pod, now) for pod in view.pods()]
            proposal = per_pod_replicas(current, round(1000 * TARGET), states, self._scraped, now)
            desired = self._loop.synced(self._history, current, [proposal], now)
            self._next_sync += SYNC_SECONDS
        if self._next_scrape <= now:  # after the sync: what is scraped now is not through the adapter yet
            running = [pod for pod in view.pods() if pod.ready_at <= now]
            self._scraped = {str(pod.id): PodMetric(round(1000 * fill(pod)), now, 0.0) for pod in running}
            self._next_scrape += _SCRAPE_SECONDS
        return (None if desired == current else desired), min(self._next_scrape, self._next_sync)


class Kpa:
    """AIBrix's port of Knative's: the same arithmetic, turns of 10 s, rates of 2, and three minutes of delay."""

    name = "kpa"

    def __init__(self) -> None:
        settings = kpa.Settings(TARGET, utilization=1.0, max_scale_up_rate=2.0, scale_down_delay=180.0)
        self._collector, self._autoscaler = kpa.Collector(settings), kpa.Autoscaler(settings, 1, 0.0)

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        return draw_phase(rng, _TURN_SECONDS)

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        ready = [pod for pod in view.pods() if pod.is_ready(now)]
        self._collector.record(now, sum(fill(pod) for pod in ready))
        proposal = self._autoscaler.scale(self._collector.averages(now), len(ready), now)
        assert proposal is not None
        return kpa.bounded(proposal.desired, 1, MAX_REPLICAS), now + _TURN_SECONDS


class Apa:
    """APA of that time: a window of 30 s, counted from the ready replicas, and no cooldown yet."""

    name = "apa"

    def __init__(self) -> None:
        self._apa = aibrix.Apa(
            aibrix.Settings(TARGET, 1, MAX_REPLICAS, down_tolerance=0.2, window=30.0, down_cooldown=0.0)
        )

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        return draw_phase(rng, _TURN_SECONDS)

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        ready = [pod for pod in view.pods() if pod.is_ready(now)]
        reading = sum(fill(pod) for pod in ready) / len(ready)
        return self._apa.synced(reading, len(ready), now), now + _TURN_SECONDS


POLICIES: Final[dict[str, Callable[[], Scaler]]] = {"hpa": Hpa, "kpa": Kpa, "apa": Apa}
