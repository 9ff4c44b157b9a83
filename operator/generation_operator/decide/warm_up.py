"""Hold back a scale-down until the operator has seen more than one usable observation since it started.

After a start nothing is remembered but the time of the last step. One quiet moment then is no reason to remove a pod.
"""

from typing import Final

from generation_operator.decide.draft import Draft
from generation_operator.decide.types import Reason, Stage

ENOUGH: Final = 2  # in a row; once reached, a later gap in the metrics does not start the count again


def counted(usable_observations: int, *, valid: bool) -> int:
    """The count after one more observation."""
    if usable_observations >= ENOUGH:
        return ENOUGH
    return usable_observations + 1 if valid else 0


def warmed(draft: Draft, usable_observations: int) -> Draft:
    """Let scale-downs wait for enough usable observations, this one included; scale-ups pass."""
    seen = f"{usable_observations} of {ENOUGH} usable observations since the start"
    if usable_observations >= ENOUGH or not draft.lowers:
        return draft.passed(Stage.WARM_UP, seen)
    return draft.held_by(Stage.WARM_UP, draft.current, Reason.WARMING_UP, f"Held, {seen}: {draft.message}")
