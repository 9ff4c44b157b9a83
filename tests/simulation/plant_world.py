"""Small traffic and small autoscalers for tests of the plant."""

from collections.abc import Sequence

import numpy as np

from generation_operator.simulate.plant import PlantConfig, Startup
from generation_operator.simulate.ports import View
from generation_operator.simulate.serving import Patience
from generation_operator.simulate.trace import Requests


def exactly(seconds: float) -> Startup:
    """A start-up of always the same length."""
    return Startup(mean_seconds=seconds, sigma=0.0, readiness_period_seconds=0.0, endpoint_seconds=0.0)


def make_requests(
    arrivals: Sequence[float], service: float | Sequence[float] = 1.0, *, until: float = 100.0
) -> Requests:
    times = np.array(arrivals, dtype=np.float64)
    return Requests(times, np.broadcast_to(np.array(service, dtype=np.float64), times.shape).copy(), until)


def poisson(rate: float, until: float, *, mean_service: float, seed: int = 1) -> Requests:
    """Arrivals at random, service times exponential."""
    rng = np.random.default_rng(seed)
    arrivals = np.sort(rng.random(rng.poisson(rate * until)) * until)
    return Requests(arrivals, rng.exponential(mean_service, len(arrivals)), until)


def make_config(*, slots: int = 1, replicas: int = 1, startup: float = 20.0, **fields: object) -> PlantConfig:
    patience = fields.pop("patience", Patience(wait_seconds=5.0, timeout_seconds=1e9))
    assert isinstance(patience, Patience)
    return PlantConfig(
        slots=slots,
        startup=exactly(startup),
        patience=patience,
        initial_replicas=replicas,
        **fields,  # type: ignore[arg-type]
    )


class Plan:
    """A scaler that asks for counts at given times."""

    name = "plan"

    def __init__(self, *steps: tuple[float, int]) -> None:
        self._steps = list(steps)

    def begin(self, view: View, rng: np.random.Generator) -> float:
        return self._steps[0][0] if self._steps else float("inf")

    def act(self, view: View, now: float) -> tuple[int | None, float]:
        _, wanted = self._steps.pop(0)
        return wanted, self._steps[0][0] if self._steps else float("inf")
