"""The user's own bounds. The last word, also when nothing else is known.

| count now   | wanted        | outcome                            |
|-------------|---------------|------------------------------------|
| any         | within bounds | as wanted                          |
| within, max | above max     | max; the step is held: AtMaximum   |
| within, min | below min     | min; the step is held: AtMinimum   |
| above max   | above max     | max; the bound forces: AboveMaximum|
| below min   | below min     | min; the bound forces: BelowMinimum|
| above max   | below min     | min; the step is held: AtMinimum   |
| below min   | above max     | max; the step is held: AtMaximum   |
"""

from generation_operator.decide.draft import Draft
from generation_operator.decide.types import Reason, Stage


def bounded(draft: Draft, minimum: int, maximum: int) -> Draft:
    """Keep the count within minReplicas and maxReplicas."""
    if draft.desired > maximum:
        if draft.current > maximum:
            message = f"Lowered from {draft.current} to maxReplicas {maximum}"
            return draft.set_by(Stage.BOUNDS, maximum, Reason.ABOVE_MAXIMUM, _with(message, draft))
        message = f"More replicas are due but maxReplicas is {maximum}"
        return draft.held_by(Stage.BOUNDS, maximum, Reason.AT_MAXIMUM, _with(message, draft))
    if draft.desired < minimum:
        if draft.current < minimum:
            message = f"Raised from {draft.current} to minReplicas {minimum}"
            return draft.set_by(Stage.BOUNDS, minimum, Reason.BELOW_MINIMUM, _with(message, draft))
        message = f"Fewer replicas are due but minReplicas is {minimum}"
        return draft.held_by(Stage.BOUNDS, minimum, Reason.AT_MINIMUM, _with(message, draft))
    return draft.passed(Stage.BOUNDS, f"within {minimum} to {maximum}")


def _with(message: str, draft: Draft) -> str:
    return f"{message}: {draft.message}"
