"""What the status says about the six targets, and that it does not change with every value."""

from typing import Any

import pytest

from builders import make_observation, make_service, make_signal
from generation_operator.decide.types import SignalName, SignalState
from generation_operator.observe.targets import TargetName, Verdict, verdicts
from generation_operator.reconcile.targets import entries, targets_met

SERVICE = make_service().obj()
WELL = {
    SignalName.WORKFLOW_DURATION_P95: 12.0,
    SignalName.WORKFLOWS_IN_FLIGHT: 30.0,
    SignalName.CACHED_RESPONSE_P95: 0.04,
    SignalName.MEMORY: 50.0,  # % of 2 GiB
    SignalName.CACHE_HIT_RATIO: 0.81,
    SignalName.ERROR_RATIO: 0.01,
    SignalName.MISS_RATIO_6H: 0.01,  # of 5 % allowed
}


def judged(values: dict[SignalName, float], ready: int = 2) -> tuple[Verdict, ...]:
    return verdicts(SERVICE.spec, make_observation(values, current=2, ready=ready))


def told(values: dict[SignalName, float], previous: Any = ()) -> list[dict[str, Any]]:
    return entries(previous, judged(values))


def condition(values: dict[SignalName, float]) -> tuple[str, str, str]:
    found = targets_met(SERVICE, told(values))
    return str(found.status), str(found.reason), found.message


def test_every_target_is_told_in_its_own_unit() -> None:
    assert told(WELL) == [
        {"name": "WorkflowDuration", "target": "30 s", "observed": "12 s", "met": True},
        {"name": "ConcurrentWorkflows", "target": "20", "observed": "15", "met": True},
        {"name": "CachedResponse", "target": "100 ms", "observed": "40 ms", "met": True},
        {"name": "Memory", "target": "2048Mi", "observed": "1024Mi", "met": True},
        {"name": "CacheHit", "target": "70 %", "observed": "81 %", "met": True},
        {"name": "Success", "target": "95 %", "observed": "99 %", "met": True, "budgetRemainingPercent": 80},
    ]


@pytest.mark.parametrize(
    ("signal", "value", "name"),
    [
        (SignalName.WORKFLOW_DURATION_P95, 30.1, "WorkflowDuration"),
        (SignalName.WORKFLOWS_IN_FLIGHT, 41.0, "ConcurrentWorkflows"),
        (SignalName.CACHED_RESPONSE_P95, 0.11, "CachedResponse"),
        (SignalName.MEMORY, 101.0, "Memory"),
        (SignalName.CACHE_HIT_RATIO, 0.69, "CacheHit"),
        (SignalName.ERROR_RATIO, 0.06, "Success"),
    ],
)
def test_each_target_can_be_missed_and_is_named(signal: SignalName, value: float, name: str) -> None:
    status, reason, message = condition(WELL | {signal: value})
    assert (status, reason) == ("False", "TargetMissed")
    assert f"missed: {name};" in message


def test_all_met_and_nothing_observed() -> None:
    assert condition(WELL)[:2] == ("True", "AllTargetsMet")
    assert condition({})[:2] == ("Unknown", "NothingObserved")
    assert condition({SignalName.CACHE_HIT_RATIO: 0.9})[:2] == ("True", "AllTargetsMet")


def test_what_is_not_fresh_speaks_of_no_target() -> None:
    signals = {name: make_signal(name, 1e9, SignalState.STALE) for name in SignalName}
    observation = make_observation(current=2)
    observation.signals.update(signals)
    assert {verdict.met for verdict in verdicts(SERVICE.spec, observation)} == {None}


def test_without_ready_replicas_nobody_knows_what_one_of_them_sustains() -> None:
    assert {verdict.name: verdict.met for verdict in judged(WELL, ready=0)}[TargetName.CONCURRENT_WORKFLOWS] is None


def test_an_entry_is_replaced_only_when_its_verdict_changes() -> None:
    before = told(WELL)
    assert told(WELL | {SignalName.WORKFLOW_DURATION_P95: 29.0}, before) == before
    missed = told(WELL | {SignalName.WORKFLOW_DURATION_P95: 31.0}, before)
    assert missed[0] == {"name": "WorkflowDuration", "target": "30 s", "observed": "31 s", "met": False}
    assert missed[1:] == before[1:]


def test_a_missed_target_is_met_again_only_when_it_is_clearly_met() -> None:
    missed = told(WELL | {SignalName.WORKFLOW_DURATION_P95: 31.0, SignalName.CACHE_HIT_RATIO: 0.6})
    barely = told(WELL | {SignalName.WORKFLOW_DURATION_P95: 29.0, SignalName.CACHE_HIT_RATIO: 0.71}, missed)
    assert barely == missed
    clearly = told(WELL | {SignalName.WORKFLOW_DURATION_P95: 28.0, SignalName.CACHE_HIT_RATIO: 0.75}, missed)
    assert [entry["met"] for entry in clearly] == [True] * 6


def test_a_ratio_of_everything_is_clear_enough() -> None:
    service = make_service().targets(successPercent=99).obj()
    failing = make_observation({SignalName.ERROR_RATIO: 0.5}, current=2)
    perfect = make_observation({SignalName.ERROR_RATIO: 0.0}, current=2)
    missed = entries((), verdicts(service.spec, failing))
    assert entries(missed, verdicts(service.spec, perfect))[5]["met"] is True


@pytest.mark.parametrize(("missed", "left"), [(0.0, 100), (0.004, 90), (0.0499, 0), (0.05, 0), (0.5, 0)])
def test_the_error_budget_is_told_in_tens(missed: float, left: int) -> None:
    assert told(WELL | {SignalName.MISS_RATIO_6H: missed})[5]["budgetRemainingPercent"] == left


def test_an_error_budget_at_the_edge_of_two_tens_is_no_news() -> None:
    before = told(WELL)
    for missed, left in ((0.0105, 80), (0.0046, 80), (0.0115, 70), (0.0035, 90)):
        assert told(WELL | {SignalName.MISS_RATIO_6H: missed}, before)[5]["budgetRemainingPercent"] == left


def test_before_the_first_look_what_was_told_stands() -> None:
    before = told(WELL)
    assert entries(before, ()) == before
