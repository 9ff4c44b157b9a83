"""The values that deciding is about: signals in, a decision with its reasons out.

"No data" is not "zero", and "do nothing" has a reason of its own. Everything here is frozen; a state is replaced, never
changed.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

Replicas = NewType("Replicas", int)
Seconds = NewType("Seconds", float)


class SignalName(StrEnum):
    """The signals that policies read."""

    RESPONSE_TIME = "ResponseTime"  # mean over the window, seconds
    REQUEST_RATE = "RequestRate"  # requests per second, all replicas together
    CPU = "Cpu"  # mean over replicas, % of the limit
    MEMORY = "Memory"  # mean over replicas, % of the limit
    QUEUE_LENGTH = "QueueLength"  # requests waiting, all replicas together
    ERROR_RATIO = "ErrorRatio"  # failed / all requests, 0..1


class SignalState(StrEnum):
    """How far a signal can be trusted."""

    FRESH = "Fresh"  # means that the value is recent and covers the pods that serve traffic
    STALE = "Stale"  # means that there is a value but it is too old, or too few pods report
    MISSING = "Missing"  # means that there is no value, or none that is a number
    NO_TRAFFIC = "NoTraffic"  # means that the value is undefined because nothing was asked (0/0)


@dataclass(frozen=True, slots=True)
class Signal:
    """One observed signal.

    `value` is a finite number exactly when the state is Fresh or Stale. `age` is in seconds, None when nothing was
    seen.
    """

    name: SignalName
    state: SignalState
    value: float | None = None
    age: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Guard:
    """What the HorizontalPodAutoscaler beside us was seen to need; `replicas` is None while it has no metrics."""

    replicas: Replicas | None
    reason: str


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known about one service at one moment."""

    signals: dict[SignalName, Signal]
    current: Replicas  # spec.replicas of the Deployment
    ready: Replicas
    rollout_in_progress: bool = False
    guard: Guard = field(default_factory=lambda: Guard(None, "NoMetrics"))
    metrics_error: str | None = None  # why signals are not usable, for people; no policy reads it


class Stage(StrEnum):
    """The steps of the pipeline, in order."""

    SIGNALS = "Signals"
    SCORE = "Score"
    COOLDOWN = "Cooldown"
    ROLLOUT = "Rollout"
    WARM_UP = "WarmUp"
    GUARD = "Guard"
    BOUNDS = "Bounds"


class Reason(StrEnum):
    """Why the desired count is what it is. Closed: consumers may switch over it."""

    HIGH_LOAD = "HighLoad"  # means that the scale-up score exceeded its limit
    LOW_LOAD = "LowLoad"  # means that the scale-down score exceeded its limit
    WITHIN_RANGE = "WithinRange"  # means that neither score exceeded its limit
    COOLDOWN = "Cooldown"  # means that a step is due but the last one was too recent
    MISSING_METRICS = "MissingMetrics"  # means that replicas are held because required signals are not usable
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"  # means that a scale-down waits for a rollout to end
    WARMING_UP = "WarmingUp"  # means that a scale-down waits for a second usable observation after the operator's start
    GUARD_NEED = "GuardNeed"  # means that the HPA's own metric needs the replicas that would have been removed
    AT_MAXIMUM = "AtMaximum"  # means that more replicas are due but maxReplicas binds
    AT_MINIMUM = "AtMinimum"  # means that fewer replicas are due but minReplicas binds
    BELOW_MINIMUM = "BelowMinimum"  # means that the count is raised to minReplicas
    ABOVE_MAXIMUM = "AboveMaximum"  # means that the count is lowered to maxReplicas


@dataclass(frozen=True, slots=True)
class Line:
    """What one stage did: replicas in, replicas out, and why."""

    stage: Stage
    before: Replicas
    after: Replicas
    text: str


@dataclass(frozen=True, slots=True)
class State:
    """What a decision remembers. Bounded in size; rebuilt from status after a restart."""

    last_step_at: Seconds | None = None  # wall clock (Unix seconds) of the last step that was decided
    usable_observations: int = 0  # in a row since the operator's start; counted up to decide.warm_up.ENOUGH


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas, and why."""

    id: str  # the same for the same inputs
    at: Seconds  # Unix seconds
    desired: Replicas
    current: Replicas
    valid: bool  # False: hold, because too little is known
    binder: Stage  # the stage that set `desired`
    limited_by: Stage | None  # the stage that held back what an earlier one asked for
    reason: Reason
    message: str  # one sentence for people, with the numbers
    signals: tuple[Signal, ...]
    lines: tuple[Line, ...]

    @property
    def changes_replicas(self) -> bool:
        """Whether carrying this out would write a replica count."""
        return self.desired != self.current
