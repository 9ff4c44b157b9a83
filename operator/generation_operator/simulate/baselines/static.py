"""A count that never changes: what a service without an autoscaler costs and misses."""

import math

import numpy as np

from generation_operator.simulate.ports import Seconds, View


class Static:
    """So many replicas from the start."""

    name = "static"

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas

    def begin(self, view: View, rng: np.random.Generator) -> Seconds:
        """Nothing to draw; the count is set at once."""
        return 0.0

    def act(self, view: View, now: Seconds) -> tuple[int | None, Seconds]:
        """Set the count, once."""
        return self._replicas, math.inf
