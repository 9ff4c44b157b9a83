"""What the policy Score must not do though its scores say so, and that it can be had without these guards."""

from typing import Any

import pytest

from builders import make_observation, make_policy, make_signal
from generation_operator.decide.policy import Policy
from generation_operator.decide.reach import gaps
from generation_operator.decide.step import step
from generation_operator.decide.types import (
    Decision,
    Observation,
    Reason,
    Seconds,
    SignalName,
    SignalState,
    Stage,
    State,
)

NOW = Seconds(1_700_000_000.0)
WARM = State(None, usable_observations=2)
IDLE = {
    SignalName.RESPONSE_TIME: 0.15,
    SignalName.REQUEST_RATE: 5.0,
    SignalName.CPU: 10.0,
    SignalName.MEMORY: 30.0,
    SignalName.QUEUE_LENGTH: 0.0,
    SignalName.ERROR_RATIO: 0.0,
}
GUARDED = make_policy(policy="Score", minReplicas=1)
EXACT = make_policy(policy="Score", minReplicas=1, score={"guards": "Disabled"})


def decide(observation: Observation, policy: Policy = GUARDED) -> Decision:
    return step(policy, WARM, observation, NOW)[1]


def observe(changes: dict[SignalName, float | None], **fields: Any) -> Observation:
    values = {name: value for name, value in (IDLE | changes).items() if value is not None}
    return make_observation(values, current=5, **fields)


@pytest.mark.parametrize(
    ("changes", "reason", "stage"),
    [
        ({}, Reason.LOW_LOAD, None),
        ({SignalName.QUEUE_LENGTH: 5000.0}, Reason.BACKLOG, Stage.TROUBLE),
        ({SignalName.QUEUE_LENGTH: 1.0}, Reason.BACKLOG, Stage.TROUBLE),
        ({SignalName.QUEUE_LENGTH: 0.9}, Reason.LOW_LOAD, None),  # what is left of an average over time
        ({SignalName.ERROR_RATIO: 1.0}, Reason.ERRORS, Stage.TROUBLE),
        ({SignalName.ERROR_RATIO: 0.051}, Reason.ERRORS, Stage.TROUBLE),
        ({SignalName.ERROR_RATIO: 0.05}, Reason.LOW_LOAD, None),  # successPercent 95 allows it
        ({SignalName.ERROR_RATIO: None}, Reason.MISSING_METRICS, Stage.EVIDENCE),
    ],
)
def test_trouble_that_looks_like_idleness_is_no_reason_to_lower(
    changes: dict[SignalName, float | None], reason: Reason, stage: Stage | None
) -> None:
    decision = decide(observe(changes))
    assert (decision.reason, decision.limited_by) == (reason, stage)
    assert decision.desired == (4 if stage is None else 5)
    exact = decide(observe(changes), EXACT)
    assert (exact.desired, exact.reason) == (4, Reason.LOW_LOAD)


def test_no_errors_because_nothing_was_asked_are_known_to_be_none() -> None:
    observation = observe({})
    observation.signals[SignalName.ERROR_RATIO] = make_signal(SignalName.ERROR_RATIO, None, SignalState.NO_TRAFFIC)
    assert decide(observation).desired == 4


def test_without_guards_a_missing_signal_of_the_score_holds_all_the_same() -> None:
    decision = decide(observe({SignalName.CPU: None}), EXACT)
    assert (decision.desired, decision.valid) == (5, False)


@pytest.mark.parametrize("policy", [GUARDED, EXACT], ids=["guarded", "exact"])
def test_guards_never_hold_a_scale_up(policy: Policy) -> None:
    busy = {SignalName.RESPONSE_TIME: 9.0, SignalName.CPU: 99.0, SignalName.ERROR_RATIO: 1.0}
    assert decide(observe({**busy, SignalName.QUEUE_LENGTH: 99.0}), policy).desired == 7


@pytest.mark.parametrize(
    ("score", "fields"),
    [
        (
            {},
            ["up.weights.responseTime", "up.weights.queueLength", "up.thresholds.responseTimeMilliseconds"],
        ),
        ({"up": {"scoreAbove": 100}}, ["up.scoreAbove"]),
        (
            {"down": {"scoreAbove": 100}, "up": {"scoreAbove": 19}},
            ["down.scoreAbove", "up.thresholds.responseTimeMilliseconds"],
        ),
        (
            {
                "up": {"scoreAbove": 19, "thresholds": {"responseTimeMilliseconds": 100}},
                "down": {"thresholds": {"responseTimeMilliseconds": 50}},
            },
            [],
        ),
    ],
)
def test_what_the_weights_can_never_do_is_told(score: dict[str, Any], fields: list[str]) -> None:
    policy = make_policy(policy="Score", score=score)
    assert [gap.field for gap in gaps(policy.scaling.score, policy.targets)] == fields
