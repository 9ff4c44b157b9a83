"""The values that deciding is about: signals in, a decision with its reasons out.

"No data" is not "zero", and "do nothing" has a reason of its own. Everything here is frozen; a state is replaced, never
changed.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, NewType

from generation_operator.decide.memory import Memory

_NOTHING_REMEMBERED: Final = Memory()

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
    WORKFLOW_ARRIVALS = "WorkflowArrivals"  # workflows per second that arrive, all replicas together
    WORKFLOW_SERVICE_TIME = "WorkflowServiceTime"  # mean time a workflow keeps a slot, waiting excluded, seconds
    WORKFLOWS_IN_FLIGHT = "WorkflowsInFlight"  # workflows in a slot, all replicas together
    WORKFLOW_DURATION_P95 = "WorkflowDurationP95"  # admission to terminal state, seconds
    CACHED_RESPONSE_P95 = "CachedResponseP95"  # seconds
    CACHE_HIT_RATIO = "CacheHitRatio"  # 0..1
    MISS_RATIO_5M = "MissRatio5m"  # workflows that missed their target / all that arrived, 0..1
    MISS_RATIO_30M = "MissRatio30m"
    MISS_RATIO_1H = "MissRatio1h"
    MISS_RATIO_6H = "MissRatio6h"


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
class Override:
    """A count that a person asked for, exactly and for a limited time."""

    replicas: Replicas
    until: Seconds  # Unix seconds
    why: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known about one service at one moment."""

    signals: dict[SignalName, Signal]
    current: Replicas  # spec.replicas of the Deployment
    ready: Replicas
    starting: Replicas = Replicas(0)  # exist and are not ready yet
    reporting: Replicas | None = None  # ready replicas with a recent sample; None: not counted
    startup_seconds: Seconds | None = None  # measured, from creation to ready; None: not measured yet
    rollout_in_progress: bool = False
    guard: Guard = field(default_factory=lambda: Guard(None, "NoMetrics"))
    override: Override | None = None  # somebody's own write of the count, kept for a time; the spec's comes first
    metrics_error: str | None = None  # why signals are not usable, for people; no policy reads it


class Stage(StrEnum):
    """The steps of the pipeline, in order. Which of them a policy goes through: `policy.STAGES`."""

    SIGNALS = "Signals"
    SCORE = "Score"
    DEMAND = "Demand"
    FORECAST = "Forecast"
    BURN = "Burn"
    SCHEDULES = "Schedules"
    OVERRIDE = "Override"
    COOLDOWN = "Cooldown"
    STABILISE = "Stabilise"
    EVIDENCE = "Evidence"
    TROUBLE = "Trouble"
    ROLLOUT = "Rollout"
    WARM_UP = "WarmUp"
    GUARD = "Guard"
    BUDGET = "Budget"
    BOUNDS = "Bounds"


class Reason(StrEnum):
    """Why the desired count is what it is. Closed: consumers may switch over it."""

    HIGH_LOAD = "HighLoad"  # means that the load asks for more replicas
    LOW_LOAD = "LowLoad"  # means that the load can do with fewer replicas
    WITHIN_RANGE = "WithinRange"  # means that the load asks for the replicas that there are
    ERROR_BUDGET_BURN = "ErrorBudgetBurn"  # means that misses use up the error budget too fast for fewer replicas
    SCHEDULE = "Schedule"  # means that a schedule's floor is in force
    OVERRIDE = "Override"  # means that a person asked for this very count, for a time that is not over
    COOLDOWN = "Cooldown"  # means that a step is due but the last one was too recent
    STABILISING = "Stabilising"  # means that a removal waits until the recent past would not have needed the replicas
    MISSING_METRICS = "MissingMetrics"  # means that replicas are held because signals that it takes are not usable
    BACKLOG = "Backlog"  # means that a scale-down waits for the queue to empty
    ERRORS = "Errors"  # means that a scale-down waits for the error ratio to come back within the error budget
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"  # means that a scale-down waits for a rollout to end
    WARMING_UP = "WarmingUp"  # means that a scale-down waits for a second usable observation after the operator's start
    GUARD_NEED = "GuardNeed"  # means that the HPA's own metric needs the replicas that would have been removed
    BUDGET_EXHAUSTED = "BudgetExhausted"  # means that the replica-hours left for today do not pay for more
    AT_MAXIMUM = "AtMaximum"  # means that more replicas are due but maxReplicas binds
    AT_MINIMUM = "AtMinimum"  # means that fewer replicas are due but minReplicas binds
    BELOW_MINIMUM = "BelowMinimum"  # means that the count is raised to minReplicas
    ABOVE_MAXIMUM = "AboveMaximum"  # means that the count is lowered to maxReplicas


class Line(NamedTuple):
    """What one stage did: replicas in, replicas out, and why."""

    stage: Stage
    before: Replicas
    after: Replicas
    text: str


class Burn(NamedTuple):
    """A floor that was raised because misses burnt the error budget."""

    began_with: int  # replicas when it began
    floor: int
    moved_at: Seconds  # when the floor last moved
    known_at: Seconds  # when the miss ratios were last usable


class Spent(NamedTuple):
    """What was used of today's budget."""

    day: int  # days since 1970-01-01, UTC
    replica_seconds: float
    at: Seconds  # up to when it is counted


@dataclass(frozen=True, slots=True)
class State:
    """What a decision remembers. Bounded in size; what must not be lost is rebuilt from status after a restart."""

    last_step_at: Seconds | None = None  # wall clock (Unix seconds) of the last step that was decided
    usable_observations: int = 0  # in a row since the operator's start; counted up to decide.warm_up.ENOUGH
    memory: Memory = _NOTHING_REMEMBERED
    burn: Burn | None = None
    spent: Spent | None = None  # None without a budget
    unready_at: Seconds | None = None  # when no replica was ready the last time
    lineage: str = ""  # id of the decision before: an id stands for all that led to it


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
    counterfactuals: dict[str, int] = field(default_factory=dict)  # what others would have done; only when asked for

    @property
    def changes_replicas(self) -> bool:
        """Whether carrying this out would write a replica count."""
        return self.desired != self.current
