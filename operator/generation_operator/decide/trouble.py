"""Hold back a scale-down while the service is in trouble that looks like idleness.

A service that fails fast is fast and cheap, and one that lets requests wait for its backend uses little CPU. Both look
as if they could do with less.
"""

from collections.abc import Mapping
from typing import Final

from generation_operator.decide.draft import Draft
from generation_operator.decide.policy import Policy
from generation_operator.decide.types import Reason, Signal, SignalName, SignalState, Stage

# Requests that wait, all replicas together. Less than one is what is left of a queue that was averaged over time.
_BACKLOG: Final = 1.0


def untroubled(draft: Draft, policy: Policy, signals: Mapping[SignalName, Signal], *, guards: bool) -> Draft:
    """Let a scale-down wait for the backlog to empty and for errors to come back within the budget.

    The backlog counts with the policy Score only: Targets knows how much work it is.
    """
    if not guards:
        return draft.passed(Stage.TROUBLE, "guards are disabled")
    if not draft.lowers:
        return draft.passed(Stage.TROUBLE, "no scale-down is due")
    waiting = _fresh(signals, SignalName.QUEUE_LENGTH)
    if policy.is_score and waiting >= _BACKLOG:
        message = f"Held, {waiting:.6g} requests wait: {draft.message}"
        return draft.held_by(Stage.TROUBLE, draft.current, Reason.BACKLOG, message)
    failed = _fresh(signals, SignalName.ERROR_RATIO)
    if failed > policy.error_budget:
        message = f"Held, {failed:.2%} fail and the error budget is {policy.error_budget:.0%}: {draft.message}"
        return draft.held_by(Stage.TROUBLE, draft.current, Reason.ERRORS, message)
    return draft.passed(Stage.TROUBLE, "no backlog and no errors beyond the budget")


def _fresh(signals: Mapping[SignalName, Signal], name: SignalName) -> float:
    signal = signals[name]
    return signal.value if signal.state is SignalState.FRESH and signal.value is not None else 0.0
