"""What surrounds the policy Targets: evidence for scale-downs, floors and cooldowns, ids and what is remembered."""

import dataclasses
import math
from typing import Any

import pytest

from builders import make_observation, make_policy, make_service, make_signal
from generation_operator.api.spec import Policy as Kind
from generation_operator.decide.cooldown import cooled
from generation_operator.decide.draft import Draft
from generation_operator.decide.evidence import evident
from generation_operator.decide.policy import STAGES, Policy
from generation_operator.decide.signals import trusted
from generation_operator.decide.step import step
from generation_operator.decide.trouble import untroubled
from generation_operator.decide.types import (
    Burn,
    Guard,
    Override,
    Reason,
    Replicas,
    Seconds,
    SignalName,
    SignalState,
    Stage,
    State,
)

NOW = Seconds(1_700_000_000.0)
TARGETS = make_policy()
DEMAND = {SignalName.QUEUE_LENGTH: 0.0, SignalName.WORKFLOWS_IN_FLIGHT: 3.0, SignalName.WORKFLOW_ARRIVALS: 0.5}
BURNING = {SignalName.MISS_RATIO_5M: 1.0, SignalName.MISS_RATIO_1H: 1.0}


def lowering(desired: int = 3, current: int = 5) -> Draft:
    return Draft(Replicas(current), Replicas(desired), True, Stage.DEMAND, None, Reason.LOW_LOAD, "asked")


@pytest.mark.parametrize("name", DEMAND)
@pytest.mark.parametrize(
    ("state", "passes"),
    [
        (SignalState.FRESH, True),
        (SignalState.NO_TRAFFIC, True),
        (SignalState.STALE, False),
        (SignalState.MISSING, False),
    ],
)
def test_a_scale_down_takes_all_signals_of_demand(name: SignalName, state: SignalState, *, passes: bool) -> None:
    observation = make_observation(DEMAND)
    observation.signals[name] = make_signal(name, None if state is SignalState.NO_TRAFFIC else 1.0, state)
    signals = trusted(TARGETS, observation, NOW)
    after = evident(lowering(), TARGETS, signals, guards=True)
    assert after.desired == (3 if passes else 5)
    assert after.reason is (Reason.LOW_LOAD if passes else Reason.MISSING_METRICS)
    assert evident(lowering(7), TARGETS, signals, guards=True).desired == 7


def test_with_targets_the_backlog_is_for_the_policy_and_errors_hold() -> None:
    signals = trusted(TARGETS, make_observation(DEMAND | {SignalName.QUEUE_LENGTH: 50.0}), NOW)
    assert untroubled(lowering(), TARGETS, signals, guards=True).desired == 3
    signals = trusted(TARGETS, make_observation(DEMAND | {SignalName.ERROR_RATIO: 0.06}), NOW)
    assert untroubled(lowering(), TARGETS, signals, guards=True).reason is Reason.ERRORS


@pytest.mark.parametrize("metrics", [{}, DEMAND, DEMAND | BURNING])
def test_each_stage_leaves_one_line(metrics: dict[SignalName, float]) -> None:
    decision = step(TARGETS, State(), make_observation(metrics), NOW)[1]
    assert tuple(line.stage for line in decision.lines) == STAGES[Kind.TARGETS]
    assert decision.message


def test_a_burn_raises_over_a_cooldown_and_starts_one() -> None:
    values = {
        SignalName.RESPONSE_TIME: 0.5,
        SignalName.REQUEST_RATE: 99.0,
        SignalName.CPU: 50.0,
        SignalName.MEMORY: 50.0,
        SignalName.QUEUE_LENGTH: 0.0,
    }
    policy = make_policy(policy="Score")
    state, decision = step(policy, State(Seconds(NOW - 1), 2), make_observation(values | BURNING, current=8), NOW)
    assert (decision.desired, decision.reason, decision.binder) == (10, Reason.ERROR_BUDGET_BURN, Stage.BURN)
    assert (state.last_step_at, state.burn) == (NOW, Burn(8, 10, NOW, NOW))


@pytest.mark.parametrize(
    ("desired", "floor", "expected"), [(9, 0, 5), (9, 7, 7), (9, 9, 9), (9, 12, 9), (3, 0, 5), (3, 4, 5)]
)
def test_a_cooldown_holds_what_no_floor_asks_for(desired: int, floor: int, expected: int) -> None:
    draft = lowering(desired).with_floor(floor)
    after = cooled(draft, State(Seconds(NOW - 1)), 300, NOW)
    assert after.desired == expected
    assert (after.limited_by is Stage.COOLDOWN) is (expected != desired)


@pytest.mark.parametrize(("measured", "wait"), [(5.0, 5), (None, 20), (math.nan, 20), (-1.0, 20), (1e9, 20)])
def test_a_startup_that_cannot_have_been_measured_is_assumed(measured: float | None, wait: int) -> None:
    spec = make_service().scaling(targets={"assumedStartupSeconds": 20}).obj().spec
    policy = Policy.of(spec)
    observation = make_observation(DEMAND | BURNING, current=4, startup_seconds=measured)
    state = State(burn=Burn(4, 5, NOW, NOW))
    early = step(policy, state, observation, Seconds(NOW + wait - 1))[0].burn
    late = step(policy, state, observation, Seconds(NOW + wait))[0].burn
    assert early is not None
    assert late is not None
    assert (early.floor, late.floor) == (5, 7)


VARIANTS: dict[str, dict[str, Any]] = {
    "replicas": {"current": Replicas(6)},
    "ready": {"ready": Replicas(4)},
    "starting": {"starting": Replicas(1)},
    "reporting": {"reporting": Replicas(5)},
    "startup": {"startup_seconds": Seconds(3.0)},
    "rollout": {"rollout_in_progress": True},
    "guard": {"guard": Guard(Replicas(1), "CpuUtilization")},
    "guard's reason": {"guard": Guard(None, "NoReadyPods")},
    "override": {"override": Override(Replicas(1), Seconds(0.0))},
}


def test_whatever_is_observed_is_part_of_the_id() -> None:
    plain = make_observation(DEMAND, current=5)
    variants = [dataclasses.replace(plain, **change) for change in VARIANTS.values()]
    for name in DEMAND:
        for change in ({"value": 7.0}, {"age": Seconds(4.0)}, {"state": SignalState.STALE}):
            signal = dataclasses.replace(plain.signals[name], **change)
            variants.append(dataclasses.replace(plain, signals=plain.signals | {name: signal}))
    ids = [step(TARGETS, State(), observation, NOW)[1].id for observation in (plain, *variants)]
    ids += [
        step(make_policy(maxReplicas=30), State(), plain, NOW)[1].id,
        step(make_policy(targets={"successPercent": 94}), State(), plain, NOW)[1].id,
        step(TARGETS, State(lineage="d-0"), plain, NOW)[1].id,
        step(TARGETS, State(last_step_at=NOW), plain, NOW)[1].id,
        step(TARGETS, State(), plain, Seconds(NOW + 1))[1].id,
    ]
    assert len(set(ids)) == len(ids)
    assert all(len(identity) == 12 for identity in ids)


def test_why_metrics_are_unusable_in_words_is_no_part_of_the_id() -> None:
    plain = make_observation(DEMAND)
    told = dataclasses.replace(plain, metrics_error="somewhere else")
    assert step(TARGETS, State(), plain, NOW)[1].id == step(TARGETS, State(), told, NOW)[1].id


def test_a_moment_without_a_time_teaches_nothing() -> None:
    state, _ = step(TARGETS, State(), make_observation(DEMAND), NOW)
    after, decision = step(TARGETS, state, make_observation(DEMAND), Seconds(math.nan))
    assert (after.memory, decision.valid) == (state.memory, False)


def test_what_others_would_have_done_is_told_on_request_and_changes_nothing() -> None:
    observation = make_observation(DEMAND | {SignalName.CPU: 70.0}, current=4)
    plain = step(TARGETS, State(), observation, NOW)[1]
    asked = step(TARGETS, State(), observation, NOW, counterfactuals=True)[1]
    assert plain.counterfactuals == {}
    # The guide's HPA: 70 % of a request that is half the limit, so 70 % of the limit is twice the target.
    assert asked.counterfactuals["hpa"] == 8
    assert dataclasses.replace(asked, counterfactuals={}) == plain


@pytest.mark.parametrize(("limit", "percent"), [("1", 35.0), ("500m", 70.0), ("0", 0.0)])
def test_the_guides_hpa_is_related_to_the_limit(limit: str, percent: float) -> None:
    request = "0" if limit == "0" else "500m"
    spec = make_service().spec(resources={"requests": {"cpu": request}, "limits": {"cpu": limit}}).obj().spec
    assert Policy.of(spec).hpa_cpu_percent == percent
