"""What the simulator and a decision cost: `make bench`. Figures for people, never a check.

The plant is put beside the least that any request-level simulator does, one push and one pop on a heap per request, in
the same run: the ratio says what everything else costs, on whatever machine it runs.
"""

import heapq
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from generation_operator.api.spec import GenerationServiceSpec
from generation_operator.decide.policy import Policy
from generation_operator.decide.step import step
from generation_operator.decide.types import Observation, Replicas, Seconds, Signal, SignalName, SignalState, State
from generation_operator.simulate.baselines.static import Static
from generation_operator.simulate.plant import PlantConfig, simulate
from generation_operator.simulate.trace import Requests

_REQUESTS = 300_000
_DECISIONS = 2_000


def main() -> int:
    """Measure and print; the result is the exit code."""
    rng = np.random.default_rng(1)
    arrivals = np.sort(rng.random(_REQUESTS) * 3600)
    requests = Requests(arrivals, rng.exponential(4.0, _REQUESTS), 3600.0)
    heap_seconds = _seconds(lambda: _heap(arrivals.tolist(), requests.service.tolist()))
    config = PlantConfig(initial_replicas=20)
    plant_seconds = _seconds(lambda: simulate(requests, Static(20), config, 1))
    print(f"plant: {_REQUESTS / plant_seconds:,.0f} requests/s, {plant_seconds / heap_seconds:.1f} x a bare heap")
    for name in ("Targets", "Score"):
        spec = GenerationServiceSpec.model_validate({"image": "x", "scaling": {"policy": name}})
        took = _seconds(partial(_decide, Policy.of(spec)))
        print(f"decide.step, {name}: {took / _DECISIONS * 1e6:.0f} us per decision")
    return 0


def _seconds(work: Callable[[], object]) -> float:
    """The best of three."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def _heap(arrivals: list[float], service: list[float]) -> None:
    ends: list[float] = []
    for at, needed in zip(arrivals, service, strict=True):
        while ends and ends[0] <= at:
            heapq.heappop(ends)
        heapq.heappush(ends, at + needed)


def _decide(policy: Policy) -> None:
    state, rng = State(), np.random.default_rng(1)
    for number in range(_DECISIONS):
        busy = 100 + 40 * np.sin(number / 200)
        values = {
            SignalName.WORKFLOW_ARRIVALS: rng.poisson(2 * busy / 15) / 2,
            SignalName.WORKFLOWS_IN_FLIGHT: busy,
            SignalName.QUEUE_LENGTH: 0.0,
            SignalName.WORKFLOW_SERVICE_TIME: 15.0,
            SignalName.RESPONSE_TIME: 15.0,
            SignalName.REQUEST_RATE: busy / 15,
            SignalName.CPU: 60.0,
            SignalName.MEMORY: 50.0,
            SignalName.ERROR_RATIO: 0.0,
        }
        signals = {name: Signal(name, SignalState.FRESH, float(value), Seconds(1.0)) for name, value in values.items()}
        observation = Observation(signals, current=Replicas(8), ready=Replicas(8), startup_seconds=Seconds(20.0))
        state, _ = step(policy, state, observation, Seconds(1_700_000_000.0 + 2 * number))


if __name__ == "__main__":
    sys.exit(main())
