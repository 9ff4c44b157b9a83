"""Hold back a scale-down that rests on too little.

Adding replicas on one signal is safe; removing some needs all that could speak against it. A signal that has never been
seen counts as missing like one that was lost: what a service does not report must not make it cheaper.

Nor must an outage: while no replica is ready nothing is asked of any, and what they reported then can be as old as any
sample may be when they are ready again. (Seen on a real Prometheus: 3 -> 1 replicas in the second after an outage, on
zeros of the outage, and 1 -> 6 with the next scrape.)
"""

import math
from collections.abc import Mapping
from typing import Final

from generation_operator.decide.draft import Draft
from generation_operator.decide.policy import Policy
from generation_operator.decide.signals import DEMAND, REQUIRED, USABLE
from generation_operator.decide.types import Reason, Signal, SignalName, Stage

_OF_SCORE: Final = (*REQUIRED, SignalName.ERROR_RATIO)


def evident(
    draft: Draft,
    policy: Policy,
    signals: Mapping[SignalName, Signal],
    *,
    guards: bool,
    since_outage: float = math.inf,
) -> Draft:
    """Let a scale-down wait until every signal it takes is usable, and was seen in service; scale-ups pass.

    Args:
        draft: what the stages so far came to.
        policy: which signals it takes.
        signals: all signals by name, as `signals.trusted` returns them.
        guards: whether the policy Score asks for more than its own signals.
        since_outage: seconds since no replica was ready.
    """
    if not guards:
        return draft.passed(Stage.EVIDENCE, "guards are disabled")
    if not draft.lowers:
        return draft.passed(Stage.EVIDENCE, "no scale-down is due")
    needed = _OF_SCORE if policy.is_score else DEMAND
    unusable = [f"{name} {signals[name].state}" for name in needed if signals[name].state not in USABLE]
    if not unusable and since_outage < policy.max_age_seconds:
        message = f"Held, signals may be of the time when no replica was ready, until lately: {draft.message}"
        return draft.held_by(Stage.EVIDENCE, draft.current, Reason.MISSING_METRICS, message)
    if not unusable:
        return draft.passed(Stage.EVIDENCE, "every signal that a scale-down needs is usable")
    message = f"Held, a scale-down needs {', '.join(unusable)}: {draft.message}"
    return draft.held_by(Stage.EVIDENCE, draft.current, Reason.MISSING_METRICS, message)
