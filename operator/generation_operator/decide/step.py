"""One decision: from what was observed to how many replicas, and why.

The operator, the simulator and the command line call this one function. It is pure and total: no clock, no log, and no
observation, however broken, makes it raise.
"""

import dataclasses
import hashlib
import math
import struct
from collections.abc import Mapping
from typing import Final

from generation_operator.api.model import Switch
from generation_operator.decide import signals as evidence
from generation_operator.decide.bounds import bounded
from generation_operator.decide.budget import accounted, affordable
from generation_operator.decide.burn import burnt
from generation_operator.decide.cooldown import believable, cooled
from generation_operator.decide.counterfactuals import counterfactuals as others
from generation_operator.decide.demand import demanded
from generation_operator.decide.draft import Draft
from generation_operator.decide.evidence import evident
from generation_operator.decide.guard import guarded
from generation_operator.decide.memory import Memory
from generation_operator.decide.override import BEATEN, in_force, overridden
from generation_operator.decide.policy import Policy
from generation_operator.decide.rollout import after_rollout
from generation_operator.decide.schedules import scheduled
from generation_operator.decide.score import scored
from generation_operator.decide.stabilise import stabilised
from generation_operator.decide.trouble import untroubled
from generation_operator.decide.types import (
    Decision,
    Observation,
    Override,
    Seconds,
    Signal,
    SignalName,
    SignalState,
    Stage,
    State,
)
from generation_operator.decide.warm_up import counted, warmed

Signals = Mapping[SignalName, Signal]

# Only their steps count as steps of the policy and start a cooldown.
_OF_POLICY: Final = (Stage.SCORE, Stage.DEMAND, Stage.FORECAST, Stage.BURN, Stage.STABILISE)
_LONGEST_STARTUP: Final = 3600.0  # seconds; what takes longer is stuck
_CODES: Final = {state: code for code, state in enumerate(SignalState)}


def step(
    policy: Policy, state: State, observation: Observation, now: Seconds, *, counterfactuals: bool = False
) -> tuple[State, Decision]:
    """Decide how many replicas there should be.

    Args:
        policy: what the resource says, `Policy.of(spec)`.
        state: what the last decision returned; `State()` after a start.
        observation: what is known now.
        now: Unix seconds.
        counterfactuals: whether to compute what other autoscalers would have done.

    Returns:
        The state for the next decision if this one is carried out (else see `not_carried_out`), and the decision.
    """
    scaling = policy.scaling
    signals = evidence.trusted(policy, observation, now)
    before = believable(state, now)

    draft = evidence.begin(policy, observation, signals)
    usable = counted(before.usable_observations, valid=draft.valid)
    draft, memory = _wanted(draft, policy, before.memory, observation, signals, now=now)
    draft, burn = burnt(
        draft,
        before.burn,
        signals,
        error_budget=policy.error_budget,
        startup_seconds=_startup_seconds(policy, observation),
        maximum=scaling.max_replicas,
        now=now,
    )
    draft = scheduled(draft, scaling.schedules, now)
    override = in_force(policy.override, observation.override, now)
    draft, memory = _steadied(draft, policy, before, memory, override=override, now=now)
    asked = draft
    unready_at = _unready_at(before, observation, now)
    since_outage = math.inf if unready_at is None else now - unready_at
    draft = _guarded(
        draft, policy, observation, signals, usable_observations=usable, since_outage=since_outage, override=override
    )
    draft = guarded(draft, observation.guard)
    hours = scaling.budget.replica_hours_per_day
    spent = None if hours is None else accounted(before.spent, observation.current, now)
    draft = affordable(draft, spent, hours, scaling.min_replicas, observation.guard)
    draft = bounded(draft, scaling.min_replicas, scaling.max_replicas)

    identity = _identity(policy, state, observation, signals, now)
    last_step_at = now if _is_step(asked, draft) else before.last_step_at
    decision = Decision(
        identity,
        now,
        draft.desired,
        draft.current,
        draft.valid,
        draft.binder,
        draft.limited_by,
        draft.reason,
        draft.message,
        tuple(signals.values()),
        draft.lines,
        _others(policy, observation, signals) if counterfactuals else {},
    )
    return State(last_step_at, usable, memory, burn, spent, unready_at, identity), decision


def not_carried_out(before: State, after: State) -> State:
    """The state for the next decision when the replica count could not, or may not, be written: no step was taken."""
    if before.last_step_at is None or after.last_step_at is None:
        last_step_at = None
    else:
        # The earlier of the two: a last step in the future (see cooldown.believable) must not come back.
        last_step_at = min(before.last_step_at, after.last_step_at)
    return after if last_step_at == after.last_step_at else dataclasses.replace(after, last_step_at=last_step_at)


def _wanted(
    draft: Draft, policy: Policy, memory: Memory, observation: Observation, signals: Signals, *, now: Seconds
) -> tuple[Draft, Memory]:
    """What the policy itself asks for."""
    if policy.is_score:
        return scored(draft, policy.scaling.score, signals), memory
    draft, later = demanded(draft, memory, policy, observation, signals, now=now)
    # Nothing is to be learnt from a moment that has no place in time.
    return draft, later if math.isfinite(now) else memory


def _steadied(
    draft: Draft, policy: Policy, state: State, memory: Memory, *, override: Override | None, now: Seconds
) -> tuple[Draft, Memory]:
    """Override, then what holds back steps that come too soon."""
    if policy.is_score:
        if override is not None:
            return overridden(draft, override, now).passed(Stage.COOLDOWN, BEATEN), memory
        return cooled(overridden(draft, None, now), state, policy.scaling.score.cooldown_seconds, now), memory
    steadied, later = stabilised(overridden(draft, None, now), memory, now)
    if not math.isfinite(now):
        later = memory
    if override is not None:
        # The policy goes on remembering what it would have done.
        return overridden(draft, override, now).passed(Stage.STABILISE, BEATEN), later
    return steadied, later


def _guarded(
    draft: Draft,
    policy: Policy,
    observation: Observation,
    signals: Signals,
    *,
    usable_observations: int,
    since_outage: float,
    override: Override | None,
) -> Draft:
    """Hold back scale-downs that are not safe now."""
    if override is not None:
        for stage in (Stage.EVIDENCE, Stage.TROUBLE, Stage.ROLLOUT, Stage.WARM_UP):
            draft = draft.passed(stage, BEATEN)
        return draft
    guards = not policy.is_score or policy.scaling.score.guards is Switch.ENABLED
    draft = evident(draft, policy, signals, guards=guards, since_outage=since_outage)
    draft = untroubled(draft, policy, signals, guards=guards)
    draft = after_rollout(draft, in_progress=observation.rollout_in_progress)
    return warmed(draft, usable_observations)


def _others(policy: Policy, observation: Observation, signals: Signals) -> dict[str, int]:
    """What other autoscalers would have asked for."""
    return others(
        signals,
        slots=policy.targets.concurrent_workflows,
        cpu_target_percent=policy.hpa_cpu_percent,
        current=observation.current,
        ready=observation.ready,
    )


def _startup_seconds(policy: Policy, observation: Observation) -> float:
    """How long a replica takes to help: as measured, else as assumed."""
    measured = observation.startup_seconds
    if measured is not None and 0 < measured <= _LONGEST_STARTUP:
        return measured
    return float(policy.scaling.targets.assumed_startup_seconds)


def _unready_at(state: State, observation: Observation, now: Seconds) -> Seconds | None:
    """When no replica was ready the last time; a clock that was set back lets it begin anew, now."""
    if not math.isfinite(now):
        return state.unready_at
    if observation.ready <= 0:
        return now
    return None if state.unready_at is None else min(state.unready_at, now)


def _is_step(asked: Draft, final: Draft) -> bool:
    """Whether a step that the policy asked for, or a part of it, is left after the last stage.

    Only that starts a cooldown. A count that bounds, schedules or a person force is no step of the policy, and a step
    that was swallowed whole changed nothing.
    """
    return asked.binder in _OF_POLICY and (asked.desired - asked.current) * (final.desired - final.current) > 0


def _identity(policy: Policy, state: State, observation: Observation, signals: Signals, now: Seconds) -> str:
    """The same for the same inputs, on every machine.

    What the state remembers is told by the decision before, and by what a restart brings back. Numbers are packed and
    not written out: this is a tenth of a decision's time, text would be half of it.
    """
    numbers = [now, observation.current, observation.ready, observation.starting]
    optional = (observation.reporting, observation.startup_seconds, observation.guard.replicas, state.last_step_at)
    numbers += [math.nan if number is None else number for number in optional]
    numbers += (observation.rollout_in_progress, state.usable_observations)
    states = []
    for signal in signals.values():
        numbers.append(math.nan if signal.value is None else signal.value)
        numbers.append(math.nan if signal.age is None else signal.age)
        states.append(_CODES[signal.state])
    told = f"{state.lineage} {state.burn} {state.spent} {observation.override} {observation.guard.reason}"
    packed = b"".join((policy.digest, bytes(states), struct.pack(f"<{len(numbers)}d", *numbers), told.encode()))
    # 12 hex digits: for people to compare and quote; a clash in one resource's history of 20 is out of reach.
    return hashlib.blake2b(packed, digest_size=6).hexdigest()
