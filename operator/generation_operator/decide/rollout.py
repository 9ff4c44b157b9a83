"""Hold back a scale-down while a rollout runs.

Pods of two templates share the load then, and what either would need alone cannot be seen.
"""

from generation_operator.decide.draft import Draft
from generation_operator.decide.types import Reason, Stage


def after_rollout(draft: Draft, *, in_progress: bool) -> Draft:
    """Let scale-downs wait for the end of the rollout; scale-ups pass."""
    if not in_progress:
        return draft.passed(Stage.ROLLOUT, "no rollout in progress")
    if not draft.lowers:
        return draft.passed(Stage.ROLLOUT, "rollout in progress, no scale-down is due")
    message = f"Held, a rollout is in progress: {draft.message}"
    return draft.held_by(Stage.ROLLOUT, draft.current, Reason.ROLLOUT_IN_PROGRESS, message)
