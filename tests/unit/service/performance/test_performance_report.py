"""The guide's endpoints: its keys, JSON numbers, and null where nothing is known."""

import json
from typing import Any

import pytest

from generation_service.domain.workflow import Outcome
from generation_service.performance import report
from generation_service.performance.activity import Activity
from generation_service.performance.collector import CacheCounts
from generation_service.performance.rating import rate
from generation_service.performance.trend import trend
from generation_service.ports import Backlog
from performance_fakes import ManualClock, sample

NOTHING = report.Sampling(None, None, False, "OSError: odd")


class FakePool:
    size, configured, busy, waiting = 3, 5, 2, 1


def as_json(body: object) -> Any:
    return json.loads(json.dumps(body, allow_nan=False))


def test_metrics_have_the_keys_and_numbers_that_the_guide_reads() -> None:
    activity = Activity(ManualClock())
    activity.finished(Outcome.SUCCESS, 2.0)
    activity.finished(Outcome.ERROR, 4.0)
    sampling = report.Sampling(sample(memory_mb=123.456, timestamp=7.0), 1.0, True, None)
    body = as_json(report.monitoring(sampling, activity.workflows(), activity.responses()))
    metrics = body["metrics"]
    assert metrics["workflow_execution_time"] == pytest.approx(4.0, rel=0.03)
    assert (metrics["workflow_execution_time_avg"], metrics["workflow_execution_time_max"]) == (3.0, 4.0)
    assert metrics["workflow_execution_time_count"] == 2
    assert (metrics["success_rate"], metrics["samples"]) == (0.5, 2)
    assert metrics["memory_usage_mb"] == 123.46
    assert (body["stale"], body["timestamp"]) == (False, 7.0)


def test_nothing_known_is_null_with_no_samples() -> None:
    activity = Activity(ManualClock())
    body = as_json(report.monitoring(NOTHING, activity.workflows(), activity.responses()))
    metrics = body["metrics"]
    assert (metrics["success_rate"], metrics["samples"]) == (None, 0)
    assert (metrics["workflow_execution_time"], metrics["memory_usage_mb"]) == (None, None)
    assert (body["stale"], body["last_error"]) == (True, "OSError: odd")


@pytest.mark.parametrize(
    ("counts", "ratios"),
    [
        (CacheCounts(lookups=10, l1_hits=5, l2_hits=3, l2_lookups=5), (0.8, 0.5, 0.6)),
        (CacheCounts(lookups=10), (0.0, 0.0, None)),
        (CacheCounts(), (None, None, None)),
    ],
)
def test_hit_ratio_is_overall_and_by_level(counts: CacheCounts, ratios: tuple[float | None, ...]) -> None:
    statistics = as_json(report.cache_status(counts, {}, {}))["statistics"]
    assert (statistics["hit_ratio"], statistics["l1"]["hit_ratio"], statistics["l2"]["hit_ratio"]) == ratios


def test_status_shows_the_grade_and_the_figures_of_the_guide() -> None:
    body = as_json(report.status(report.Sampling(sample(response_time_p95=0.05), 3.0, True, None)))
    assert (body["performance_rating"], body["score"]) == ("excellent", 100)
    assert {"cpu_percent", "memory_mb", "active_connections", "request_rate", "response_time_p95", "cache_hit_ratio",
            "error_rate"} <= set(body["metrics"])  # fmt: skip
    assert as_json(report.status(NOTHING))["performance_rating"] == "no data"


def test_resources_and_load_work_with_and_without_a_sample() -> None:
    for sampling in (NOTHING, report.Sampling(sample(), 1.0, True, None)):
        resources = as_json(report.resources(sampling, {"ai_api": FakePool()}))
        assert resources["pools"] == {"ai_api": {"size": 3, "configured": 5, "busy": 2, "waiting": 1}}
        assert bool(resources["memory"]) == (sampling.snapshot is not None)
        load = as_json(report.load(sampling, Backlog(9, 1.5, 2), in_flight=1, queued=4.5, arrived=11, connections=3))
        assert load["shared_queue"] == {"length": 9, "oldest_seconds": 1.5, "replicas": 2}
        assert (load["in_flight"], load["queue_length"], load["arrived_total"]) == (1, 4.5, 11)


def test_trend_keeps_the_keys_of_the_guide_also_without_data() -> None:
    for samples in ([], [sample(at=float(second)) for second in range(1, 9)]):
        body = as_json(report.trend_report(trend(samples, 9.0, 60), rate(None)))
        assert {"period_minutes", "snapshot_count", "avg_cpu_percent", "avg_memory_mb", "avg_response_time_p95",
                "current_performance_rating"} <= set(body)  # fmt: skip
        assert body["snapshot_count"] == len(samples)
        assert body["current_performance_rating"] == "no data"
