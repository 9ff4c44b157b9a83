"""The pipeline: what holds a step back, what forces one, and what must never happen whatever is observed."""

import dataclasses
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import make_observation, make_policy, make_signal
from generation_operator.api import spec
from generation_operator.decide.policy import STAGES, Policy
from generation_operator.decide.signals import REQUIRED
from generation_operator.decide.step import not_carried_out, step
from generation_operator.decide.types import (
    Decision,
    Guard,
    Observation,
    Reason,
    Replicas,
    Seconds,
    Signal,
    SignalName,
    SignalState,
    Stage,
    State,
)

NOW = Seconds(1_700_000_000.0)
COLD = State()
WARM = State(None, usable_observations=2)
POLICY = make_policy(policy="Score", minReplicas=2, maxReplicas=10)

BUSY = {
    SignalName.RESPONSE_TIME: 5.0,
    SignalName.REQUEST_RATE: 500.0,
    SignalName.CPU: 95.0,
    SignalName.MEMORY: 90.0,
    SignalName.QUEUE_LENGTH: 400.0,
    SignalName.ERROR_RATIO: 0.0,
}
IDLE = {
    SignalName.RESPONSE_TIME: 0.05,
    SignalName.REQUEST_RATE: 1.0,
    SignalName.CPU: 5.0,
    SignalName.MEMORY: 10.0,
    SignalName.QUEUE_LENGTH: 0.0,
    SignalName.ERROR_RATIO: 0.0,
}
CALM = BUSY | {SignalName.RESPONSE_TIME: 0.5, SignalName.CPU: 50.0, SignalName.MEMORY: 50.0}


def observe(values: Mapping[SignalName, float], *changed: Signal, **fields: Any) -> Observation:
    """All Fresh with these values, except for the changed signals."""
    observation = make_observation(values, **{"current": 5} | fields)
    observation.signals.update({signal.name: signal for signal in changed})
    return observation


def decide(observation: Observation, state: State = WARM, policy: Policy = POLICY, now: float = NOW) -> Decision:
    return step(policy, state, observation, Seconds(now))[1]


def text_of(decision: Decision, stage: Stage) -> str:
    return next(line.text for line in decision.lines if line.stage is stage)


def test_each_stage_leaves_one_line_and_the_lines_connect() -> None:
    decision = decide(observe(BUSY))
    assert tuple(line.stage for line in decision.lines) == STAGES[spec.Policy.SCORE]
    assert decision.lines[0].before == decision.current
    assert all(one.after == other.before for one, other in pairwise(decision.lines))
    assert decision.lines[-1].after == decision.desired == 7
    assert (decision.binder, decision.limited_by, decision.reason) == (Stage.SCORE, None, Reason.HIGH_LOAD)


UNUSABLE: dict[str, dict[str, Any]] = {
    "missing": {"state": SignalState.MISSING, "value": None, "age": None},
    "stale": {"state": SignalState.STALE, "value": 1.0, "age": 95.0},
    "fresh without a value": {"state": SignalState.FRESH, "value": None},
    "NaN": {"state": SignalState.FRESH, "value": math.nan},
    "infinite": {"state": SignalState.FRESH, "value": math.inf},
    "negative": {"state": SignalState.FRESH, "value": -1.0},
}


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("kind", UNUSABLE)
@pytest.mark.parametrize("values", [BUSY, IDLE], ids=["busy", "idle"])
def test_one_unusable_signal_holds_the_count(values: Mapping[SignalName, float], kind: str, name: SignalName) -> None:
    decision = decide(observe(values, make_signal(name, **UNUSABLE[kind])))
    assert (decision.desired, decision.valid, decision.reason) == (5, False, Reason.MISSING_METRICS)
    assert decision.binder is Stage.SIGNALS
    assert str(name) in decision.message
    assert text_of(decision, Stage.SCORE) == "no scores: metrics not usable"


def test_an_absent_signal_counts_as_missing_and_is_listed() -> None:
    decision = decide(make_observation({}, current=5))
    assert not decision.valid
    assert [signal.name for signal in decision.signals] == list(SignalName)
    assert {signal.state for signal in decision.signals} == {SignalState.MISSING}


def test_the_error_ratio_is_not_required() -> None:
    assert decide(observe(BUSY, make_signal(SignalName.ERROR_RATIO, None, SignalState.MISSING))).desired == 7


def test_a_published_signal_never_carries_a_value_that_is_no_number() -> None:
    decision = decide(observe(BUSY, make_signal(SignalName.CPU, math.nan, age=math.nan)))
    signal = next(signal for signal in decision.signals if signal.name is SignalName.CPU)
    assert signal == Signal(SignalName.CPU, SignalState.MISSING)


@pytest.mark.parametrize(
    ("values", "desired"),
    [
        # 25 + 25 + 30 = 80 without the response time: no traffic at all is a reason to lower.
        (IDLE | {SignalName.REQUEST_RATE: 0.0}, 4),
        # 25 + 20 = 45 without the response time.
        (CALM | {SignalName.CPU: 95.0}, 5),
    ],
    ids=["idle", "busy"],
)
def test_no_traffic_gives_no_points_but_does_not_hold(values: Mapping[SignalName, float], desired: int) -> None:
    quiet = make_signal(SignalName.RESPONSE_TIME, None, SignalState.NO_TRAFFIC)
    decision = decide(observe(values, quiet))
    assert (decision.desired, decision.valid) == (desired, True)
    assert "ResponseTime" not in decision.message
    assert text_of(decision, Stage.SIGNALS) == "all usable; no traffic for ResponseTime"


@pytest.mark.parametrize(
    ("elapsed", "held"), [(0, True), (1, True), (299.999, True), (300, False), (301, False), (86400, False)]
)
@pytest.mark.parametrize(("values", "due"), [(BUSY, 7), (IDLE, 4)], ids=["up", "down"])
def test_a_step_waits_for_the_cooldown(
    values: Mapping[SignalName, float], due: int, elapsed: float, *, held: bool
) -> None:
    decision = decide(observe(values), State(Seconds(NOW - elapsed), 2))
    assert decision.desired == (5 if held else due)
    assert (decision.reason is Reason.COOLDOWN) is held
    assert decision.limited_by is (Stage.COOLDOWN if held else None)


def test_a_held_step_still_shows_its_scores() -> None:
    decision = decide(observe(BUSY), State(Seconds(NOW - 100), 2))
    assert decision.message.startswith("Held, 200 s of 300 s cooldown left: High load detected (score: 100): ")
    assert "(score: 100)" in text_of(decision, Stage.SCORE)


def test_the_cooldown_is_no_reason_when_nothing_is_due() -> None:
    decision = decide(observe(CALM), State(Seconds(NOW - 100), 2))
    assert decision.reason is Reason.WITHIN_RANGE
    assert text_of(decision, Stage.COOLDOWN) == "200 s of 300 s cooldown left, no step is due"


def test_a_clock_that_was_set_back_holds_for_one_cooldown_and_no_longer() -> None:
    state = State(Seconds(NOW + 1_000_000), 2)
    state, first = step(POLICY, state, observe(BUSY), NOW)
    assert (first.reason, state.last_step_at) == (Reason.COOLDOWN, NOW)
    assert step(POLICY, state, observe(BUSY), Seconds(NOW + 299))[1].desired == 5
    assert step(POLICY, state, observe(BUSY), Seconds(NOW + 300))[1].desired == 7


def test_a_rollout_holds_scale_downs_only() -> None:
    down = decide(observe(IDLE, rollout_in_progress=True))
    assert (down.desired, down.reason, down.limited_by) == (5, Reason.ROLLOUT_IN_PROGRESS, Stage.ROLLOUT)
    assert decide(observe(BUSY, rollout_in_progress=True)).desired == 7


def test_after_a_start_the_second_usable_observation_may_lower() -> None:
    state, first = step(POLICY, COLD, observe(IDLE), NOW)
    assert (first.desired, first.reason, first.limited_by) == (5, Reason.WARMING_UP, Stage.WARM_UP)
    assert step(POLICY, state, observe(IDLE), NOW)[1].desired == 4


def test_after_a_start_an_unusable_observation_starts_the_count_again() -> None:
    state, _ = step(POLICY, COLD, observe(IDLE), NOW)
    state, _ = step(POLICY, state, make_observation({}, current=5), NOW)
    state, third = step(POLICY, state, observe(IDLE), NOW)
    assert third.reason is Reason.WARMING_UP
    assert step(POLICY, state, observe(IDLE), NOW)[1].desired == 4


def test_once_warm_a_gap_in_the_metrics_costs_nothing_more() -> None:
    state, _ = step(POLICY, WARM, make_observation({}, current=5), NOW)
    assert step(POLICY, state, observe(IDLE), NOW)[1].desired == 4


def test_a_start_never_holds_a_scale_up() -> None:
    assert decide(observe(BUSY), COLD).desired == 7


@pytest.mark.parametrize(
    ("need", "desired", "reason"),
    [
        (None, 2, Reason.LOW_LOAD),
        (0, 2, Reason.LOW_LOAD),
        (2, 2, Reason.LOW_LOAD),
        (3, 3, Reason.GUARD_NEED),
        (5, 5, Reason.GUARD_NEED),
        (9, 5, Reason.GUARD_NEED),
    ],
)
def test_no_scale_down_below_the_guards_need(need: int | None, desired: int, reason: Reason) -> None:
    policy = make_policy(policy="Score", minReplicas=1, maxReplicas=10, score={"down": {"stepReplicas": 3}})
    guard = Guard(None if need is None else Replicas(need), "CpuUtilization")
    decision = decide(observe(IDLE, guard=guard), policy=policy)
    assert (decision.desired, decision.reason) == (desired, reason)
    assert decision.limited_by is (Stage.GUARD if reason is Reason.GUARD_NEED else None)


@pytest.mark.parametrize(
    ("values", "desired", "reason"),
    [(CALM, 5, Reason.WITHIN_RANGE), (IDLE, 5, Reason.GUARD_NEED), (BUSY, 7, Reason.HIGH_LOAD)],
    ids=["calm", "idle", "busy"],
)
def test_the_guard_neither_raises_nor_limits_a_scale_up(
    values: Mapping[SignalName, float], desired: int, reason: Reason
) -> None:
    decision = decide(observe(values, guard=Guard(Replicas(9), "CpuUtilization")))
    assert (decision.desired, decision.reason) == (desired, reason)


@pytest.mark.parametrize(
    ("values", "current", "desired", "reason", "limited"),
    [
        (BUSY, 8, 10, Reason.HIGH_LOAD, None),
        (BUSY, 9, 10, Reason.AT_MAXIMUM, Stage.BOUNDS),
        (BUSY, 10, 10, Reason.AT_MAXIMUM, Stage.BOUNDS),
        (BUSY, 11, 10, Reason.ABOVE_MAXIMUM, None),
        (CALM, 11, 10, Reason.ABOVE_MAXIMUM, None),
        (CALM, 10, 10, Reason.WITHIN_RANGE, None),
        (CALM, 2, 2, Reason.WITHIN_RANGE, None),
        (IDLE, 3, 2, Reason.LOW_LOAD, None),
        (IDLE, 2, 2, Reason.AT_MINIMUM, Stage.BOUNDS),
        (IDLE, 1, 2, Reason.BELOW_MINIMUM, None),
        (CALM, 0, 2, Reason.BELOW_MINIMUM, None),
        (BUSY, 0, 2, Reason.HIGH_LOAD, None),
        (IDLE, 25, 10, Reason.ABOVE_MAXIMUM, None),
    ],
)
def test_bounds_hold_and_force(
    values: Mapping[SignalName, float], current: int, desired: int, reason: Reason, limited: Stage | None
) -> None:
    decision = decide(observe(values, current=current))
    assert (decision.desired, decision.reason, decision.limited_by) == (desired, reason, limited)


@pytest.mark.parametrize(("current", "desired"), [(1, 2), (2, 2), (5, 5), (10, 10), (12, 10)])
def test_bounds_apply_without_any_metrics(current: int, desired: int) -> None:
    decision = decide(make_observation({}, current=current))
    assert (decision.desired, decision.valid) == (desired, False)


def test_a_step_is_remembered() -> None:
    for values in (BUSY, IDLE):
        assert step(POLICY, WARM, observe(values), NOW)[0].last_step_at == NOW


def test_a_step_cut_short_by_a_bound_is_remembered() -> None:
    assert step(POLICY, WARM, observe(BUSY, current=9), NOW)[0].last_step_at == NOW


@pytest.mark.parametrize(
    "observation",
    [
        observe(CALM),
        make_observation({}, current=5),
        observe(BUSY, current=10),
        observe(IDLE, current=2),
        observe(IDLE, guard=Guard(Replicas(5), "CpuUtilization")),
        observe(IDLE, rollout_in_progress=True),
        observe(CALM, current=1),
        observe(CALM, current=20),
        observe(BUSY, current=20),
    ],
    ids=["calm", "blind", "at maximum", "at minimum", "guard", "rollout", "raised", "lowered", "lowered while busy"],
)
def test_what_is_no_step_of_the_policy_starts_no_cooldown(observation: Observation) -> None:
    assert step(POLICY, WARM, observation, NOW)[0].last_step_at is None


def test_a_decision_that_was_not_carried_out_is_forgotten() -> None:
    before = State(Seconds(NOW - 1000), 1)
    after, _ = step(POLICY, before, observe(BUSY), NOW)
    assert not_carried_out(before, after) == dataclasses.replace(after, last_step_at=before.last_step_at)
    after, _ = step(POLICY, COLD, observe(BUSY), NOW)
    assert not_carried_out(COLD, after) == dataclasses.replace(after, last_step_at=None)


def test_a_last_step_in_the_future_does_not_come_back_with_a_decision_that_was_not_carried_out() -> None:
    before = State(Seconds(NOW + 1_000_000), 2)
    after, _ = step(POLICY, before, observe(BUSY), NOW)
    assert not_carried_out(before, after).last_step_at == NOW


def test_different_inputs_have_different_ids() -> None:
    variants = [
        decide(observe(BUSY)),
        decide(observe(IDLE)),
        decide(observe(BUSY), COLD),
        decide(observe(BUSY), policy=make_policy(policy="Score", minReplicas=2, maxReplicas=11)),
        decide(observe(BUSY), now=NOW + 1),
        decide(observe(BUSY, current=6)),
    ]
    assert len({decision.id for decision in variants}) == len(variants)


@given(
    st.lists(
        st.tuples(st.sampled_from([BUSY, IDLE, CALM, {}]), st.floats(min_value=0, max_value=200)),
        min_size=1,
        max_size=30,
    )
)
def test_steps_of_any_sequence_are_a_cooldown_apart(sequence: list[tuple[Mapping[SignalName, float], float]]) -> None:
    state, current, now = WARM, 5, NOW
    steps: list[float] = []
    for values, pause in sequence:
        now = Seconds(now + pause)
        state, decision = step(POLICY, state, make_observation(values, current=current), now)
        if decision.changes_replicas:
            steps.append(now)
        current = decision.desired
    assert all(later - earlier >= 300 for earlier, later in pairwise(steps))
