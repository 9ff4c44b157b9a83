"""What KEDA 2.20 adds to the HorizontalPodAutoscaler it creates: a metric, a fallback, and the way to and from zero.

From one replica up, KEDA only delivers the metric; the HPA counts (`hpa_calculator.average_value_replicas`, then
`hpa_behavior.Loop`). Its own loop only switches between none and some. Faithful to a fault: by default a query that
finds nothing counts as 0, so that a metric that disappears looks like a service that nobody uses.

A reading is what a Prometheus query returned: a number, NaN or infinite where it found nothing usable, None where the
query itself failed.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from generation_operator.rivals.hpa_behavior import Behavior, Loop
from generation_operator.rivals.hpa_calculator import Seconds


class FallbackBehavior(StrEnum):
    """Which count a fallback feigns."""

    STATIC = "static"  # means that it is `replicas`
    CURRENT = "currentReplicas"  # means that it is the count as it is
    CURRENT_IF_HIGHER = "currentReplicasIfHigher"  # means that it is the higher of the two
    CURRENT_IF_LOWER = "currentReplicasIfLower"  # means that it is the lower of the two


@dataclass(frozen=True, slots=True)
class Fallback:
    """What to do when the query has failed more than `failure_threshold` times in a row."""

    failure_threshold: int
    replicas: int
    behavior: FallbackBehavior = FallbackBehavior.STATIC

    def count(self, current: int) -> int:
        """The replicas to feign a need for."""
        match self.behavior:
            case FallbackBehavior.STATIC:
                return self.replicas
            case FallbackBehavior.CURRENT:
                return current
            case FallbackBehavior.CURRENT_IF_HIGHER:
                return max(current, self.replicas)
            case FallbackBehavior.CURRENT_IF_LOWER:
                return min(current, self.replicas)


@dataclass(slots=True)
class Memory:
    """What KEDA remembers about one ScaledObject."""

    failures: int = 0  # of the query in a row, counted by both loops
    last_active: Seconds | None = None


@dataclass(frozen=True, slots=True)
class ScaledObject:
    """One ScaledObject with one Prometheus trigger of the metric type AverageValue.

    Attributes:
        threshold: what one replica should have.
        min_replicas: 0 allows KEDA to take the last replica away.
        activation_threshold: above it the service is in use.
        cooldown_seconds: from the last use to zero replicas; nothing else waits for it.
        ignore_null_values: an unusable result counts as 0 instead of a failure.
        behavior: of the HPA.
    """

    threshold: float
    min_replicas: int = 0
    max_replicas: int = 100
    activation_threshold: float = 0.0
    cooldown_seconds: Seconds = 300.0
    ignore_null_values: bool = True
    fallback: Fallback | None = None
    behavior: Behavior | None = None

    @property
    def hpa(self) -> Loop:
        """The HPA that KEDA creates."""
        return Loop(max(self.min_replicas, 1), self.max_replicas, self.behavior)

    @property
    def target(self) -> int:
        """Of that HPA's metric, in thousandths."""
        return int(self.threshold * 1000)

    def metric(self, memory: Memory, reading: float | None, current: int) -> int | None:
        """What the HPA gets when it asks, in thousandths; None is an error, upon which it holds."""
        value = self._value(memory, reading)
        if value is not None:
            return int(value * 1000)
        if self.fallback is None or memory.failures <= self.fallback.failure_threshold:
            return None
        return self.target * self.fallback.count(current)

    def polled(self, memory: Memory, reading: float | None, current: int, now: Seconds) -> int:
        """One turn of the loop that knows only none and some: the count it writes, or `current` if it writes none.

        | the service is | current | min_replicas | cooldown over | count                 |
        |----------------|---------|--------------|---------------|-----------------------|
        | unknown        | any     | any          | any           | current               |
        | in use         | 0       | any          | any           | min_replicas, or 1    |
        | in use         | > 0     | any          | any           | current               |
        | idle           | > 0     | 0            | yes           | 0, at once            |
        | idle           | > 0     | 0            | no            | current               |
        | idle           | any     | > 0          | any           | at least min_replicas |
        """
        value = self._value(memory, reading)
        if value is None:
            return current
        if value > self.activation_threshold:
            memory.last_active = now
            return current or max(self.min_replicas, 1)
        if self.min_replicas:
            return max(current, self.min_replicas)
        # Never in use means that there is nothing to wait for.
        over = memory.last_active is None or memory.last_active + self.cooldown_seconds < now
        return 0 if over else current

    def _value(self, memory: Memory, reading: float | None) -> float | None:
        value = reading
        if value is not None and not math.isfinite(value):
            value = 0.0 if self.ignore_null_values else None
        memory.failures = memory.failures + 1 if value is None else 0
        return value
