"""A fixed count: the other end of the scale, and what many run today."""

import math

import numpy as np

from generation_operator.simulate.ports import Seconds, View


class Static:
    """Always the same number of replicas."""

    name = "static"

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        """At once."""
        return 0.0

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        """Once is enough."""
        return self._replicas, math.inf
