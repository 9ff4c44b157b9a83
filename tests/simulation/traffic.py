"""Traffic that other processes can import: a test module cannot be imported by its name."""

from dataclasses import dataclass

import numpy as np

from generation_operator.simulate.trace import Requests


@dataclass(frozen=True, slots=True)
class Steady:
    """Poisson arrivals; picklable, as it is sent to other processes."""

    rate: float = 2.0
    until: float = 240.0

    def __call__(self, seed: int) -> Requests:
        rng = np.random.default_rng(seed)
        arrivals = np.sort(rng.random(rng.poisson(self.rate * self.until)) * self.until)
        return Requests(arrivals, rng.exponential(5.0, len(arrivals)), self.until, scored_from=60.0)


@dataclass(frozen=True, slots=True)
class Broken:
    """Realises one seed and no other."""

    def __call__(self, seed: int) -> Requests:
        if seed:
            raise ValueError("no such seed")
        return Steady()(seed)
