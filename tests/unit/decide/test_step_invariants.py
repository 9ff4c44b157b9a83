"""Whatever is observed, however broken: what a decision never does, with either policy."""

import dataclasses
import math
import pickle
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import make_policy
from generation_operator.decide.policy import STAGES, Policy
from generation_operator.decide.signals import DEMAND, REQUIRED
from generation_operator.decide.step import not_carried_out, step
from generation_operator.decide.types import (
    Burn,
    Guard,
    Observation,
    Override,
    Reason,
    Replicas,
    Seconds,
    Signal,
    SignalName,
    SignalState,
    Spent,
    Stage,
    State,
)

NOW = Seconds(1_700_000_000.0)
# Counts that a person forces; they are no evidence and need none.
_FORCED = (Reason.ABOVE_MAXIMUM, Reason.OVERRIDE, Reason.BUDGET_EXHAUSTED)
slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

_numbers = st.one_of(st.none(), st.floats(), st.floats(min_value=0, max_value=200))
_ages = st.one_of(st.none(), st.floats().map(Seconds), st.floats(0, 60).map(Seconds))
_counts = st.integers(0, 40).map(Replicas)
_moments = st.floats(min_value=0, max_value=2e9).map(Seconds)
_times = st.one_of(st.floats(), st.floats(min_value=1e9, max_value=2e9)).map(Seconds)


@st.composite
def _observations(draw: st.DrawFn) -> Observation:
    """Anything, broken or not, with usable signals more often than chance would have them."""
    state = st.one_of(st.just(SignalState.FRESH), st.sampled_from(SignalState))
    names = draw(st.one_of(st.just(set(SignalName)), st.sets(st.sampled_from(SignalName))))
    values = draw(st.one_of(st.just(_numbers), st.just(st.floats(0, 2)), st.just(st.floats(90, 900))))
    ages = draw(st.one_of(st.just(_ages), st.just(st.floats(0, 60).map(Seconds))))
    return Observation(
        signals={name: Signal(name, draw(state), draw(values), draw(ages)) for name in sorted(names)},
        current=draw(_counts),
        ready=draw(_counts),
        starting=draw(_counts),
        reporting=draw(st.one_of(st.none(), _counts)),
        startup_seconds=draw(st.one_of(st.none(), st.floats().map(Seconds))),
        rollout_in_progress=draw(st.booleans()),
        guard=Guard(draw(st.one_of(st.none(), _counts)), "CpuUtilization"),
        override=draw(st.one_of(st.none(), st.none(), st.builds(Override, _counts, _times))),
    )


@st.composite
def _policies(draw: st.DrawFn, kinds: tuple[str, ...] = ("Score", "Targets"), *, forced: bool = True) -> Policy:
    minimum = draw(st.integers(1, 20))
    maximum = draw(st.integers(minimum, 40))
    schedule = {"name": "day", "start": "0 8 * * *", "end": "0 18 * * *", "minReplicas": draw(st.integers(1, maximum))}
    override = {"replicas": draw(st.integers(1, 40)), "until": "2033-01-01T00:00:00Z"}
    extras: dict[str, Any] = {
        "schedules": draw(st.sampled_from([[], [schedule]])),
        "override": draw(st.sampled_from([None, None, override])),
        "budget": draw(st.sampled_from([{}, {"replicaHoursPerDay": 100}])),
    }
    return make_policy(
        policy=draw(st.sampled_from(kinds)),
        minReplicas=minimum,
        maxReplicas=maximum,
        score={
            "cooldownSeconds": draw(st.integers(0, 600)),
            "up": {"stepReplicas": draw(st.integers(1, 9)), "scoreAbove": draw(st.integers(0, 100))},
            "down": {"stepReplicas": draw(st.integers(1, 9)), "scoreAbove": draw(st.integers(0, 100))},
            "guards": draw(st.sampled_from(["Enabled", "Disabled"])),
        },
        targets={"successPercent": draw(st.sampled_from([0, 95, 100]))},
        **(extras if forced else {}),
    )


_states = st.builds(
    State,
    last_step_at=st.one_of(st.none(), _moments),
    usable_observations=st.integers(0, 2),
    burn=st.one_of(st.none(), st.builds(Burn, st.integers(0, 40), st.integers(0, 40), _moments, _moments)),
    spent=st.one_of(st.none(), st.builds(Spent, st.integers(0, 30000), st.floats(0, 1e7), _moments)),
)


@slow
@given(_policies(), _states, st.lists(_observations(), min_size=1, max_size=4), _times)
def test_never_outside_the_bounds_and_never_an_error(
    policy: Policy, state: State, observations: list[Observation], now: Seconds
) -> None:
    for observation in observations:
        state, decision = step(policy, state, observation, now, counterfactuals=True)
        assert policy.scaling.min_replicas <= decision.desired <= policy.scaling.max_replicas
        assert tuple(line.stage for line in decision.lines) == STAGES[policy.scaling.policy]
        assert decision.lines[0].before == observation.current
        assert all(one.after == other.before for one, other in pairwise(decision.lines))
        assert decision.message
        assert all(signal.value is None or math.isfinite(signal.value) for signal in decision.signals)
        now = Seconds(now + 5)


@slow
@given(_policies(), _states, _observations())
def test_never_lower_on_anything_but_fresh_evidence(policy: Policy, state: State, observation: Observation) -> None:
    decision = step(policy, state, observation, NOW)[1]
    lowered = decision.desired < decision.current
    if (
        not lowered
        or decision.reason in _FORCED
        or any(line.stage is Stage.OVERRIDE and line.after != line.before for line in decision.lines)
    ):
        return
    if decision.current > policy.scaling.max_replicas:
        return
    states = {signal.name: signal.state for signal in decision.signals}
    needed = DEMAND if policy.is_score is False else REQUIRED
    assert decision.valid
    assert not observation.rollout_in_progress
    assert all(states[name] in (SignalState.FRESH, SignalState.NO_TRAFFIC) for name in needed)
    assert any(states[name] is SignalState.FRESH for name in needed)
    need = observation.guard.replicas
    assert need is None or decision.desired >= min(need, policy.scaling.max_replicas)


@slow
@given(_policies(forced=False), _states, _observations())
def test_an_invalid_decision_only_clamps(policy: Policy, state: State, observation: Observation) -> None:
    decision = step(policy, state, dataclasses.replace(observation, override=None), NOW)[1]
    if not decision.valid:
        assert decision.desired == min(
            max(observation.current, policy.scaling.min_replicas), policy.scaling.max_replicas
        )


@slow
@given(_policies(), _states, _observations(), _times)
def test_the_same_inputs_give_the_same_decision(
    policy: Policy, state: State, observation: Observation, now: Seconds
) -> None:
    first, second = step(policy, state, observation, now)[1], step(policy, state, observation, now)[1]
    assert (first.id, first.message, first.lines) == (second.id, second.message, second.lines)


_loads = st.tuples(st.floats(0, 500), st.floats(0, 200), st.floats(0, 100))  # queued, in flight, arrivals per second


def _loaded(load: tuple[float, float, float], current: int) -> Observation:
    queued, in_flight, arrivals = load
    values = {
        SignalName.QUEUE_LENGTH: queued,
        SignalName.WORKFLOWS_IN_FLIGHT: in_flight,
        SignalName.WORKFLOW_ARRIVALS: arrivals,
        SignalName.WORKFLOW_SERVICE_TIME: 5.0,
    }
    signals = {name: Signal(name, SignalState.FRESH, value, Seconds(0.0)) for name, value in values.items()}
    return Observation(signals, Replicas(current), Replicas(current), startup_seconds=Seconds(20.0))


@slow
@given(_policies(("Targets",), forced=False), st.lists(_loads, max_size=5), _loads, _loads, st.integers(1, 20))
def test_more_demand_never_gives_fewer_replicas_within_one_step(
    policy: Policy,
    history: list[tuple[float, float, float]],
    load: tuple[float, float, float],
    more: tuple[float, float, float],
    current: int,
) -> None:
    state, now = State(), NOW
    for past in history:
        state, _ = step(policy, state, _loaded(past, current), now)
        now = Seconds(now + 5)
    larger = (load[0] + more[0], load[1] + more[1], load[2] + more[2])
    less = step(policy, state, _loaded(load, current), now)[1]
    assert step(policy, state, _loaded(larger, current), now)[1].desired >= less.desired


@slow
@given(_policies(("Score",), forced=False), st.lists(st.tuples(_observations(), st.floats(0, 200)), max_size=15))
def test_cooldowns_and_step_limits_hold_over_any_sequence(
    policy: Policy, sequence: list[tuple[Observation, float]]
) -> None:
    scaling, score = policy.scaling, policy.scaling.score
    state, now, current = State(None, 2), NOW, Replicas(scaling.min_replicas)
    stepped: list[float] = []
    for seen, pause in sequence:
        now = Seconds(now + pause)
        state, decision = step(policy, state, dataclasses.replace(seen, current=current, override=None), now)
        burnt = any(line.stage is Stage.BURN and "at least" in line.text for line in decision.lines)
        if decision.changes_replicas and not burnt:
            stepped.append(now)
            assert -score.down.step_replicas <= decision.desired - current <= score.up.step_replicas
        current = decision.desired
    assert all(later - earlier >= score.cooldown_seconds for earlier, later in pairwise(stepped))


@pytest.mark.parametrize("kind", ["Score", "Targets"])
def test_the_state_stays_bounded(kind: str) -> None:
    """A thousand decisions that alternate between extremes, at uneven times."""
    policy = make_policy(policy=kind, budget={"replicaHoursPerDay": 480})
    state, sizes = State(), []
    for tick in range(1000):
        load = (500.0, 200.0, 90.0) if tick % 7 < 3 else (0.0, 1.0, 0.1)
        now = Seconds(NOW + tick * 5 + tick % 3)
        before = state
        state, _ = step(policy, state, _loaded(load, 2 + tick % 5), now)
        state = not_carried_out(before, state) if tick % 4 else state
        sizes.append(len(pickle.dumps(state)))
    # The memory's rings are full by then.
    assert max(sizes[500:]) <= max(sizes[:500]) * 1.1
    assert max(sizes) < 100_000


@slow
@given(_policies(forced=False), st.one_of(st.none(), _moments), _observations())
def test_a_restart_never_lowers_by_itself(
    policy: Policy, last_step_at: Seconds | None, observation: Observation
) -> None:
    """What status brings back is the time of the last step; the first decision on it holds or raises."""
    quiet = dataclasses.replace(observation, override=None)
    decision = step(policy, State(last_step_at=last_step_at), quiet, NOW)[1]
    assert decision.desired >= min(observation.current, policy.scaling.max_replicas)
