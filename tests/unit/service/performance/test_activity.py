"""What counts as an answer, a success and a duration."""

import pytest

from generation_service.domain.workflow import Outcome
from generation_service.performance.activity import Activity
from performance_fakes import ManualClock


def test_nothing_done_is_unknown_not_zero() -> None:
    activity = Activity(ManualClock())
    workflows, responses = activity.workflows(), activity.responses()
    assert (workflows.p95, workflows.average, workflows.maximum, workflows.success_rate) == (None, None, None, None)
    assert (responses.p95, responses.cached_p95, responses.error_rate) == (None, None, None)


def test_rejected_work_lowers_the_success_rate_but_not_the_average_time() -> None:
    activity = Activity(ManualClock())
    activity.finished(Outcome.SUCCESS, 2.0)
    for _ in range(3):
        activity.rejected()
    figures = activity.workflows()
    assert figures.average == 2.0
    assert figures.success_rate == 0.25
    assert (figures.count, figures.outcomes) == (1, 4)


def test_time_of_a_stream_says_nothing_about_the_api() -> None:
    activity = Activity(ManualClock())
    activity.responded(200, None, cached=False)
    activity.responded(503, 0.01, cached=False)
    figures = activity.responses()
    assert figures.count == 1
    assert figures.error_rate == 0.5
    assert activity.requests == 2


def test_cached_answers_have_a_percentile_of_their_own() -> None:
    activity = Activity(ManualClock())
    for _ in range(20):
        activity.responded(200, 0.001, cached=True)
        activity.responded(200, 3.0, cached=False)
    figures = activity.responses()
    assert figures.cached_p95 == pytest.approx(0.001, rel=0.03)
    assert figures.p95 == pytest.approx(3.0, rel=0.03)


def test_interval_is_handed_over_once() -> None:
    activity = Activity(ManualClock())
    activity.responded(200, 0.5, cached=False)
    assert activity.take_interval().count == 1
    assert activity.take_interval().count == 0
