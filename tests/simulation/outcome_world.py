"""A small outcome, made by the real simulator on traffic with a burst."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from builders import make_service
from generation_operator.simulate.experiment import Experiment, run
from generation_operator.simulate.outcome import Outcome
from generation_operator.simulate.plant import Startup
from generation_operator.simulate.result import Note
from generation_operator.simulate.trace import Requests

SLOTS = 4
START = 60.0  # of what is scored
# Outcomes that leave out what a usual one has, as options of `make_outcome`.
WHATEVER: dict[str, Any] = {
    "no sweep": {"seeds": 1, "sweep_seeds": 0},
    "one policy": {"names": ("Static",), "seeds": 1, "sweep_seeds": 0},
    "no traffic": {"rate": 0.0, "seeds": 1, "sweep_seeds": 1},
    "nothing but a second": {"names": ("KPA",), "until": 61.0, "seeds": 1, "sweep_seeds": 0},
}


@dataclass(frozen=True, slots=True)
class Burst:
    """One request per second; four from second 200 to 300."""

    until: float = 600.0
    rate: float = 1.0

    def __call__(self, seed: int) -> Requests:
        rng = np.random.default_rng(seed)
        steady = rng.random(rng.poisson(self.rate * self.until)) * self.until
        burst = 200 + rng.random(rng.poisson(300 * self.rate)) * 100
        arrivals = np.sort(np.concatenate([steady, burst[burst < self.until]]))
        return Requests(arrivals, rng.exponential(6.0, len(arrivals)), self.until, START)


@lru_cache(maxsize=8)
def make_outcome(
    *,
    names: tuple[str, ...] = ("Targets", "Score", "KPA"),
    seeds: int = 2,
    sweep_seeds: int = 2,
    until: float = 600.0,
    rate: float = 1.0,
) -> Outcome:
    spec = make_service().targets(concurrentWorkflows=SLOTS).scaling(minReplicas=1, maxReplicas=10).obj().spec
    experiment = Experiment(
        title="shop.csv",
        traffic=Burst(until, rate),
        spec=spec,
        startup=Startup(20.0),
        names=names,
        wait_seconds=5.0,
        seeds=seeds,
        sweep_seeds=sweep_seeds,
        notes=("It was made up.",),
    )
    return run(experiment, workers=1, progress=lambda done, total: None)


def said(outcome: Outcome, *notes: Note) -> Outcome:
    """The same, but the first policy said this."""
    first, *others = outcome.series
    return replace(outcome, series=(replace(first, example=replace(first.example, notes=notes)), *others))
