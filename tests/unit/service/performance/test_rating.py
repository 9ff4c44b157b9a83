"""The guide's scores, without its mistakes."""

import pytest

from generation_service.performance.rating import Grade, rate
from generation_service.performance.snapshot import Snapshot
from performance_fakes import sample

BEST = {"cpu_percent": 10, "memory_mb": 100, "response_time_p95": 0.05, "cache_hit_ratio": 0.9}


@pytest.mark.parametrize(
    ("figure", "value", "points"),
    [
        ("cpu_percent", 49.9, 25), ("cpu_percent", 50, 15), ("cpu_percent", 75, 5), ("cpu_percent", 90, 0),
        ("memory_mb", 1023, 25), ("memory_mb", 1024, 15), ("memory_mb", 1536, 5), ("memory_mb", 2048, 0),
        ("response_time_p95", 0.09, 25), ("response_time_p95", 0.1, 15), ("response_time_p95", 0.5, 5),
        ("response_time_p95", 1.0, 0),
        ("cache_hit_ratio", 0.81, 25), ("cache_hit_ratio", 0.8, 15), ("cache_hit_ratio", 0.7, 5),
        ("cache_hit_ratio", 0.5, 0),
    ],
)  # fmt: skip
def test_each_score_has_the_thresholds_of_the_guide(figure: str, value: float, points: int) -> None:
    rating = rate(sample(**BEST | {figure: value}))
    assert rating.points[figure] == points
    assert rating.score == 75 + points


@pytest.mark.parametrize(
    ("snapshot", "grade", "score"),
    [
        (sample(**BEST), Grade.EXCELLENT, 100),
        (sample(**BEST | {"response_time_p95": 40}), Grade.GOOD, 75),
        (sample(**BEST | {"response_time_p95": 40, "cpu_percent": 95}), Grade.FAIR, 50),
        (sample(**BEST | {"response_time_p95": 40, "cpu_percent": 95, "cache_hit_ratio": 0.1}), Grade.POOR, 25),
        (sample(**BEST | {"cache_hit_ratio": None}), Grade.EXCELLENT, 100),  # out of 75
        (sample(**BEST | {"cache_hit_ratio": None, "response_time_p95": 0.6}), Grade.GOOD, 73),
    ],
)
def test_grade_follows_the_share_of_known_points(snapshot: Snapshot, grade: Grade, score: int) -> None:
    rating = rate(snapshot)
    assert (rating.grade, rating.score, rating.capped) == (grade, score, False)


def test_fast_failures_are_not_excellent() -> None:
    rating = rate(sample(**BEST, success_rate=0.0))
    assert (rating.grade, rating.score, rating.capped) == (Grade.POOR, 100, True)


@pytest.mark.parametrize(
    ("figures", "grade"),
    [
        ({"success_rate": 0.95}, Grade.EXCELLENT),
        ({"success_rate": 0.949}, Grade.POOR),
        ({"success_rate": 1.0, "error_rate": 0.06}, Grade.POOR),
        ({"success_rate": 1.0, "error_rate": 0.04}, Grade.EXCELLENT),
        ({"error_rate": 1.0}, Grade.POOR),
    ],
)
def test_errors_of_workflows_or_answers_cap_the_grade(figures: dict[str, float], grade: Grade) -> None:
    assert rate(sample(**BEST, **figures)).grade is grade


def test_idle_new_pod_has_no_grade() -> None:
    rating = rate(sample(cpu_percent=0.0, memory_mb=50))
    assert (rating.grade, rating.score) == (Grade.NO_DATA, None)
    assert rating.points["cache_hit_ratio"] is None


def test_no_sample_has_no_grade() -> None:
    assert rate(None).grade is Grade.NO_DATA
