"""Whether memory requests may be moved now: one hand at a time, and none while the service struggles.

Moving the request of a running pod can recreate it. So nothing moves while an error budget burns, while too little is
known, and for a while after a step of the replicas, when every pod's use of memory is about to change anyway.
"""

from typing import Final

from generation_operator.decide.types import Decision, Seconds, State

# Ten minutes: start-up, warm caches, and a window of the recommender in which the new count is what it saw.
REST_SECONDS: Final = 600.0


def may_resize(state: State, decision: Decision, now: Seconds) -> bool:
    """Whether the VerticalPodAutoscaler may act.

    Args:
        state: what is remembered after the decision.
        decision: what was decided last.
        now: Unix seconds.
    """
    stepped = state.last_step_at is not None and now - state.last_step_at < REST_SECONDS
    return decision.valid and state.burn is None and not stepped and not decision.changes_replicas
