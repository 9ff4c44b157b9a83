"""From what was measured to how far it can be trusted: states, artefacts, ages, clocks and coverage."""

import math

import pytest

from builders import make_observation, make_policy, make_signal
from generation_operator.decide.signals import begin, covered, trusted
from generation_operator.decide.types import (
    Observation,
    Reason,
    Replicas,
    Seconds,
    Signal,
    SignalName,
    SignalState,
)

NOW = Seconds(1_700_000_000.0)
POLICY = make_policy()  # samples are fresh for 60 s
FRESH, STALE, MISSING, QUIET = (
    SignalState.FRESH,
    SignalState.STALE,
    SignalState.MISSING,
    SignalState.NO_TRAFFIC,
)


def judge(signal: Signal, now: Seconds = NOW, reporting: int | None = None, ready: int = 5) -> Signal:
    observation = make_observation(ready=ready, reporting=None if reporting is None else Replicas(reporting))
    observation.signals[signal.name] = signal
    return trusted(POLICY, observation, now)[signal.name]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, 0.0),
        (-0.0, 0.0),
        (7.5, 7.5),
        (1e9, 1e9),
        (1.1e9, None),  # no service has as many: a counter that was reset
        (-0.001, None),  # a counter that went backwards
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (None, None),
    ],
)
def test_only_what_can_have_been_measured_is_a_value(value: float | None, expected: float | None) -> None:
    judged = judge(make_signal(SignalName.QUEUE_LENGTH, value))
    assert (judged.value, judged.state) == (expected, MISSING if expected is None else FRESH)


@pytest.mark.parametrize("name", [SignalName.ERROR_RATIO, SignalName.CACHE_HIT_RATIO, SignalName.MISS_RATIO_6H])
@pytest.mark.parametrize(("value", "expected"), [(1.0, 1.0), (1.0005, 1.0), (1.01, None), (14.0, None)])
def test_a_ratio_above_one_is_an_artefact_beyond_rounding(
    name: SignalName, value: float, expected: float | None
) -> None:
    assert judge(make_signal(name, value)).value == expected


@pytest.mark.parametrize(("state", "expected"), [(FRESH, STALE), (STALE, STALE), (MISSING, MISSING), (QUIET, MISSING)])
@pytest.mark.parametrize("why", ["old", "ahead of the clock", "age that is no number", "partial", "no time"])
def test_a_sample_that_cannot_be_relied_on_is_stale_or_missing(
    why: str, state: SignalState, expected: SignalState
) -> None:
    age = {"old": 60.1, "ahead of the clock": -5.1, "age that is no number": math.nan}.get(why, 3.0)
    judged = judge(
        make_signal(SignalName.CPU, 1.0, state, age),
        Seconds(math.nan) if why == "no time" else NOW,
        reporting=3 if why == "partial" else 5,
    )
    assert judged.state is expected
    assert (judged.value == 1.0) is (expected is STALE)
    assert judged.age is None or math.isfinite(judged.age)


@pytest.mark.parametrize(("age", "expected"), [(60.0, 60.0), (-4.9, 0.0), (0.0, 0.0), (None, None)])
@pytest.mark.parametrize("state", [FRESH, QUIET])
def test_clocks_may_differ_a_little_and_an_unknown_age_is_believed(
    state: SignalState, age: float | None, expected: float | None
) -> None:
    judged = judge(make_signal(SignalName.RESPONSE_TIME, 1.0, state, age))
    assert (judged.state, judged.age) == (state, expected)
    assert judged.value == (1.0 if state is FRESH else None)


@pytest.mark.parametrize(
    ("name", "longest"),
    [
        (SignalName.QUEUE_LENGTH, 60),
        (SignalName.MISS_RATIO_5M, 60),
        (SignalName.MISS_RATIO_30M, 180),
        (SignalName.MISS_RATIO_1H, 360),
        (SignalName.MISS_RATIO_6H, 2160),
    ],
)
def test_a_value_of_a_long_window_stays_fresh_for_longer(name: SignalName, longest: int) -> None:
    assert judge(make_signal(name, 0.5, age=longest)).state is FRESH
    assert judge(make_signal(name, 0.5, age=longest + 0.1)).state is STALE


@pytest.mark.parametrize(
    ("reporting", "ready", "expected"),
    [(None, 0, True), (4, 5, True), (3, 4, False), (79, 100, False), (80, 100, True), (9, 4, True), (0, 0, False)],
)
def test_four_fifths_of_the_ready_replicas_must_report(reporting: int | None, ready: int, *, expected: bool) -> None:
    counted = None if reporting is None else Replicas(reporting)
    assert covered(Observation({}, Replicas(2), Replicas(ready), reporting=counted)) is expected


def test_a_signal_in_order_is_passed_on_as_it_is() -> None:
    signal = make_signal(SignalName.CPU, 5.0)
    assert judge(signal) is signal


def test_a_signal_under_another_name_is_of_the_name_it_is_under() -> None:
    observation = make_observation()
    observation.signals[SignalName.CPU] = make_signal(SignalName.MEMORY, 5.0)
    assert trusted(POLICY, observation, NOW)[SignalName.CPU] == make_signal(SignalName.CPU, 5.0)


DEMAND = (SignalName.QUEUE_LENGTH, SignalName.WORKFLOWS_IN_FLIGHT, SignalName.WORKFLOW_ARRIVALS)


@pytest.mark.parametrize(
    ("states", "valid", "text"),
    [
        ((FRESH, FRESH, FRESH), True, "all fresh"),
        ((FRESH, QUIET, FRESH), True, "all usable; no traffic for WorkflowsInFlight"),
        ((FRESH, MISSING, STALE), True, "enough to add replicas; not usable: WorkflowsInFlight Missing, Workfl"),
        ((MISSING, MISSING, FRESH), True, "enough to add replicas; not usable: QueueLength Missing, Workfl"),
        ((QUIET, QUIET, QUIET), True, "all usable; no traffic for QueueLength, WorkflowsInFlight, WorkflowArrivals"),
        ((STALE, MISSING, MISSING), False, "Replicas held, metrics not usable: QueueLength Stale, "),
        ((QUIET, MISSING, QUIET), False, "Replicas held, metrics not usable: WorkflowsInFlight Missing"),
    ],
)
def test_targets_begin_on_one_fresh_signal_of_demand(
    states: tuple[SignalState, ...], text: str, *, valid: bool
) -> None:
    observation = make_observation()
    for name, state in zip(DEMAND, states, strict=True):
        observation.signals[name] = make_signal(name, 1.0 if state in {FRESH, STALE} else None, state)
    draft = begin(POLICY, observation, trusted(POLICY, observation, NOW))
    assert (draft.valid, draft.desired) == (valid, observation.current)
    assert draft.lines[0].text.startswith(text)
    assert (draft.reason is Reason.MISSING_METRICS) is not valid
