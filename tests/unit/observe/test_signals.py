"""From what Prometheus said to signals that say how far they can be trusted."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import make_service
from generation_operator.api.spec import GenerationServiceSpec, MetricSignal
from generation_operator.decide.types import SignalName, SignalState
from generation_operator.observe.own_queries import Own
from generation_operator.observe.signals import FreshLoad, Reading, classify, explain

SPEC = make_service().scaling(policy="Score").spec(metrics={"maxAgeSeconds": 30}).obj().spec  # limits: 1 core, 2 GiB
VALUES: dict[SignalName, float] = {
    SignalName.RESPONSE_TIME: 0.5,
    SignalName.REQUEST_RATE: 12.0,
    SignalName.CPU: 0.25,
    SignalName.MEMORY: 2.0**30,
    SignalName.QUEUE_LENGTH: 3.0,
    SignalName.ERROR_RATIO: 0.01,
}


def read(values: dict[SignalName, float] | None = None, **fields: Any) -> Reading:
    """A reading in order: 4 pods report, the newest sample is 3 s old."""
    return replace(Reading(VALUES | (values or {}), age=3.0, reporting=4), **fields)


def told(reading: Reading, spec: GenerationServiceSpec, ready: int) -> str | None:
    return explain(reading, spec, ready, classify(reading, spec, ready))


def states(reading: Reading, ready: int = 4, spec: GenerationServiceSpec = SPEC) -> set[SignalState]:
    return {signal.state for name, signal in classify(reading, spec, ready).items() if name in VALUES}


def test_cpu_and_memory_are_related_to_their_limits() -> None:
    spec = make_service().spec(resources={"limits": {"cpu": "500m", "memory": "4Gi"}}).obj().spec
    signals = classify(read(), spec, 4)
    assert (signals[SignalName.CPU].value, signals[SignalName.MEMORY].value) == (50.0, 25.0)
    assert (signals[SignalName.RESPONSE_TIME].value, signals[SignalName.QUEUE_LENGTH].value) == (0.5, 3.0)


def test_signals_in_order_are_fresh_and_carry_their_age() -> None:
    signals = classify(read(), SPEC, 4)
    assert {(signals[name].state, signals[name].age) for name in VALUES} == {(SignalState.FRESH, 3.0)}
    assert told(read(), SPEC, 4) is None


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (29.9, SignalState.FRESH),
        (30.0, SignalState.FRESH),
        (30.1, SignalState.STALE),
        (None, SignalState.STALE),
        (math.nan, SignalState.STALE),
    ],
)
def test_old_samples_make_all_signals_stale(age: float | None, state: SignalState) -> None:
    assert states(read(age=age)) == {state}


@pytest.mark.parametrize(
    ("reporting", "ready", "state"),
    [
        (4, 5, SignalState.FRESH),
        (3, 4, SignalState.STALE),
        (0, 1, SignalState.STALE),
        (9, 4, SignalState.FRESH),
        (79, 100, SignalState.STALE),
        (80, 100, SignalState.FRESH),
        (4, 0, SignalState.STALE),
        (0, 0, SignalState.STALE),
    ],
)
def test_too_few_reporting_pods_make_all_signals_stale(reporting: int, ready: int, state: SignalState) -> None:
    assert states(read(reporting=reporting), ready) == {state}


QUIET: dict[SignalName, float] = {
    SignalName.RESPONSE_TIME: math.nan,
    SignalName.ERROR_RATIO: math.nan,
    SignalName.REQUEST_RATE: 0.0,
}


def test_without_requests_ratios_have_no_traffic_and_the_rate_is_zero() -> None:
    signals = classify(read(QUIET), SPEC, 4)
    assert signals[SignalName.RESPONSE_TIME].state is SignalState.NO_TRAFFIC
    assert signals[SignalName.ERROR_RATIO].state is SignalState.NO_TRAFFIC
    assert signals[SignalName.RESPONSE_TIME].value is None
    assert (signals[SignalName.REQUEST_RATE].state, signals[SignalName.REQUEST_RATE].value) == (SignalState.FRESH, 0.0)
    assert told(read(QUIET), SPEC, 4) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", SignalName)
def test_what_is_no_number_is_missing_while_there_are_requests(name: SignalName, value: float) -> None:
    assert classify(read({name: value}), SPEC, 4)[name].state is SignalState.MISSING


def test_what_is_no_number_is_missing_when_the_rate_cannot_be_trusted() -> None:
    assert classify(read(QUIET, age=31.0), SPEC, 4)[SignalName.RESPONSE_TIME].state is SignalState.MISSING
    without_rate: dict[SignalName, float] = {
        name: value for name, value in (VALUES | QUIET).items() if name is not SignalName.REQUEST_RATE
    }
    signals = classify(Reading(without_rate, 3.0, 4), SPEC, 4)
    assert signals[SignalName.RESPONSE_TIME].state is SignalState.MISSING
    assert signals[SignalName.REQUEST_RATE].state is SignalState.MISSING


def test_a_mean_that_is_no_number_is_missing_also_without_requests() -> None:
    assert classify(read(QUIET | {SignalName.CPU: math.nan}), SPEC, 4)[SignalName.CPU].state is SignalState.MISSING


def test_a_limit_of_zero_relates_to_nothing() -> None:
    zero = {"cpu": "0", "memory": "0"}
    spec = make_service().spec(resources={"requests": zero, "limits": zero}).obj().spec
    signals = classify(read(), spec, 4)
    assert signals[SignalName.CPU].state is SignalState.MISSING
    assert signals[SignalName.MEMORY].state is SignalState.MISSING


@pytest.mark.parametrize(
    ("reading", "ready", "beginning"),
    [
        (Reading(error="PrometheusUnreachable: no"), 4, "PrometheusUnreachable: no"),
        (Reading(), 4, "NoSamples: "),
        (read(age=31.0), 4, "StaleSamples: the newest sample is older than spec.metrics.maxAgeSeconds (30 s)"),
        (read(), 0, "NoReadyPods: "),
        (read(reporting=1), 4, "PartialCoverage: 1 of 4 ready pods report"),
        (Reading({}, 3.0, 4), 4, "MissingSignals: no value for ResponseTime, RequestRate, Cpu, Memory, QueueLength;"),
        (read({SignalName.CPU: math.nan}), 4, "MissingSignals: no value for Cpu;"),
    ],
)
def test_the_explanation_names_the_first_thing_to_mend(reading: Reading, ready: int, beginning: str) -> None:
    assert (told(reading, SPEC, ready) or "").startswith(beginning)


def test_with_targets_one_signal_of_demand_is_enough() -> None:
    spec = make_service().obj().spec
    assert told(Reading({SignalName.QUEUE_LENGTH: 0.0}, 3.0, 4), spec, 4) is None
    nothing = "MissingSignals: no value for QueueLength, WorkflowsInFlight, WorkflowArrivals;"
    assert (told(Reading({SignalName.CPU: 1.0}, 3.0, 4), spec, 4) or "").startswith(nothing)


def test_the_explanation_stays_the_same_while_samples_grow_older() -> None:
    assert told(read(age=31.0), SPEC, 4) == told(read(age=32.0), SPEC, 4)


def test_a_missing_error_ratio_needs_no_explanation() -> None:
    assert told(read({SignalName.ERROR_RATIO: math.nan}), SPEC, 4) is None


@given(
    st.dictionaries(st.sampled_from(SignalName), st.floats()),
    st.one_of(st.none(), st.floats()),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_a_value_is_a_finite_number_exactly_when_fresh_or_stale(
    values: dict[SignalName, float], age: float | None, reporting: int, ready: int
) -> None:
    for signal in classify(Reading(values, age, reporting), SPEC, ready).values():
        has_value = signal.value is not None and math.isfinite(signal.value)
        assert has_value == (signal.state in (SignalState.FRESH, SignalState.STALE))
        assert signal.age is None or math.isfinite(signal.age)


LOAD = FreshLoad(in_flight=12.0, queued=5.0, arrivals=3.0, age=1.0, expected=4, answered=4)
OLD = {
    SignalName.WORKFLOWS_IN_FLIGHT: 1.0,
    SignalName.QUEUE_LENGTH: 1.0,
    SignalName.WORKFLOW_ARRIVALS: 1.0,
    SignalName.CPU: 0.5,
}
OF_LOAD = (SignalName.WORKFLOWS_IN_FLIGHT, SignalName.QUEUE_LENGTH, SignalName.WORKFLOW_ARRIVALS)


@pytest.mark.parametrize(
    ("load", "scraped_age", "values", "state"),
    [
        (LOAD, 20.0, (12.0, 5.0, 3.0), SignalState.FRESH),
        (LOAD, 0.5, (12.0, 5.0, 3.0), SignalState.FRESH),  # a rate over a minute is older than it looks
        (replace(LOAD, age=12.0), 8.0, (1.0, 1.0, 1.0), SignalState.FRESH),
        (replace(LOAD, age=12.0), 20.0, (12.0, 5.0, 3.0), SignalState.FRESH),
        (replace(LOAD, answered=3), 20.0, (1.0, 1.0, 1.0), SignalState.FRESH),  # 75 % of the pods
        (replace(LOAD, answered=3), 90.0, (1.0, 1.0, 1.0), SignalState.STALE),
        (replace(LOAD, arrivals=None), 20.0, (12.0, 5.0, 1.0), SignalState.FRESH),
        (LOAD, 90.0, (12.0, 5.0, 3.0), SignalState.FRESH),
        (LOAD, None, (12.0, 5.0, 3.0), SignalState.FRESH),
    ],
)
def test_the_fresher_of_pods_and_prometheus_counts(
    load: FreshLoad, scraped_age: float | None, values: tuple[float, ...], state: SignalState
) -> None:
    signals = classify(Reading(OLD, scraped_age, 4, load=load), SPEC, 4)
    assert tuple(signals[name].value for name in OF_LOAD) == values
    assert {signals[name].state for name in OF_LOAD} == {state}


def test_pods_alone_are_enough_for_targets() -> None:
    spec = make_service().obj().spec
    reading = Reading(error="PrometheusUnreachable: down", load=LOAD)
    assert told(reading, spec, 4) is None
    assert told(replace(reading, load=None), spec, 4) == "PrometheusUnreachable: down"
    assert told(replace(reading, load=replace(LOAD, answered=3)), spec, 4) == "PrometheusUnreachable: down"
    assert classify(reading, spec, 4)[SignalName.CPU].state is SignalState.MISSING


def test_too_few_pods_and_no_prometheus_is_stale_and_never_fresh() -> None:
    signals = classify(Reading(load=replace(LOAD, answered=3)), SPEC, 4)
    assert {signals[name].state for name in OF_LOAD} == {SignalState.STALE}


FOREIGN = (
    make_service()
    .spec(
        metrics={
            "queries": [
                {"signal": "QueueLength", "query": "sum(vllm:num_requests_waiting)"},
                {"signal": "WorkflowsInFlight", "query": "sum(vllm:num_requests_running)"},
                {"signal": "WorkflowArrivals", "query": "sum(rate(vllm:request_success_total[30s]))"},
                {"signal": "Cpu", "query": "avg(x)"},
                {"signal": "RequestRate", "query": "y"},
                {"signal": "ErrorRatio", "query": "z"},
            ]
        }
    )
    .obj()
    .spec
)
TOLD = {
    SignalName.QUEUE_LENGTH: 3.0,
    SignalName.WORKFLOWS_IN_FLIGHT: 7.0,
    SignalName.WORKFLOW_ARRIVALS: 2.0,
    SignalName.CPU: 0.5,
    SignalName.REQUEST_RATE: 0.0,
    SignalName.ERROR_RATIO: math.nan,
}


def test_a_foreign_service_lives_on_its_own_queries_alone() -> None:
    reading = Reading(own=Own(TOLD), load=LOAD)
    signals = classify(reading, FOREIGN, 2)
    assert [signals[name].value for name in OF_LOAD] == [7.0, 3.0, 2.0]
    assert {signals[name].state for name in OF_LOAD} == {SignalState.FRESH}
    assert signals[SignalName.CPU].value == 50.0  # % of the limit of one core
    assert signals[SignalName.ERROR_RATIO].state is SignalState.NO_TRAFFIC
    assert signals[SignalName.MEMORY].state is SignalState.MISSING
    assert told(reading, FOREIGN, 2) is None


def test_an_own_query_without_a_number_is_missing_and_never_filled_in_from_elsewhere() -> None:
    error = "QueryFailed: spec.metrics.queries[QueueLength] was refused (HTTP status 400); check its PromQL"
    reading = Reading(VALUES, 3.0, 2, own=Own(error=error), load=LOAD)
    signals = classify(reading, FOREIGN, 2)
    assert {signals[name].state for name in OF_LOAD} == {SignalState.MISSING}
    assert told(reading, FOREIGN, 2) == error


def test_every_signal_that_policies_read_can_be_queried() -> None:
    assert {str(signal) for signal in MetricSignal} == {str(name) for name in SignalName}
