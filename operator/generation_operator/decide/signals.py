"""Decide whether what was observed is enough to decide on.

A number is only evidence while it is fresh, finite and not below zero (nothing that is measured here can be). Every
later stage may rely on that: what comes out of here never contains a missing value that could be read as zero.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from generation_operator.decide.draft import Draft
from generation_operator.decide.types import Observation, Reason, Signal, SignalName, SignalState, Stage

REQUIRED: Final = (
    SignalName.RESPONSE_TIME,
    SignalName.REQUEST_RATE,
    SignalName.CPU,
    SignalName.MEMORY,
    SignalName.QUEUE_LENGTH,
)
# NoTraffic is knowledge: nothing was asked. It is usable, but it is no evidence for a step in either direction.
USABLE: Final = (SignalState.FRESH, SignalState.NO_TRAFFIC)


def trusted(signals: Mapping[SignalName, Signal]) -> dict[SignalName, Signal]:
    """All signals by name: absent ones as Missing, and Missing also where the value contradicts the state."""
    return {name: _trusted(signals.get(name) or Signal(name, SignalState.MISSING)) for name in SignalName}


def begin(observation: Observation, signals: Mapping[SignalName, Signal]) -> Draft:
    """The first stage: stay where we are, and say whether the later stages may ask for more."""
    draft = Draft(
        current=observation.current,
        desired=observation.current,
        valid=True,
        binder=Stage.SIGNALS,
        limited_by=None,
        reason=Reason.WITHIN_RANGE,
        message="",
    )
    unusable = [f"{name} {signals[name].state}" for name in REQUIRED if signals[name].state not in USABLE]
    if unusable:
        message = f"Replicas held, metrics not usable: {', '.join(unusable)}"
        return replace(draft.set_by(Stage.SIGNALS, draft.current, Reason.MISSING_METRICS, message), valid=False)
    quiet = [str(name) for name in REQUIRED if signals[name].state is SignalState.NO_TRAFFIC]
    return draft.passed(Stage.SIGNALS, f"all usable; no traffic for {', '.join(quiet)}" if quiet else "all fresh")


def _trusted(signal: Signal) -> Signal:
    age = signal.age if signal.age is not None and math.isfinite(signal.age) else None
    if signal.state not in (SignalState.FRESH, SignalState.STALE):
        return replace(signal, value=None, age=age)
    if signal.value is None or not math.isfinite(signal.value) or signal.value < 0:
        return replace(signal, state=SignalState.MISSING, value=None, age=age)
    return replace(signal, age=age)
