"""One decision: from what was observed to how many replicas, and why.

The operator, the simulator and the command line call this one function. It is pure and total: no clock, no log, and no
observation, however broken, makes it raise.
"""

import dataclasses
import hashlib
import json

from generation_operator.api.spec import Scaling
from generation_operator.decide import signals as evidence
from generation_operator.decide.bounds import bounded
from generation_operator.decide.cooldown import believable, cooled
from generation_operator.decide.draft import Draft
from generation_operator.decide.guard import guarded
from generation_operator.decide.rollout import after_rollout
from generation_operator.decide.score import scored
from generation_operator.decide.types import Decision, Observation, Seconds, State
from generation_operator.decide.warm_up import counted, warmed


def step(policy: Scaling, state: State, observation: Observation, now: Seconds) -> tuple[State, Decision]:
    """Decide how many replicas there should be.

    Args:
        policy: the resource's `spec.scaling`.
        state: what the last decision returned; `State()` after a start.
        observation: what is known now.
        now: Unix seconds.

    Returns:
        The decision, and the state for the next one if this one is carried out (else see `not_carried_out`).
    """
    signals = evidence.trusted(observation.signals)
    before = believable(state, now)

    draft = evidence.begin(observation, signals)
    usable = counted(before.usable_observations, valid=draft.valid)
    draft = scored(draft, policy.score, signals)
    draft = cooled(draft, before, policy.score.cooldown_seconds, now)
    draft = after_rollout(draft, in_progress=observation.rollout_in_progress)
    draft = warmed(draft, usable)
    draft = guarded(draft, observation.guard)
    asked, draft = draft, bounded(draft, policy.min_replicas, policy.max_replicas)

    after = State(now if _is_step(asked, draft) else before.last_step_at, usable)
    return after, Decision(
        id=_identity(policy, state, observation, now),
        at=now,
        desired=draft.desired,
        current=draft.current,
        valid=draft.valid,
        binder=draft.binder,
        limited_by=draft.limited_by,
        reason=draft.reason,
        message=draft.message,
        signals=tuple(signals.values()),
        lines=draft.lines,
    )


def not_carried_out(before: State, after: State) -> State:
    """The state for the next decision when the replica count could not, or may not, be written: no step was taken."""
    if before.last_step_at is None or after.last_step_at is None:
        return dataclasses.replace(after, last_step_at=None)
    # The earlier of the two: a last step in the future (see cooldown.believable) must not come back.
    return dataclasses.replace(after, last_step_at=min(before.last_step_at, after.last_step_at))


def _is_step(asked: Draft, final: Draft) -> bool:
    """Whether a step that the policy asked for, or a part of it, is left after the bounds.

    Only that starts a cooldown. A count that the user's bounds force is no step of the policy, and a step that was
    swallowed whole changed nothing.
    """
    return (asked.desired - asked.current) * (final.desired - final.current) > 0


def _identity(policy: Scaling, state: State, observation: Observation, now: Seconds) -> str:
    """The same for the same inputs, on every machine."""
    inputs = {
        "policy": policy.model_dump(mode="json", by_alias=True),
        "state": dataclasses.asdict(state),
        "observation": dataclasses.asdict(observation),
        "now": now,
    }
    # 12 hex digits: for people to compare and quote; a clash in one resource's history of 20 is out of reach.
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]
