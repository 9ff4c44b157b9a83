"""KEDA as an autoscaler under test: its own loop for none and some, and behind it the HPA for everything else."""

import numpy as np

from generation_operator.rivals import keda
from generation_operator.rivals.hpa_behavior import Behavior, History
from generation_operator.rivals.hpa_calculator import average_value_replicas, external_total
from generation_operator.simulate.baselines.hpa import SYNC_SECONDS
from generation_operator.simulate.baselines.metrics_path import LoadSource, PrometheusLoad, draw_phase
from generation_operator.simulate.ports import Seconds, View


class Keda:
    """A Prometheus trigger on requests in a slot or waiting for one, so many per replica.

    Args:
        target_per_replica: `threshold`.
        min_replicas: `minReplicaCount`; 0 allows scaling to zero.
        max_replicas: `maxReplicaCount`.
        behavior: of the HPA; None leaves `spec.behavior` out, as KEDA does by default.
        polling_seconds: `pollingInterval`; counts only to and from zero, as the HPA asks for its metric itself.
        cooldown_seconds: `cooldownPeriod`, to zero.
        fallback: for when the query fails.
        source: where the load is read; Prometheus if left out.
    """

    name = "keda"

    def __init__(
        self,
        target_per_replica: float,
        *,
        min_replicas: int,
        max_replicas: int,
        behavior: Behavior | None = None,
        polling_seconds: Seconds = 30.0,
        cooldown_seconds: Seconds = 300.0,
        fallback: keda.Fallback | None = None,
        source: LoadSource | None = None,
    ) -> None:
        self._scaled_object = keda.ScaledObject(
            target_per_replica,
            min_replicas,
            max_replicas,
            cooldown_seconds=cooldown_seconds,
            fallback=fallback,
            behavior=behavior,
        )
        self._polling_seconds = polling_seconds
        self._source: LoadSource = source or PrometheusLoad()
        self._memory = keda.Memory()
        self._history = History()
        self._next_sync = 0.0
        self._next_poll = 0.0

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        """Draw the phases of the scrapes and of both loops."""
        self._source.begin(rng)
        self._next_sync = draw_phase(rng, SYNC_SECONDS)
        self._next_poll = draw_phase(rng, self._polling_seconds)
        return min(self._next_sync, self._next_poll)

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        """Run whichever of the two loops is due."""
        wanted = view.replicas
        if self._next_poll <= now:
            wanted = self._scaled_object.polled(self._memory, self._source.read(view, now), wanted, now)
            self._next_poll += self._polling_seconds
        if self._next_sync <= now:
            wanted = self._synced(view, wanted, now)
            self._next_sync += SYNC_SECONDS
        return (None if wanted == view.replicas else wanted), min(self._next_sync, self._next_poll)

    def _synced(self, view: View, current: int, now: Seconds) -> int:
        if current == 0:
            return 0  # the HPA is off and does not ask for the metric
        hpa, target = self._scaled_object.hpa, self._scaled_object.target
        usage = self._scaled_object.metric(self._memory, self._source.read(view, now), current)
        proposal = None
        if usage is not None:
            proposal = average_value_replicas(current, external_total([usage]), target, tolerance=hpa.tolerance)
        return hpa.synced(self._history, current, [proposal], now)
