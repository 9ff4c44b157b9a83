"""Decide whether what was observed is enough to decide on.

A number is only evidence while it is fresh, covers the pods that serve traffic and can have been measured at all. Every
later stage may rely on that: what comes out of here never contains a missing value that could be read as zero.
"""

import math
from collections.abc import Mapping
from typing import Final

from generation_operator.api import spec
from generation_operator.decide.draft import Draft
from generation_operator.decide.policy import Policy
from generation_operator.decide.types import Observation, Reason, Seconds, Signal, SignalName, SignalState, Stage

# The policy Score needs all of these.
REQUIRED: Final = (
    SignalName.RESPONSE_TIME,
    SignalName.REQUEST_RATE,
    SignalName.CPU,
    SignalName.MEMORY,
    SignalName.QUEUE_LENGTH,
)
# The policy Targets needs one of these to add replicas, and all of them to remove some (see `evidence`).
DEMAND: Final = (SignalName.QUEUE_LENGTH, SignalName.WORKFLOWS_IN_FLIGHT, SignalName.WORKFLOW_ARRIVALS)
NEEDED: Final = {spec.Policy.SCORE: REQUIRED, spec.Policy.TARGETS: DEMAND}
# NoTraffic is knowledge: nothing was asked. It is usable, but it is no evidence for a step in either direction.
USABLE: Final = (SignalState.FRESH, SignalState.NO_TRAFFIC)

# Below 80 % of the ready pods the rest may be where the load is.
COVERAGE_PERCENT: Final = 80
# Clocks of two machines in one cluster differ by less than this; a sample from further ahead has no known age.
_SKEW_SECONDS: Final = 5.0
# A value of a long window hardly moves within a tenth of the window.
_OF_WINDOW: Final = {
    SignalName.MISS_RATIO_5M: 30.0,
    SignalName.MISS_RATIO_30M: 180.0,
    SignalName.MISS_RATIO_1H: 360.0,
    SignalName.MISS_RATIO_6H: 2160.0,
}
# A reset counter makes a part look larger than the whole. Rounding and extrapolation explain a thousandth.
_RATIOS: Final = frozenset({SignalName.ERROR_RATIO, SignalName.CACHE_HIT_RATIO, *_OF_WINDOW})
_MOST_OF_RATIO: Final = 1.001
# No service has a billion of anything counted here, nor seconds, nor percent: it is an artefact, a reset counter's.
_LARGEST: Final = 1e9

_ABSENT: Final = {name: Signal(name, SignalState.MISSING) for name in SignalName}


def trusted(policy: Policy, observation: Observation, now: Seconds) -> dict[SignalName, Signal]:
    """All signals by name, with states that their values, ages and coverage justify.

    | state said | value                       | age, coverage  | state     |
    |------------|-----------------------------|----------------|-----------|
    | any        | none, NaN, infinite         | any            | Missing   |
    | any        | negative, impossible        | any            | Missing   |
    | Fresh      | a number                    | fine           | Fresh     |
    | Fresh      | a number                    | old, partial   | Stale     |
    | Stale      | a number                    | any            | Stale     |
    | NoTraffic  | -                           | fine           | NoTraffic |
    | NoTraffic  | -                           | old, partial   | Missing   |
    | Missing    | -                           | any            | Missing   |

    No age at all is fine: then whoever took the sample has judged it. An age that is no number is not.
    """
    given, longest = observation.signals, policy.max_age_seconds
    # Without a time, nothing can be said to be recent.
    sound = covered(observation) and math.isfinite(now)
    signals = {}
    for name, absent in _ABSENT.items():
        signal = given.get(name)
        signals[name] = absent if signal is None else _judged(name, signal, longest, sound=sound)
    return signals


def covered(observation: Observation) -> bool:
    """Whether enough of the ready pods report. Without a ready pod, what the others say is not about serving."""
    if observation.reporting is None:
        return True
    return observation.ready > 0 and observation.reporting * 100 >= COVERAGE_PERCENT * observation.ready


def begin(policy: Policy, observation: Observation, signals: Mapping[SignalName, Signal]) -> Draft:
    """The first stage: stay where we are, and say whether the later stages may ask for more."""
    current = observation.current
    draft = Draft(current, current, True, Stage.SIGNALS, None, Reason.WITHIN_RANGE, "Nothing asks for another count")
    states = {name: signals[name].state for name in NEEDED[policy.scaling.policy]}
    unusable = [f"{name} {state}" for name, state in states.items() if state not in USABLE]
    if unusable and (policy.is_score or SignalState.FRESH not in states.values()):
        message = f"Replicas held, metrics not usable: {', '.join(unusable)}"
        return draft.set_by(Stage.SIGNALS, current, Reason.MISSING_METRICS, message)._replace(valid=False)
    if unusable:
        return draft.passed(Stage.SIGNALS, f"enough to add replicas; not usable: {', '.join(unusable)}")
    quiet = [str(name) for name, state in states.items() if state is SignalState.NO_TRAFFIC]
    return draft.passed(Stage.SIGNALS, f"all usable; no traffic for {', '.join(quiet)}" if quiet else "all fresh")


def _judged(name: SignalName, signal: Signal, longest: float, *, sound: bool) -> Signal:
    state, value, age = signal.state, _possible(name, signal.value), signal.age
    recent = True
    if age is not None:
        recent = -_SKEW_SECONDS <= age <= max(longest, _OF_WINDOW.get(name, 0.0))
        if not math.isfinite(age):
            age = None
        elif recent and age < 0:
            age = Seconds(0.0)
    if state is SignalState.FRESH or state is SignalState.STALE:
        if value is None:
            return Signal(name, SignalState.MISSING, None, age)
        if not (sound and recent):
            state = SignalState.STALE
    elif state is SignalState.NO_TRAFFIC and sound and recent:
        value = None
    else:
        state, value = SignalState.MISSING, None
    if signal.name is name and signal.state is state and signal.value == value and signal.age == age:
        return signal
    return Signal(name, state, value, age)


def _possible(name: SignalName, value: float | None) -> float | None:
    """The value if it can have been measured."""
    if value is None or not 0 <= value <= _LARGEST:  # NaN is not
        return None
    if value <= 1 or name not in _RATIOS:
        return value
    return 1.0 if value <= _MOST_OF_RATIO else None
