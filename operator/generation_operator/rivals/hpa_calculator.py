"""How the HorizontalPodAutoscaler of Kubernetes 1.36 gets from metrics to a replica count.

It repeats the controller's replica calculator, its rounding and its oddities included, and must never improve on it:
a baseline that is better or worse than the original makes every comparison worthless. All quantities are integers in
thousandths (millicores, milli-requests), as the original's are. `None` as a result means that the metric gives no
count; the loop then holds.

It leaves out two things: integer overflow (a count is capped at the largest int32 instead) and requests per container.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Seconds = float

_MAX_INT32: Final = 2**31 - 1
_MAX_INT64: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far usage may be from its target, as a ratio, before anything happens."""

    down: float = 0.1
    up: float = 0.1

    def covers(self, ratio: float) -> bool:
        """Whether a ratio of usage to target is close enough to 1."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


DEFAULT_TOLERANCE: Final = Tolerance()


class Phase(StrEnum):
    """The phases of a pod that are told apart; a pod in any other one counts as running."""

    PENDING = "Pending"
    RUNNING = "Running"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class PodState:
    """What the pod object says.

    Attributes:
        started_at: when the node took it on; None before that.
        ready: the condition `Ready`; None when there is no such condition yet.
        ready_changed_at: when that condition last changed.
        request: of the resource, in thousandths; None when a container declares none.
        deleting: it has been told to end.
    """

    name: str
    phase: Phase
    started_at: Seconds | None
    ready: bool | None
    ready_changed_at: Seconds
    request: int | None = None
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class PodMetric:
    """One pod's usage: a mean over the `window` seconds that end `at`."""

    value: int
    at: Seconds
    window: Seconds


@dataclass(frozen=True, slots=True)
class CpuReadiness:
    """When a pod's CPU usage may be believed. The flags `--horizontal-pod-autoscaler-…` of the controller manager."""

    initialization_seconds: Seconds = 300.0  # cpu-initialization-period
    initial_delay_seconds: Seconds = 30.0  # initial-readiness-delay

    def is_unready(self, pod: PodState, metric: PodMetric, now: Seconds) -> bool:
        """Whether a running pod's sample is left out.

        young means: started less than the initialization period ago.

        | young | Ready condition | left out                                                          |
        |-------|-----------------|-------------------------------------------------------------------|
        | any   | absent          | yes; likewise while the node has not taken the pod on             |
        | yes   | False           | yes                                                               |
        | yes   | True            | unless a whole window lies between its last change and the sample |
        | no    | False           | if it changed within the initial delay: it was never ready        |
        | no    | True            | no                                                                |
        """
        if pod.ready is None or pod.started_at is None:
            return True
        if pod.started_at + self.initialization_seconds > now:
            return not pod.ready or metric.at < pod.ready_changed_at + metric.window
        return not pod.ready and pod.started_at + self.initial_delay_seconds > pod.ready_changed_at


DEFAULT_CPU_READINESS: Final = CpuReadiness()


def utilization_replicas(
    current: int,
    target_percent: int,
    pods: Collection[PodState],
    metrics: Mapping[str, PodMetric],
    now: Seconds,
    *,
    tolerance: Tolerance = DEFAULT_TOLERANCE,
    cpu: CpuReadiness | None = DEFAULT_CPU_READINESS,
) -> int | None:
    """Resource metric with a target in per cent of the pods' requests.

    Args:
        current: `spec.replicas`.
        target_percent: `averageUtilization`.
        pods: all pods that the target's selector matches.
        metrics: usage by pod name.
        now: on the same clock as the pods' times.
        tolerance: around the target.
        cpu: the rules for CPU; None for any other resource.
    """
    groups = _grouped(pods, metrics, cpu, now)
    requests = {pod.name: pod.request for pod in pods if pod.request is not None}
    if len(requests) < len(pods):
        return None

    def ratio(values: Mapping[str, int]) -> float | None:
        known = [name for name in values if name in requests]
        total = sum(requests[name] for name in known)
        if total == 0:
            return None
        return _divided(sum(values[name] for name in known) * 100, total) / target_percent

    def assumed(name: str) -> int:
        return _divided(requests[name] * max(100, target_percent), 100)

    return _from_pods(current, groups, ratio, assumed, tolerance)


def per_pod_replicas(
    current: int,
    target: int,
    pods: Collection[PodState],
    metrics: Mapping[str, PodMetric],
    now: Seconds,
    *,
    tolerance: Tolerance = DEFAULT_TOLERANCE,
    cpu: CpuReadiness | None = None,
) -> int | None:
    """Pods metric, or resource metric with a target in absolute terms (then `cpu` where the resource is CPU).

    Args:
        current: `spec.replicas`.
        target: `averageValue`, in thousandths.
        pods: all pods that the target's selector matches.
        metrics: usage by pod name.
        now: on the same clock as the pods' times.
        tolerance: around the target.
        cpu: the rules for CPU; None for anything else.
    """
    if not pods:
        return None
    groups = _grouped(pods, metrics, cpu, now)

    def ratio(values: Mapping[str, int]) -> float:
        return _divided(sum(values.values()), len(values)) / target

    return _from_pods(current, groups, ratio, lambda _: target, tolerance)


def value_replicas(
    current: int, usage: int, target: int, pods: Collection[PodState], *, tolerance: Tolerance = DEFAULT_TOLERANCE
) -> int | None:
    """Object or External metric with a target of type Value: one number for the whole service."""
    ratio = float(usage) / float(target)
    if current == 0:
        return _capped(ratio)
    if tolerance.covers(ratio):
        return current
    if not pods:
        return None
    return _capped(ratio * sum(1 for pod in pods if pod.phase is Phase.RUNNING and pod.ready))


def average_value_replicas(
    status_replicas: int, usage: int, target: int, *, tolerance: Tolerance = DEFAULT_TOLERANCE
) -> int:
    """Object or External metric with a target of type AverageValue: so much per replica.

    Args:
        status_replicas: pods that exist, ready or not.
        usage: of the whole service, in thousandths.
        target: per replica, in thousandths.
        tolerance: around the target.
    """
    if status_replicas and tolerance.covers(float(usage) / (float(target) * float(status_replicas))):
        return status_replicas
    return _capped(float(usage) / float(target))


def external_total(values: Iterable[int]) -> int:
    """The usage for `average_value_replicas` of an External metric that has several values.

    The original takes a negative running total for an overflow and goes to the maximum: a query that yields a negative
    number scales such a service all the way up.
    """
    total = 0
    for value in values:
        total += value
        if not 0 <= total <= _MAX_INT64:
            return _MAX_INT64
    return total


def ratio_replicas(current: int, ready: int, ratio: float, *, tolerance: Tolerance = DEFAULT_TOLERANCE) -> int:
    """Pod metrics of a service whose pods are all ready and all report: the ratio of mean usage to target decides."""
    return current if tolerance.covers(ratio) else _capped(ratio * ready)


@dataclass(slots=True)
class _Groups:
    values: dict[str, int]  # of the pods that count, and of any that are not in the list
    counted: int
    unready: set[str]
    missing: set[str]


def _grouped(
    pods: Collection[PodState], metrics: Mapping[str, PodMetric], cpu: CpuReadiness | None, now: Seconds
) -> _Groups:
    groups = _Groups({name: metric.value for name, metric in metrics.items()}, 0, set(), set())
    for pod in pods:
        metric = metrics.get(pod.name)
        if pod.deleting or pod.phase is Phase.FAILED:
            groups.values.pop(pod.name, None)
        elif pod.phase is Phase.PENDING:
            groups.unready.add(pod.name)
        elif metric is None:
            groups.missing.add(pod.name)
        elif cpu is not None and cpu.is_unready(pod, metric, now):
            groups.unready.add(pod.name)
        else:
            groups.counted += 1
    for name in groups.unready:
        groups.values.pop(name, None)
    return groups


def _from_pods(
    current: int,
    groups: _Groups,
    ratio_of: Callable[[Mapping[str, int]], float | None],
    assumed: Callable[[str], int],
    tolerance: Tolerance,
) -> int | None:
    """The count from the pods that report, damped by those that do not.

    | usage / target | pods without a sample count as | unready pods count as |
    |----------------|--------------------------------|-----------------------|
    | below 1        | `assumed`, the most likely     | nothing               |
    | exactly 1      | nothing                        | nothing               |
    | above 1        | 0                              | 0                     |
    """
    values = groups.values
    ratio = ratio_of(values) if values else None
    if ratio is None:
        return None
    rising = ratio > 1.0 and bool(groups.unready)
    if not rising and not groups.missing:
        return ratio_replicas(current, groups.counted, ratio, tolerance=tolerance)
    if ratio < 1.0:
        values.update((name, assumed(name)) for name in groups.missing)
    elif ratio > 1.0:
        values.update(dict.fromkeys(groups.missing, 0))
    if rising:
        values.update(dict.fromkeys(groups.unready, 0))
    damped = ratio_of(values)
    if damped is None or tolerance.covers(damped) or (ratio < 1.0 < damped) or (damped < 1.0 < ratio):
        return current
    wanted = _capped(damped * len(values))
    if (damped < 1.0 and wanted > current) or (damped > 1.0 and wanted < current):
        return current
    return wanted


def _divided(numerator: int, denominator: int) -> int:
    """Integer division by a positive number that rounds towards zero, as the original's does."""
    quotient = abs(numerator) // denominator
    return -quotient if numerator < 0 else quotient


def _capped(count: float) -> int:
    return _MAX_INT32 if count > _MAX_INT32 else math.ceil(count)
