"""How old numbers get to autoscalers that live on a metrics pipeline.

Nothing here hands out a value before the pipeline could have delivered it. Phases are random per run: how scrapes and
sync loops happen to lie to each other decides about half a minute of delay.
"""

import math
from typing import Final, Protocol

import numpy as np

from generation_operator.rivals.hpa_calculator import PodMetric
from generation_operator.simulate.ports import Pod, Seconds, View

REQUEST: Final = 1000  # millicores that a replica requests; only ratios to it matter

_SAMPLE_SECONDS: Final = 15.0  # the metrics server's resolution, and the window of its samples
_FIRST_SAMPLE_SECONDS: Final = 10.0  # a container younger than this has no sample yet
_CREATION_SECONDS: Final = 2.0  # from the pod's creation to a running container, its image being there


class LoadSource(Protocol):
    """Where an autoscaler reads the load of the whole service."""

    def begin(self, rng: np.random.Generator) -> None:
        """Draw phases."""

    def read(self, view: View, now: Seconds) -> float | None:
        """Requests in a slot or waiting for one; NaN: there is no such series; None: the query failed."""


class PrometheusLoad:
    """The load as of the last scrape.

    Args:
        scrape_seconds: between two scrapes.
        lag_seconds: from a scrape to the first query that sees it, through adapter or metrics server.
    """

    def __init__(self, *, scrape_seconds: Seconds = 15.0, lag_seconds: Seconds = 1.0) -> None:
        self._scrape_seconds = scrape_seconds
        self._lag_seconds = lag_seconds
        self._phase = 0.0

    def begin(self, rng: np.random.Generator) -> None:
        """Draw the scrape's phase."""
        self._phase = draw_phase(rng, self._scrape_seconds)

    def read(self, view: View, now: Seconds) -> float:
        """In-flight and queued requests of the last scrape; NaN before the first one."""
        at = last_tick(now - self._lag_seconds, self._phase, self._scrape_seconds)
        if at is None:
            return math.nan
        sample = view.sample(at)
        return float(sample.in_flight + sample.queued)


class MetricsServer:
    """CPU usage per pod, as the resource metrics API has it.

    Args:
        full_load_percent: CPU of a replica whose slots are all busy, in % of its request. A replica cannot use more,
            however long the queue is: this is what makes CPU blind to the size of an overload.
    """

    def __init__(self, full_load_percent: float) -> None:
        self._full_load_percent = full_load_percent
        self._phase = 0.0

    def begin(self, rng: np.random.Generator) -> None:
        """Draw the phase of the samples."""
        self._phase = draw_phase(rng, _SAMPLE_SECONDS)

    def read(self, view: View, now: Seconds) -> dict[str, PodMetric]:
        """The last sample of every pod that has one, in millicores."""
        at = last_tick(now, self._phase, _SAMPLE_SECONDS)
        if at is None:
            return {}
        samples = {}
        for pod in view.pods():
            age = at - container_started_at(pod)
            if age >= _FIRST_SAMPLE_SECONDS:
                window = min(age, _SAMPLE_SECONDS)
                busy = (pod.used(at) - pod.used(at - window)) / (window * pod.slots)
                value = math.ceil(REQUEST * self._full_load_percent / 100 * min(busy, 1.0))
                samples[str(pod.id)] = PodMetric(value, at, window)
        return samples


def container_started_at(pod: Pod) -> Seconds:
    """When the pod left the phase Pending."""
    return min(pod.created_at + _CREATION_SECONDS, pod.ready_at)


def draw_phase(rng: np.random.Generator, period: Seconds) -> Seconds:
    """A moment within a period, on a grid of 1/64 s.

    Sums on that grid are exact, so what happened one period ago is exactly one period old: whether an event still
    counts must not hang on a rounding error.
    """
    return float(rng.integers(round(period * 64))) / 64


def last_tick(now: Seconds, phase: Seconds, period: Seconds) -> Seconds | None:
    """The last moment up to `now` at which a loop ticked; None before its first tick."""
    return None if now < phase else phase + math.floor((now - phase) / period) * period
