"""Turn what Prometheus said about a service into signals that say how far they can be trusted.

Prometheus goes on answering with old values for minutes after it lost sight of a pod, and answers 0/0 with NaN. Here is
the one place that knows; it never turns the absence of a value into a value.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from generation_operator.api.pod import ResourceLimits
from generation_operator.api.quantity import parse_quantity
from generation_operator.api.resource import Key
from generation_operator.api.spec import GenerationServiceSpec, Policy
from generation_operator.decide.signals import COVERAGE_PERCENT, NEEDED, USABLE
from generation_operator.decide.types import Seconds, Signal, SignalName, SignalState
from generation_operator.observe.own_queries import Own

# While what the pods said is no older than this it counts, however lately Prometheus has scraped: a rate that is taken
# over a minute is half a minute old in content.
_SOON_SECONDS: Final = 5.0
_NAMES: Final = tuple(SignalName)  # to go through the enum itself takes ten times as long
# One for all services: they are kept with every decision, 1.5 kB of each service that has no Prometheus yet.
_NEVER_SEEN: Final = {name: Signal(name, SignalState.MISSING, None, None) for name in _NAMES}
_OF_LIMIT: Final = frozenset({SignalName.CPU, SignalName.MEMORY})
# 0/0 when nobody asks: that is knowledge, not a gap.
_RATIOS: Final = (
    SignalName.RESPONSE_TIME,
    SignalName.ERROR_RATIO,
    SignalName.WORKFLOW_SERVICE_TIME,
    SignalName.MISS_RATIO_5M,
    SignalName.MISS_RATIO_30M,
    SignalName.MISS_RATIO_1H,
    SignalName.MISS_RATIO_6H,
)


@dataclass(frozen=True, slots=True)
class Ask:
    """What to read for one service."""

    key: Key
    url: str | None  # of the Prometheus; None when neither the resource nor the operator names one
    window_seconds: int
    max_age_seconds: int
    port: int = 8000  # of the service's pods
    queries: Mapping[SignalName, str] = field(default_factory=dict)  # that the resource brings itself


@dataclass(frozen=True, slots=True)
class FreshLoad:
    """What the pods themselves said about their load, all ready pods together."""

    in_flight: float
    queued: float
    arrivals: float | None  # per second, since the sample before; None for the first one
    age: float  # seconds
    expected: int  # pods that should have answered
    answered: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read for one service: CPU in cores and memory in bytes, each the mean of one replica."""

    values: Mapping[SignalName, float] = field(default_factory=dict)  # absent when Prometheus has none; may be NaN
    age: float | None = None  # seconds, of the newest sample of any pod
    reporting: int = 0  # pods with a sample that is not too old
    error: str | None = None  # why nothing could be read from Prometheus
    load: FreshLoad | None = None  # None when the pods were not asked, or none answered
    own: Own = field(default_factory=Own)  # what the resource's own queries gave


class MetricsSource(Protocol):
    """Reads many services at once. Never raises for a Prometheus that misbehaves: that is an error in the reading."""

    async def read(self, asks: Sequence[Ask]) -> Mapping[Key, Reading]:
        """One reading for each."""


def classify(reading: Reading, spec: GenerationServiceSpec, ready: int) -> dict[SignalName, Signal]:
    """All signals of one service.

    | value                 | evidence                    | state     |
    |-----------------------|-----------------------------|-----------|
    | none                  | any                         | Missing   |
    | NaN, infinite         | trusted, ratio, no requests | NoTraffic |
    | NaN, infinite         | anything else               | Missing   |
    | a number              | trusted                     | Fresh     |
    | a number              | too old, too few pods       | Stale     |

    What the pods themselves say about their load replaces what Prometheus says when it is usable and the fresher.

    Args:
        reading: what Prometheus and the pods said.
        spec: limits that CPU and memory are related to, and the maximum age.
        ready: replicas that are ready, which should all report.
    """
    trusted = _doubt(reading, spec.metrics.max_age_seconds, ready) is None
    quiet = trusted and reading.values.get(SignalName.REQUEST_RATE) == 0
    age = None if reading.age is None or not math.isfinite(reading.age) else Seconds(reading.age)
    signals = {}
    replaced = _own(reading.own, spec)
    for name in _NAMES:
        if name in replaced:
            signals[name] = replaced[name]
            continue
        value = _in_unit(name, reading.values.get(name), spec.resources.limits)
        if value is not None and math.isfinite(value):
            signals[name] = Signal(name, SignalState.FRESH if trusted else SignalState.STALE, value, age)
        elif value is not None and quiet and name in _RATIOS:
            signals[name] = Signal(name, SignalState.NO_TRAFFIC, None, age)
        else:
            signals[name] = _NEVER_SEEN[name] if age is None else Signal(name, SignalState.MISSING, None, age)
    if reading.load is not None:
        told = _of_load(reading.load, spec.metrics.max_age_seconds)
        # Where the resource says where a signal comes from, it comes from there.
        told = {name: signal for name, signal in told.items() if name not in replaced}
        signals.update(_fresher(told, signals))
    return signals


def explain(
    reading: Reading, spec: GenerationServiceSpec, ready: int, signals: Mapping[SignalName, Signal]
) -> str | None:
    """Why the required signals are not usable, for people: `Reason: what is wrong and what to do`; None when they are.

    The text changes only when the situation does, because a changed text is a write of the status.

    Args:
        reading: what Prometheus and the pods said.
        spec: the policy and the maximum age.
        ready: replicas that are ready.
        signals: as `classify` returns them.
    """
    needed = NEEDED[spec.scaling.policy]
    if all(signals[name].state in USABLE for name in needed):
        return None
    if reading.own.error is not None:
        return reading.own.error
    if reading.error is not None:
        return reading.error
    doubt = _doubt(reading, spec.metrics.max_age_seconds, ready)
    if doubt is not None:
        return doubt
    missing = [str(name) for name in needed if signals[name].state is SignalState.MISSING]
    # Of what Targets can add replicas on, one is enough.
    if len(missing) == len(needed) or (missing and spec.scaling.policy is Policy.SCORE):
        return (
            f"MissingSignals: no value for {', '.join(missing)}; a rate needs two samples within "
            f"spec.metrics.windowSeconds ({spec.metrics.window_seconds} s), each metric must be exported by the service"
        )
    return None


def _doubt(reading: Reading, max_age_seconds: int, ready: int) -> str | None:
    """Why the values are no evidence, None when they are."""
    if reading.age is None or not math.isfinite(reading.age):
        return (
            "NoSamples: Prometheus has no generation_service_info for this service; "
            "check that it scrapes the pods and adds the labels namespace and pod"
        )
    if reading.age > max_age_seconds:
        return (
            f"StaleSamples: the newest sample is older than spec.metrics.maxAgeSeconds ({max_age_seconds} s); "
            "check that Prometheus still scrapes the pods"
        )
    # Without a ready pod the share is 0/0: what the others report says nothing about serving traffic.
    if ready <= 0:
        return "NoReadyPods: no pod of the service is ready"
    if reading.reporting * 100 < COVERAGE_PERCENT * ready:
        return (
            f"PartialCoverage: {reading.reporting} of {ready} ready pods report, {COVERAGE_PERCENT} % must; "
            "check the scrape targets in Prometheus"
        )
    return None


def _own(own: Own, spec: GenerationServiceSpec) -> dict[SignalName, Signal]:
    """The signals for which the resource has queries of its own. Prometheus evaluates them now, so they have no age."""
    signals = {}
    quiet = own.values.get(SignalName.REQUEST_RATE) == 0
    for entry in spec.metrics.queries:
        name = SignalName(entry.signal)
        value = _in_unit(name, own.values.get(name), spec.resources.limits)
        if value is not None and math.isfinite(value):
            signals[name] = Signal(name, SignalState.FRESH, value)
        elif value is not None and quiet and name in _RATIOS:
            signals[name] = Signal(name, SignalState.NO_TRAFFIC)
        else:
            signals[name] = Signal(name, SignalState.MISSING)
    return signals


def _of_load(load: FreshLoad, max_age_seconds: int) -> dict[SignalName, Signal]:
    """The signals that the pods tell themselves."""
    sound = load.age <= max_age_seconds and load.answered * 100 >= COVERAGE_PERCENT * load.expected
    state, age = SignalState.FRESH if sound else SignalState.STALE, Seconds(max(0.0, load.age))
    values = {
        SignalName.WORKFLOWS_IN_FLIGHT: load.in_flight,
        SignalName.QUEUE_LENGTH: load.queued,
        SignalName.WORKFLOW_ARRIVALS: load.arrivals,
    }
    return {name: Signal(name, state, value, age) for name, value in values.items() if value is not None}


def _fresher(told: Mapping[SignalName, Signal], scraped: Mapping[SignalName, Signal]) -> dict[SignalName, Signal]:
    """What the pods told, where it is worth more than what was scraped."""
    better = {}
    for name, signal in told.items():
        other = scraped[name]
        if other.state in USABLE:
            age = other.age or 0.0
            if signal.state is not SignalState.FRESH or (signal.age or 0.0) > max(_SOON_SECONDS, age):
                continue
        elif other.state is SignalState.STALE and signal.state is SignalState.STALE:
            continue
        better[name] = signal
    return better


def _in_unit(name: SignalName, value: float | None, limits: ResourceLimits) -> float | None:
    """CPU and memory in % of the limit; everything else as it is."""
    if value is None or name not in _OF_LIMIT:
        return value
    limit = float(parse_quantity(limits.cpu if name is SignalName.CPU else limits.memory))
    return value / limit * 100 if limit > 0 else None
