"""Our own autoscaler in the simulator: the very `decide.step` that the operator calls, behind the same delays.

What is modelled around it is what stands between a decision and a replica count in a cluster: where signals come from
and how old they are, and who may write. Nothing here decides anything.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import numpy as np

from generation_operator.api.score import ScorePolicy
from generation_operator.api.spec import Engine, GenerationServiceSpec, Policy
from generation_operator.decide.policy import Policy as Declared
from generation_operator.decide.step import not_carried_out, step
from generation_operator.decide.types import (
    Decision,
    Guard,
    Observation,
    Replicas,
    Seconds,
    Signal,
    SignalName,
    SignalState,
    State,
)
from generation_operator.simulate.ports import Sample, View
from generation_operator.simulate.result import Note

# A Monday at midnight UTC; the season and schedules need a calendar.
EPOCH: Final = 1_700_438_400.0
FRESH_SECONDS: Final = 2.0  # how often pods are sampled, and decided upon
TICK_SECONDS: Final = 5.0  # how often is decided on what Prometheus has
SCRAPE_SECONDS: Final = 15.0
WINDOW_SECONDS: Final = 60.0  # of rates and means in Prometheus
HPA_SYNC_SECONDS: Final = 15.0
# CPU of a replica whose slots are all busy, in % of its limit. Generation waits on backends: slots run out before CPU.
FULL_LOAD_CPU_PERCENT: Final = 85.0
GUARD_CPU_PERCENT: Final = 90.0
_TOLERANCE: Final = 0.1  # of the HPA
_MEMORY_PERCENT: Final = 50.0  # memory does not follow load


class Source(StrEnum):
    """Where the load signals come from."""

    PODS = "Pods"  # means in flight, queued and arrived sampled from the pods every 2 s, the rest from Prometheus
    PROMETHEUS = "Prometheus"  # means everything from the last scrape, 0 to 15 s old
    PROMETHEUS_LATE = "PrometheusLate"  # means everything one scrape older


@dataclass(slots=True)
class Ours:
    """`ports.Scaler`: `decide.step` with a source of signals and an engine that carries decisions out.

    `Direct`: a decision is written at once; beside it an HPA on CPU may raise, at its own sync. `Floor`: a decision
    moves the HPA's minimum, and the HPA follows at its next sync; its own metric may ask for more.
    """

    spec: GenerationServiceSpec
    engine: str
    source: Source
    keep_notes: bool = False
    name: str = ""
    notes: list[Note] = field(default_factory=list)
    _policy: Declared = field(init=False)
    _state: State = field(default_factory=State)
    _guard: Guard = field(default_factory=lambda: Guard(None, "NoMetrics"))
    _floor: int | None = None
    _next_tick: float = 0.0
    _next_sync: float = 0.0
    _scrape_phase: float = 0.0
    _told: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        self.name = self.name or str(self.spec.scaling.policy)
        self._policy = Declared.of(self.spec)

    def begin(self, view: View, rng: np.random.Generator) -> float:
        """Draw the phases of scrape, tick and HPA sync."""
        self._scrape_phase = SCRAPE_SECONDS * float(rng.random())
        self._next_tick = 1.0 + self._tick_seconds * float(rng.random())
        self._next_sync = 1.0 + HPA_SYNC_SECONDS * float(rng.random())
        return min(self._next_tick, self._next_sync)

    def act(self, view: View, now: float) -> tuple[int | None, float]:
        """Decide, or let the HPA sync, whichever is due."""
        wanted = self._sync(view, now) if now >= self._next_sync else None
        if now >= self._next_tick:
            decision = self._decide(view, now, view.replicas if wanted is None else wanted)
            self._next_tick += self._tick_seconds
            if self.engine == FLOOR:
                self._floor = decision.desired
            elif decision.changes_replicas:
                wanted = decision.desired
        return wanted, min(self._next_tick, self._next_sync)

    @property
    def _tick_seconds(self) -> float:
        return FRESH_SECONDS if self.source is Source.PODS else TICK_SECONDS

    def _decide(self, view: View, now: float, replicas: int) -> Decision:
        observation = self._observe(view, now, replicas)
        before = self._state
        self._state, decision = step(self._policy, before, observation, Seconds(EPOCH + now))
        if self.engine == FLOOR and decision.changes_replicas and decision.desired == self._floor:
            self._state = not_carried_out(before, self._state)  # already asked for; the HPA has not followed yet
        if self.keep_notes:
            self._note(decision, now)
        return decision

    def _note(self, decision: Decision, now: float) -> None:
        told = (decision.desired, decision.reason, decision.binder)
        if told != self._told:
            self._told = told
            lines = tuple(f"{line.stage}: {line.before} -> {line.after} {line.text}" for line in decision.lines)
            self.notes.append(Note(now, decision.desired, str(decision.reason), lines))

    def _sync(self, view: View, now: float) -> int | None:
        """One sync of the HPA: what its metric needs, and what it writes if it may."""
        self._next_sync += HPA_SYNC_SECONDS
        cpu = _cpu_percent(view, now)
        ratio = cpu / GUARD_CPU_PERCENT
        ready = view.sample(now).ready
        need = ready if abs(ratio - 1) <= _TOLERANCE else math.ceil(ready * ratio)
        self._guard = Guard(Replicas(need), "CpuUtilization") if ready else Guard(None, "NoReadyPods")
        least, most = self.spec.scaling.min_replicas, self.spec.scaling.max_replicas
        need = max(least, min(most, need))
        if self.engine == FLOOR:
            return None if self._floor is None else max(self._floor, need)
        return need if need > view.replicas else None

    def _observe(self, view: View, now: float, replicas: int) -> Observation:
        scraped = self._scraped_at(now)
        load_at = now if self.source is Source.PODS else scraped
        window = FRESH_SECONDS if self.source is Source.PODS else WINDOW_SECONDS
        pods_now = view.sample(now)
        return Observation(
            signals={
                signal.name: signal for signal in (*_load(view, load_at, window, now), *_slow(view, scraped, now))
            },
            current=Replicas(replicas),
            ready=Replicas(pods_now.ready),
            starting=Replicas(pods_now.starting),
            reporting=Replicas(pods_now.ready),
            startup_seconds=Seconds(view.startup_seconds),
            guard=self._guard,
        )

    def _scraped_at(self, now: float) -> float:
        late = SCRAPE_SECONDS if self.source is Source.PROMETHEUS_LATE else 0.0
        return max(0.0, now - (now - self._scrape_phase) % SCRAPE_SECONDS - late)


FLOOR: Final = "Floor"
DIRECT: Final = str(Engine.DIRECT)


def ours(
    policy_name: str,
    spec: GenerationServiceSpec,
    *,
    engine: str = DIRECT,
    source: str = Source.PODS,
    headroom_percent: int | None = None,
    score_percent: int = 100,
    keep_notes: bool = False,
) -> Ours:
    """Our autoscaler with a policy, as declared by a resource except for what is given.

    Args:
        policy_name: `Targets` or `Score`.
        spec: the resource.
        engine: `Direct` or `Floor`.
        source: see `Source`.
        headroom_percent: the main knob of `Targets`; None: as declared.
        score_percent: the main knob of `Score`: its thresholds upwards, in % of the declared ones.
        keep_notes: keep what it says about its decisions.
    """
    scaling = spec.scaling.model_copy(update={"policy": Policy(policy_name)})
    if headroom_percent is not None:
        targets = scaling.targets.model_copy(update={"headroom_percent": headroom_percent})
        scaling = scaling.model_copy(update={"targets": targets})
    if score_percent != 100:
        scaling = scaling.model_copy(update={"score": _eager(scaling.score, score_percent)})
    return Ours(spec.model_copy(update={"scaling": scaling}), engine, Source(source), keep_notes)


def _eager(score: ScorePolicy, percent: int) -> ScorePolicy:
    """The scores with their thresholds upwards moved; those downwards stay below them."""
    declared = score.up.thresholds
    thresholds = declared.model_copy(
        update={
            "response_time_milliseconds": declared.response_time_milliseconds * percent // 100,
            "cpu_percent": declared.cpu_percent * percent // 100,
            "queue_length": declared.queue_length * percent // 100,
        }
    )
    return score.model_copy(update={"up": score.up.model_copy(update={"thresholds": thresholds})})


def _load(view: View, at: float, window: float, now: float) -> tuple[Signal, ...]:
    """In flight, queued and arrived, as a probe saw them."""
    seen, before = view.sample(at), view.sample(max(0.0, at - window))
    age = now - seen.at
    passed = max(seen.at - before.at, 1.0)
    return (
        _fresh(SignalName.WORKFLOW_ARRIVALS, (seen.arrived - before.arrived) / passed, age),
        _fresh(SignalName.WORKFLOWS_IN_FLIGHT, seen.in_flight, age),
        _fresh(SignalName.QUEUE_LENGTH, seen.queued, age),
    )


def _slow(view: View, at: float, now: float) -> tuple[Signal, ...]:
    """What only Prometheus knows: means over a window, ratios over long ones."""
    seen, before = view.sample(at), view.sample(max(0.0, at - WINDOW_SECONDS))
    age = now - seen.at
    passed = max(seen.at - before.at, 1.0)
    served = seen.served - before.served
    service = (seen.service_seconds - before.service_seconds) / served if served else None
    # Little's law over the window, from a sample every 5 s.
    points = [view.sample(max(0.0, at - back)) for back in range(0, int(WINDOW_SECONDS), 5)]
    in_system = sum(point.in_flight + point.queued for point in points) / len(points)
    return (
        _ratio(SignalName.WORKFLOW_SERVICE_TIME, service, age),
        _ratio(SignalName.RESPONSE_TIME, in_system / (served / passed) if served else None, age),
        _fresh(SignalName.REQUEST_RATE, served / passed, age),
        _fresh(SignalName.CPU, _cpu_percent(view, at), age),
        _fresh(SignalName.MEMORY, _MEMORY_PERCENT, age),
        _ratio(SignalName.ERROR_RATIO, 0.0 if served else None, age),
        *(
            _ratio(name, _missed(seen, view.sample(max(0.0, at - seconds))), age)
            for name, seconds in (
                (SignalName.MISS_RATIO_5M, 300.0),
                (SignalName.MISS_RATIO_30M, 1800.0),
                (SignalName.MISS_RATIO_1H, 3600.0),
                (SignalName.MISS_RATIO_6H, 21600.0),
            )
        ),
    )


def _missed(seen: Sample, before: Sample) -> float | None:
    """Of the requests that arrived since; one that is known to have missed may have arrived a little earlier."""
    arrived = seen.arrived - before.arrived
    return min(1.0, (seen.missed - before.missed) / arrived) if arrived else None


def _cpu_percent(view: View, at: float) -> float:
    """Mean CPU of the ready replicas over the last window of the metrics server, in % of the limit."""
    used = [
        (pod.used(at) - pod.used(at - SCRAPE_SECONDS)) / (SCRAPE_SECONDS * pod.slots)
        for pod in view.pods()
        if pod.is_ready(at)
    ]
    return FULL_LOAD_CPU_PERCENT * sum(used) / len(used) if used else 0.0


def _fresh(name: SignalName, value: float, age: float) -> Signal:
    return Signal(name, SignalState.FRESH, float(value), Seconds(age))


def _ratio(name: SignalName, value: float | None, age: float) -> Signal:
    """A quotient, whose value is undefined while nothing happens."""
    return Signal(name, SignalState.NO_TRAFFIC, None, Seconds(age)) if value is None else _fresh(name, value, age)
