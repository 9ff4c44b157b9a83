"""Hold back a step, up or down, that comes too soon after the last one.

The guide starts its cooldown whenever its scorer asks for a step. Here it starts only when the step leaves the last
stage (`step.py`): a step that a guard or a bound swallowed whole has changed nothing that would need time to show.
"""

from dataclasses import replace

from generation_operator.decide.draft import Draft
from generation_operator.decide.types import Reason, Seconds, Stage, State


def believable(state: State, now: Seconds) -> State:
    """The state without a last step in the future.

    A clock that was set back would otherwise hold every step until it catches up, for ever at worst. Forgetting the
    step could release two in a row, so the safe way between the two: the cooldown starts anew, now.
    """
    if state.last_step_at is None or not state.last_step_at > now:
        return state
    return replace(state, last_step_at=now)


def cooled(draft: Draft, state: State, cooldown_seconds: int, now: Seconds) -> Draft:
    """Hold while less than the cooldown has passed since the last step.

    The guide looks at the cooldown first and at the metrics only afterwards. The outcome is the same; in this order
    the lines also tell what would have been done.
    """
    if state.last_step_at is None:
        return draft.passed(Stage.COOLDOWN, "no step yet")
    passed = now - state.last_step_at
    if not passed < cooldown_seconds:
        return draft.passed(Stage.COOLDOWN, f"last step {passed:.0f} s ago, cooldown {cooldown_seconds} s is over")
    remaining = f"{cooldown_seconds - passed:.0f} s of {cooldown_seconds} s cooldown left"
    if draft.desired == draft.current:
        return draft.passed(Stage.COOLDOWN, f"{remaining}, no step is due")
    # Floors are no steps of the policy: they do not wait.
    to = max(draft.current, min(draft.floor, draft.desired))
    if to == draft.desired:
        return draft.passed(Stage.COOLDOWN, f"{remaining}, which a floor does not wait for")
    return draft.held_by(Stage.COOLDOWN, to, Reason.COOLDOWN, f"Held, {remaining}: {draft.message}")
