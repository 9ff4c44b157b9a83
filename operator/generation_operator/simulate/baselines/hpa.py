"""The HorizontalPodAutoscaler as an autoscaler under test: real arithmetic on samples as old as in reality."""

import math
from abc import ABC, abstractmethod
from typing import Final

import numpy as np

from generation_operator.rivals.hpa_behavior import Behavior, History, Loop
from generation_operator.rivals.hpa_calculator import (
    Phase,
    PodState,
    average_value_replicas,
    external_total,
    utilization_replicas,
)
from generation_operator.simulate.baselines.metrics_path import (
    REQUEST,
    LoadSource,
    MetricsServer,
    PrometheusLoad,
    container_started_at,
    draw_phase,
)
from generation_operator.simulate.ports import Pod, Seconds, View

SYNC_SECONDS: Final = 15.0  # --horizontal-pod-autoscaler-sync-period


class _Hpa(ABC):
    """The loop; the metric is the subclass's."""

    name: str

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._history = History()

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        """Draw the phases of the metric's path and of the loop."""
        self._begin_metric(rng)
        return draw_phase(rng, SYNC_SECONDS)

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        """Sync once."""
        current = view.replicas
        desired = self._loop.synced(self._history, current, [self._proposal(view, now)], now)
        return (None if desired == current else desired), now + SYNC_SECONDS

    @abstractmethod
    def _begin_metric(self, rng: np.random.Generator) -> None: ...

    @abstractmethod
    def _proposal(self, view: View, now: Seconds) -> int | None: ...


class HpaOnCpu(_Hpa):
    """Resource metric `cpu` with a target in % of the request.

    Args:
        target_percent: `averageUtilization`.
        behavior: None leaves `spec.behavior` out.
        min_replicas: lower bound.
        max_replicas: upper bound.
        full_load_percent: CPU of a replica whose slots are all busy, in % of its request.
    """

    name = "hpa-cpu"

    def __init__(
        self,
        *,
        min_replicas: int,
        max_replicas: int,
        target_percent: int = 70,
        behavior: Behavior | None = None,
        full_load_percent: float = 100.0,
    ) -> None:
        super().__init__(Loop(min_replicas, max_replicas, behavior))
        self._target_percent = target_percent
        self._metrics = MetricsServer(full_load_percent)

    def _begin_metric(self, rng: np.random.Generator) -> None:
        self._metrics.begin(rng)

    def _proposal(self, view: View, now: Seconds) -> int | None:
        return utilization_replicas(
            view.replicas,
            self._target_percent,
            [pod_state(pod, now) for pod in view.pods()],
            self._metrics.read(view, now),
            now,
            tolerance=self._loop.tolerance,
        )


class HpaOnInFlight(_Hpa):
    """External metric: requests in a slot or waiting for one, so many per replica.

    Args:
        target_per_replica: `averageValue`.
        behavior: None leaves `spec.behavior` out.
        min_replicas: lower bound.
        max_replicas: upper bound.
        source: where the load is read; Prometheus behind an adapter if left out.
    """

    name = "hpa-in-flight"

    def __init__(
        self,
        target_per_replica: float,
        *,
        min_replicas: int,
        max_replicas: int,
        behavior: Behavior | None = None,
        source: LoadSource | None = None,
    ) -> None:
        super().__init__(Loop(min_replicas, max_replicas, behavior))
        self._target = round(target_per_replica * 1000)
        self._source: LoadSource = source or PrometheusLoad()

    def _begin_metric(self, rng: np.random.Generator) -> None:
        self._source.begin(rng)

    def _proposal(self, view: View, now: Seconds) -> int | None:
        load = self._source.read(view, now)
        if load is None or not math.isfinite(load):
            return None
        usage = external_total([int(load * 1000)])
        return average_value_replicas(view.replicas, usage, self._target, tolerance=self._loop.tolerance)


def pod_state(pod: Pod, now: Seconds) -> PodState:
    """What the API server would show of a replica."""
    started, ready = container_started_at(pod), pod.ready_at <= now
    return PodState(
        name=str(pod.id),
        phase=Phase.RUNNING if started <= now else Phase.PENDING,
        started_at=started if started <= now else None,
        ready=ready,
        ready_changed_at=pod.ready_at if ready else pod.created_at,
        request=REQUEST,
        deleting=pod.draining_since is not None,
    )
