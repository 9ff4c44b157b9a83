"""Compare what was observed with the six declared targets.

Only a fresh signal is held against a target: no traffic, or a gap in the metrics, neither meets nor misses one. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from generation_operator.api.quantity import parse_quantity
from generation_operator.api.spec import GenerationServiceSpec
from generation_operator.decide.types import Observation, SignalName, SignalState


class TargetName(StrEnum):
    """The objectives of `spec.targets`."""

    WORKFLOW_DURATION = "WorkflowDuration"  # p95, seconds
    CONCURRENT_WORKFLOWS = "ConcurrentWorkflows"  # in a slot, mean of the ready replicas
    CACHED_RESPONSE = "CachedResponse"  # p95, milliseconds
    MEMORY = "Memory"  # mean of the replicas, bytes
    CACHE_HIT = "CacheHit"  # percent
    SUCCESS = "Success"  # percent


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target and what was observed of it."""

    name: TargetName
    target: float
    observed: float | None  # None: nothing fresh
    at_least: bool = False  # whether more is better
    budget_remaining_percent: int | None = None  # of the error budget of the last six hours

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None when nothing fresh was observed."""
        return self.meets(0.0)

    def meets(self, margin: float) -> bool | None:
        """The same with a margin, as a share of the target, by which it has to be better."""
        if self.observed is None:
            return None
        if self.at_least:
            return self.observed >= self.target * (1 + margin) or self.observed >= 100
        return self.observed <= self.target * (1 - margin)


def verdicts(spec: GenerationServiceSpec, observation: Observation) -> tuple[Verdict, ...]:
    """One verdict for each target, in the order of `spec.targets`."""
    return tuple(_verdicts(spec, observation))


def _verdicts(spec: GenerationServiceSpec, observation: Observation) -> Iterator[Verdict]:
    targets = spec.targets

    def fresh(name: SignalName, factor: float = 1.0) -> float | None:
        signal = observation.signals.get(name)
        usable = signal is not None and signal.state is SignalState.FRESH and signal.value is not None
        return signal.value * factor if usable and signal is not None and signal.value is not None else None

    yield Verdict(
        TargetName.WORKFLOW_DURATION, targets.workflow_duration_seconds, fresh(SignalName.WORKFLOW_DURATION_P95)
    )
    in_flight = fresh(SignalName.WORKFLOWS_IN_FLIGHT, 1 / observation.ready) if observation.ready > 0 else None
    yield Verdict(TargetName.CONCURRENT_WORKFLOWS, targets.concurrent_workflows, in_flight)
    yield Verdict(
        TargetName.CACHED_RESPONSE, targets.cached_response_milliseconds, fresh(SignalName.CACHED_RESPONSE_P95, 1000)
    )
    limit = float(parse_quantity(spec.resources.limits.memory))
    yield Verdict(TargetName.MEMORY, float(parse_quantity(targets.memory)), fresh(SignalName.MEMORY, limit / 100))
    hits = fresh(SignalName.CACHE_HIT_RATIO, 100)
    yield Verdict(TargetName.CACHE_HIT, targets.cache_hit_percent, hits, at_least=True)
    errors = fresh(SignalName.ERROR_RATIO, 100)
    yield Verdict(
        TargetName.SUCCESS,
        targets.success_percent,
        None if errors is None else 100 - errors,
        at_least=True,
        budget_remaining_percent=_budget(100 - targets.success_percent, fresh(SignalName.MISS_RATIO_6H, 100)),
    )


def _budget(allowed_percent: int, missed_percent: float | None) -> int | None:
    """What is left of the error budget; None when there is none, or nothing fresh speaks of it."""
    if missed_percent is None or allowed_percent <= 0:
        return None
    return int(100 * max(0.0, min(1.0, 1 - missed_percent / allowed_percent)))
