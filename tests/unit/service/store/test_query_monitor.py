"""Statistics of statements: bounded, with percentiles, and silent about parameters."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation_service.adapters.postgres.monitor import BOUNDS, MAX_NAMES, OTHER, Histogram, QueryMonitor


def test_wait_for_a_connection_is_counted_apart_from_execution() -> None:
    monitor = QueryMonitor()
    monitor.record("get", waited=0.3, ran=0.001)
    report = monitor.report()["get"]
    assert report["wait"] == {"p50_ms": 300.0, "p95_ms": 300.0, "p99_ms": 300.0, "max_ms": 300.0}
    assert report["execution"] == {"p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0, "max_ms": 1.0}


def test_unbounded_names_cost_bounded_memory() -> None:
    monitor = QueryMonitor()
    for number in range(10 * MAX_NAMES):
        monitor.record(f"name {number}", waited=0.0, ran=0.0)
    report = monitor.report()
    assert len(report) == MAX_NAMES + 1
    assert sum(int(str(found["count"])) for found in report.values()) == 10 * MAX_NAMES
    assert OTHER in report


def test_long_use_costs_bounded_memory() -> None:
    histogram = Histogram()
    for number in range(10_000):
        histogram.add(number / 1000)
    assert len(histogram.buckets) == len(BOUNDS) + 1
    assert histogram.count == 10_000


def test_nothing_measured_has_no_percentile() -> None:
    assert Histogram().percentile(0.5) is None
    assert Histogram().figures() == {"p50_ms": None, "p95_ms": None, "p99_ms": None, "max_ms": None}


@given(st.lists(st.floats(0.0001, 80.0), min_size=1), st.sampled_from([0.5, 0.95, 0.99]))
def test_percentile_is_never_too_low_and_at_most_one_bucket_too_high(durations: list[float], share: float) -> None:
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    truth = sorted(durations)[max(0, -int(-share * len(durations) // 1) - 1)]
    found = histogram.percentile(share)
    assert found is not None
    assert truth <= found <= truth * 1.6 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("waited", "ran", "logged"), [(0.0, 0.1, False), (0.0, 0.3, True), (0.3, 0.0, True), (0.2, 0.2, False)]
)
def test_slow_statement_is_logged_by_name(
    caplog: pytest.LogCaptureFixture, waited: float, ran: float, logged: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        QueryMonitor(slow_seconds=0.25).record("claim", waited=waited, ran=ran)
    assert ("slow statement claim" in caplog.text) == logged


def test_failed_statement_is_counted() -> None:
    monitor = QueryMonitor()
    monitor.record("get", waited=0.0, ran=0.0, failed=True)
    monitor.record("get", waited=0.0, ran=0.0)
    assert (monitor.report()["get"]["count"], monitor.report()["get"]["errors"]) == (2, 1)
