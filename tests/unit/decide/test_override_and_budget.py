"""A person's word and the day's replica-hours: what they beat, and what beats them."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import make_observation, make_policy
from generation_operator.decide.budget import accounted, affordable
from generation_operator.decide.draft import Draft
from generation_operator.decide.override import in_force
from generation_operator.decide.policy import STAGES
from generation_operator.decide.step import step
from generation_operator.decide.types import (
    Decision,
    Guard,
    Override,
    Reason,
    Replicas,
    Seconds,
    SignalName,
    Spent,
    Stage,
    State,
)

NOW = Seconds(1_700_000_000.0)  # 2023-11-14T22:13:20Z
SOON, PAST = "2023-11-14T22:15:00Z", "2023-11-14T22:13:20Z"
NONE = Guard(None, "NoMetrics")
BUSY = {
    SignalName.RESPONSE_TIME: 5.0,
    SignalName.REQUEST_RATE: 500.0,
    SignalName.CPU: 95.0,
    SignalName.MEMORY: 90.0,
    SignalName.QUEUE_LENGTH: 400.0,
}


def overriding(replicas: int, until: str = SOON, **scaling: Any) -> dict[str, Any]:
    return {"override": {"replicas": replicas, "until": until, "reason": "launch"}, **scaling}


def decide(scaling: dict[str, Any], *, state: State | None = None, **observed: Any) -> Decision:
    policy = make_policy(minReplicas=2, maxReplicas=10, **{"policy": "Score"} | scaling)
    decision = step(policy, state or State(), make_observation(BUSY, **{"current": 5} | observed), NOW)[1]
    assert tuple(line.stage for line in decision.lines) == STAGES[policy.scaling.policy]
    return decision


@pytest.mark.parametrize("policy", ["Score", "Targets"])
def test_an_override_is_exact_and_beats_policy_cooldown_and_guards(policy: str) -> None:
    cold_in_rollout: dict[str, Any] = {"state": State(Seconds(NOW - 1), 0), "rollout_in_progress": True}
    decision = decide(overriding(3, policy=policy), **cold_in_rollout)
    assert (decision.desired, decision.reason, decision.limited_by) == (3, Reason.OVERRIDE, None)
    assert decision.message == "Override (launch): 3 replicas for another 100 s"


def test_an_override_needs_no_metrics() -> None:
    policy = make_policy(**overriding(3))
    decision = step(policy, State(), make_observation({}, current=5), NOW)[1]
    assert (decision.desired, decision.valid) == (3, False)


def test_a_step_by_override_starts_no_cooldown() -> None:
    policy = make_policy(policy="Score", **overriding(9))
    assert step(policy, State(), make_observation(BUSY, current=5), NOW)[0].last_step_at is None


@pytest.mark.parametrize(
    ("scaling", "observed", "desired", "reason"),
    [
        (overriding(30), {}, 10, Reason.AT_MAXIMUM),
        (overriding(1), {}, 2, Reason.AT_MINIMUM),
        (overriding(3), {"guard": Guard(Replicas(4), "CpuUtilization")}, 4, Reason.GUARD_NEED),
        (overriding(9), {"guard": Guard(Replicas(4), "CpuUtilization")}, 9, Reason.OVERRIDE),
        (overriding(9, budget={"replicaHoursPerDay": 8}), {}, 4, Reason.BUDGET_EXHAUSTED),
        (overriding(3, PAST), {}, 7, Reason.HIGH_LOAD),
        ({}, {"override": Override(Replicas(3), Seconds(NOW + 9))}, 3, Reason.OVERRIDE),
        ({}, {"override": Override(Replicas(3), NOW)}, 7, Reason.HIGH_LOAD),
    ],
)
def test_what_an_override_does_not_beat(
    scaling: dict[str, Any], observed: dict[str, Any], desired: int, reason: Reason
) -> None:
    decision = decide(scaling, **observed)
    assert (decision.desired, decision.reason) == (desired, reason)


def test_the_specs_override_comes_before_somebodys_write_while_it_lasts() -> None:
    spec, write = Override(Replicas(3), Seconds(10.0)), Override(Replicas(4), Seconds(20.0))
    assert in_force(spec, write, Seconds(9.9)) is spec
    assert in_force(spec, write, Seconds(10.0)) is write
    assert in_force(spec, write, Seconds(20.0)) is None
    assert in_force(spec, None, Seconds(math.nan)) is None


HOUR, DAY = 3600.0, 86400.0
NOON = Seconds(10 * DAY + 12 * HOUR)


@pytest.mark.parametrize(
    ("spent", "now", "expected"),
    [
        (None, NOON, Spent(10, 0.0, NOON)),  # nobody knows what was spent before
        (Spent(10, 100.0, Seconds(NOON - 60)), NOON, Spent(10, 100.0 + 60 * 4, NOON)),
        (Spent(9, 9999.0, Seconds(10 * DAY - 60)), NOON, Spent(10, 12 * HOUR * 4, NOON)),
        (Spent(3, 9999.0, Seconds(4 * DAY)), NOON, Spent(10, 12 * HOUR * 4, NOON)),
        (Spent(10, 100.0, Seconds(NOON + 60)), NOON, Spent(10, 100.0, NOON)),  # the clock was set back
        (Spent(11, 100.0, Seconds(11 * DAY)), NOON, Spent(10, 0.0, NOON)),
        (Spent(10, 100.0, NOON), Seconds(math.nan), Spent(10, 100.0, NOON)),
        (Spent(10, 100.0, NOON), Seconds(-1.0), Spent(10, 100.0, NOON)),
    ],
)
def test_replica_seconds_are_counted_per_day(spent: Spent | None, now: Seconds, expected: Spent) -> None:
    assert accounted(spent, 4, now) == expected


def test_a_negative_count_costs_nothing() -> None:
    assert accounted(Spent(10, 1.0, Seconds(NOON - 60)), -5, NOON) == Spent(10, 1.0, NOON)


def draft(desired: int, current: int, *, valid: bool = True) -> Draft:
    return Draft(Replicas(current), Replicas(desired), valid, Stage.DEMAND, None, Reason.HIGH_LOAD, "asked")


@pytest.mark.parametrize(
    ("used_hours", "asked", "guard", "desired"),
    [
        # 96 replica-hours a day: at noon, what is left is spread over twelve hours
        (48, (4, 4), NONE, 4),
        (48, (5, 4), NONE, 4),
        (36, (5, 4), NONE, 5),
        (36, (9, 4), NONE, 5),
        (90, (9, 4), NONE, 2),  # never fewer than minReplicas
        (200, (9, 4), NONE, 2),
        (90, (4, 4), NONE, 2),  # it removes what is there
        (90, (4, 4), Guard(Replicas(3), "cpu"), 3),  # but not what the HPA would bring back
        (90, (4, 4), Guard(Replicas(9), "cpu"), 4),
        (90, (3, 4), Guard(Replicas(9), "cpu"), 3),
        (90, (1, 4), NONE, 1),
    ],
)
def test_the_count_goes_no_further_than_what_is_left_pays_for(
    used_hours: float, asked: tuple[int, int], guard: Guard, desired: int
) -> None:
    before = draft(*asked)
    after = affordable(before, Spent(10, used_hours * HOUR, NOON), 96, 2, guard)
    assert after.desired == desired
    limited = desired != before.desired
    assert (after.limited_by is Stage.BUDGET) is limited or guard is not NONE
    assert (after.reason is Reason.BUDGET_EXHAUSTED) is limited or guard is not NONE
    assert f"{used_hours:.1f} of 96 replica-hours used today" in after.lines[-1].text


def test_the_budget_removes_nothing_without_metrics() -> None:
    after = affordable(draft(4, 4, valid=False), Spent(10, 95 * HOUR, NOON), 96, 2, NONE)
    assert after.desired == 4


def test_without_a_budget_or_a_time_nothing_is_limited() -> None:
    assert affordable(draft(99, 4), Spent(10, 95 * HOUR, NOON), None, 2, NONE).desired == 99
    assert affordable(draft(99, 4), None, 96, 2, NONE).desired == 99


@given(
    st.integers(2, 20),
    st.integers(1, 500),
    st.lists(st.tuples(st.floats(1, 1800), st.integers(0, 40)), min_size=1, max_size=80),
)
def test_over_a_day_the_budget_is_kept_but_for_the_minimum(
    minimum: int, hours: int, sequence: list[tuple[float, int]]
) -> None:
    """Whoever follows the limit at each moment spends no more than the budget, or the minimum."""
    spent, now, current = accounted(None, 0, Seconds(10 * DAY)), 10 * DAY, minimum
    for seconds, asked in sequence:
        now = min(now + seconds, 11 * DAY - 1)
        spent = accounted(spent, current, Seconds(now))
        assert spent is not None
        current = affordable(draft(max(asked, minimum), current), spent, hours, minimum, NONE).desired
    assert spent is not None
    # The first step ran at the minimum before anything was asked; what follows is paid for or the minimum.
    assert spent.replica_seconds <= max(hours * HOUR, minimum * (now - 10 * DAY)) + minimum * DAY * 1e-9


def test_the_budget_is_remembered_from_step_to_step() -> None:
    policy = make_policy(policy="Score", budget={"replicaHoursPerDay": 24})
    state = State()
    for tick in range(3):
        state, _ = step(policy, state, make_observation(BUSY, current=4), Seconds(NOON + tick * 100))
    assert state.spent == Spent(10, 800.0, Seconds(NOON + 200))
    assert step(make_policy(), state, make_observation(BUSY), NOON)[0].spent is None
