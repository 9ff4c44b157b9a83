"""Keep within the replica-hours of a day.

What is left is spread evenly until midnight UTC: more replicas than that pays for are refused. Counted is what the
Deployment asks for, from the first decision on: a day that is half over when the budget is first seen may cost more
than it says once, because guessing what was spent could remove replicas for no reason but a restart.

The budget never goes below minReplicas, removes nothing while metrics are missing, and goes no lower than the need of
the HPA beside us, which would raise again at once.
"""

import math
from typing import Final

from generation_operator.decide.draft import Draft
from generation_operator.decide.types import Guard, Reason, Seconds, Spent, Stage

_DAY: Final = 86400
_HOUR: Final = 3600
_LATEST: Final = 1e15  # beyond it a float cannot tell seconds apart


def accounted(spent: Spent | None, current: int, now: Seconds) -> Spent | None:
    """What was used up to now, if the replicas that there are have been there since it was last counted."""
    if not 0 <= now < _LATEST:
        return spent
    day = int(now // _DAY)
    if spent is None:
        return Spent(day, 0.0, now)
    if spent.day == day:
        return Spent(day, spent.replica_seconds + max(0.0, now - spent.at) * max(0, current), now)
    # Of another day only what lies after midnight counts; a clock that went back a day starts anew.
    since = now - day * _DAY if spent.day < day else 0.0
    return Spent(day, since * max(0, current), now)


def affordable(draft: Draft, spent: Spent | None, hours_per_day: int | None, minimum: int, guard: Guard) -> Draft:
    """Let the count go no further than what is left of today pays for.

    Args:
        draft: what the stages so far came to.
        spent: what was used so far, this moment included.
        hours_per_day: the budget, None for none.
        minimum: minReplicas.
        guard: what the HPA needs.
    """
    if hours_per_day is None:
        return draft.passed(Stage.BUDGET, "no budget")
    if spent is None:
        return draft.passed(Stage.BUDGET, "not judged: the time is not usable")
    left = max(0.0, hours_per_day * _HOUR - spent.replica_seconds)
    payable = math.floor(left / max(1.0, (spent.day + 1) * _DAY - spent.at))
    used = f"{spent.replica_seconds / _HOUR:.1f} of {hours_per_day} replica-hours used today"
    most = max(payable, minimum)
    if draft.desired <= most:
        return draft.passed(Stage.BUDGET, f"{used}, what is left pays for {payable} until midnight UTC")
    if most < draft.current:
        most = draft.current if not draft.valid else max(most, min(guard.replicas or 0, draft.current))
    to = min(draft.desired, most)
    message = f"Limited to {to}: {used}, what is left pays for {payable} until midnight UTC: {draft.message}"
    return draft.held_by(Stage.BUDGET, to, Reason.BUDGET_EXHAUSTED, message)
