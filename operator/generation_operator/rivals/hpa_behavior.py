"""What the HorizontalPodAutoscaler of Kubernetes 1.36 does with a proposed count before it writes one.

Stabilisation windows, scaling policies, bounds, and the memory they need, as its controller has them, oddities
included: without `spec.behavior` it takes an older path with rules of its own, and it forgets scaling events by the
policies of their own direction but counts them for both. Scaling to zero by the HPA itself is off in 1.36.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from generation_operator.rivals.hpa_calculator import DEFAULT_TOLERANCE, Seconds, Tolerance


class PolicyType(StrEnum):
    """What the value of a scaling policy counts."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several scaling policies counts."""

    MAX = "Max"  # means that the one that allows the most change counts
    MIN = "Min"  # means that the one that allows the least change counts
    DISABLED = "Disabled"  # means that there is no scaling in this direction


@dataclass(frozen=True, slots=True)
class Policy:
    """So much change at most per period."""

    type: PolicyType
    value: int
    period_seconds: int


@dataclass(frozen=True, slots=True)
class Rules:
    """`spec.behavior.scaleUp` or `.scaleDown`."""

    policies: tuple[Policy, ...]
    stabilization_seconds: int
    select: SelectPolicy = SelectPolicy.MAX
    tolerance: float | None = None  # None: the controller's


DEFAULT_SCALE_UP: Final = Rules(
    policies=(Policy(PolicyType.PODS, 4, 15), Policy(PolicyType.PERCENT, 100, 15)), stabilization_seconds=0
)
DEFAULT_SCALE_DOWN: Final = Rules(policies=(Policy(PolicyType.PERCENT, 100, 15),), stabilization_seconds=300)


@dataclass(frozen=True, slots=True)
class Behavior:
    """`spec.behavior`, with what the API server fills in."""

    up: Rules = DEFAULT_SCALE_UP
    down: Rules = DEFAULT_SCALE_DOWN


DEFAULT_BEHAVIOR: Final = Behavior()

# As the performance guide sets it.
GUIDE_BEHAVIOR: Final = Behavior(
    up=Rules(policies=(Policy(PolicyType.PERCENT, 100, 30), Policy(PolicyType.PODS, 4, 60)), stabilization_seconds=60),
    down=Rules(policies=(Policy(PolicyType.PERCENT, 50, 60),), stabilization_seconds=300),
)


@dataclass(slots=True)
class History:
    """What the controller remembers about one HPA, in its own memory: all lists are (time, count)."""

    recommendations: list[tuple[Seconds, int]] = field(default_factory=list)
    ups: list[tuple[Seconds, int]] = field(default_factory=list)  # replicas added
    downs: list[tuple[Seconds, int]] = field(default_factory=list)  # replicas removed


@dataclass(frozen=True, slots=True)
class Loop:
    """One HPA object and the flags of its controller.

    Attributes:
        behavior: None when the object has no `spec.behavior`; the defaults are not quite the same.
        downscale_stabilization_seconds: the flag `--horizontal-pod-autoscaler-downscale-stabilization`, which counts
            only without `spec.behavior`.
    """

    min_replicas: int
    max_replicas: int
    behavior: Behavior | None = None
    downscale_stabilization_seconds: int = 300

    @property
    def tolerance(self) -> Tolerance:
        """Around every metric's target."""
        if self.behavior is None:
            return DEFAULT_TOLERANCE
        down, up = self.behavior.down.tolerance, self.behavior.up.tolerance
        return Tolerance(DEFAULT_TOLERANCE.down if down is None else down, DEFAULT_TOLERANCE.up if up is None else up)

    def synced(self, history: History, current: int, proposals: Sequence[int | None], now: Seconds) -> int:
        """One turn of the loop: the count that the HPA writes, or `current` if it writes none.

        Args:
            history: what this HPA remembers; updated.
            current: `spec.replicas`.
            proposals: what each metric of the HPA asks for, None where it gives no count.
            now: never before an earlier call's.
        """
        if not history.recommendations:
            history.recommendations.append((now, current))
        if current == 0:
            return 0  # scaled to zero by somebody else: the HPA is off
        if current > self.max_replicas:
            desired = self.max_replicas
        elif current < self.min_replicas:
            desired = self.min_replicas
        else:
            proposal = highest(proposals, current)
            if proposal is None:
                return current
            desired = self._normalized(history, current, max(proposal, 0), now)
        if desired != current and self.behavior is not None:
            _store_event(history, self.behavior, desired - current, now)
        return desired

    def _normalized(self, history: History, current: int, proposal: int, now: Seconds) -> int:
        if self.behavior is None:
            stable = _highest_recent(history, proposal, now - self.downscale_stabilization_seconds, now)
            # 2x or 4: against a wrong metric; the limit of the times before `spec.behavior`.
            limit = min(self.max_replicas, max(2 * current, 4))
            return self.min_replicas if stable < self.min_replicas else min(stable, limit)
        stable = _stabilized(history, self.behavior, current, proposal, now)
        if stable > current:
            limit = max(current, _up_limit(history, self.behavior.up, current, now))
            return min(stable, limit, self.max_replicas)
        if stable < current:
            limit = min(current, _down_limit(history, self.behavior.down, current, now))
            return max(stable, limit, self.min_replicas)
        return stable


def highest(proposals: Sequence[int | None], current: int) -> int | None:
    """The count of several metrics: the highest; None where a metric without a count might have forbidden to shrink."""
    best = 0
    for proposal in proposals:
        if proposal is not None and (best == 0 or proposal > best):
            best = proposal
    unusable = sum(1 for proposal in proposals if proposal is None)
    if unusable == len(proposals) or (unusable and best < current):
        return None
    return best


def _highest_recent(history: History, proposal: int, cutoff: Seconds, now: Seconds) -> int:
    best = max([proposal, *(count for at, count in history.recommendations if at >= cutoff)])
    _remember(history.recommendations, (now, proposal), lambda at: at < cutoff)
    return best


def _stabilized(history: History, behavior: Behavior, current: int, proposal: int, now: Seconds) -> int:
    """Up to the lowest recent proposal, down to the highest one, whichever of the two is on its side of `current`."""
    up_cutoff = now - behavior.up.stabilization_seconds
    down_cutoff = now - behavior.down.stabilization_seconds
    up = min([proposal, *(count for at, count in history.recommendations if at > up_cutoff)])
    down = max([proposal, *(count for at, count in history.recommendations if at > down_cutoff)])
    _remember(history.recommendations, (now, proposal), lambda at: at < up_cutoff and at < down_cutoff)
    return min(max(current, up), down)


def _up_limit(history: History, rules: Rules, current: int, now: Seconds) -> int:
    if rules.select is SelectPolicy.DISABLED:
        return current
    limits = []
    for policy in rules.policies:
        start = _period_start(history, policy, current, now)
        if policy.type is PolicyType.PODS:
            limits.append(start + policy.value)
        else:
            limits.append(math.ceil(start * (1 + policy.value / 100)))
    return min(limits) if rules.select is SelectPolicy.MIN else max(limits)


def _down_limit(history: History, rules: Rules, current: int, now: Seconds) -> int:
    if rules.select is SelectPolicy.DISABLED:
        return current
    limits = []
    for policy in rules.policies:
        start = _period_start(history, policy, current, now)
        if policy.type is PolicyType.PODS:
            limits.append(start - policy.value)
        else:
            limits.append(int(start * (1 - policy.value / 100)))
    return max(limits) if rules.select is SelectPolicy.MIN else min(limits)


def _period_start(history: History, policy: Policy, current: int, now: Seconds) -> int:
    """How many replicas there were when the policy's current period began."""
    cutoff = now - policy.period_seconds
    added = sum(count for at, count in history.ups if at > cutoff)
    removed = sum(count for at, count in history.downs if at > cutoff)
    return current - added + removed


def _store_event(history: History, behavior: Behavior, change: int, now: Seconds) -> None:
    rules, events = (behavior.up, history.ups) if change > 0 else (behavior.down, history.downs)
    cutoff = now - max(policy.period_seconds for policy in rules.policies)
    _remember(events, (now, abs(change)), lambda at: at < cutoff)


def _remember(
    entries: list[tuple[Seconds, int]], entry: tuple[Seconds, int], is_old: Callable[[Seconds], bool]
) -> None:
    """Put an entry into the place of the last old one, if there is one. The others stay, and may still count."""
    for index in reversed(range(len(entries))):
        if is_old(entries[index][0]):
            entries[index] = entry
            return
    entries.append(entry)
