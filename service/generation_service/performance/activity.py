"""What the service did in the last while, kept small enough to be written on the hot path.

Prometheus gets counters that only grow; the service's own reports, rating and optimizer need "now". This is that now.
It must never be averaged over restarts or replicas, and a figure without samples is None, never 0.
"""

from dataclasses import dataclass
from typing import Final

from generation_service.domain.workflow import Outcome
from generation_service.performance.histogram import Histogram, SlidingCount, SlidingHistogram
from generation_service.ports import Clock

RESPONSE_WINDOW_SECONDS: Final = 60.0  # short: the optimizer acts on it and must see its own effect soon
WORKFLOW_WINDOW_SECONDS: Final = 300.0  # a workflow may take 30 s, so a minute would hold too few


@dataclass(frozen=True, slots=True)
class WorkflowFigures:
    """Workflows that ended in the last `WORKFLOW_WINDOW_SECONDS`; durations from admission to the end."""

    count: int  # with a duration, so without rejected ones
    p95: float | None
    average: float | None
    maximum: float | None
    outcomes: int  # rejected ones included
    success_rate: float | None  # 0..1 of `outcomes`


@dataclass(frozen=True, slots=True)
class ResponseFigures:
    """API answers of the last `RESPONSE_WINDOW_SECONDS`."""

    count: int  # with a duration that says something, see `Activity.responded`
    p95: float | None
    cached_count: int
    cached_p95: float | None
    error_rate: float | None  # share of answers with a 5xx status, of all API answers


class Activity:
    """Sliding windows over what ended. Lives on the event loop; every method costs a few microseconds."""

    def __init__(self, clock: Clock) -> None:
        self._responses = SlidingHistogram(clock, RESPONSE_WINDOW_SECONDS)
        self._cached = SlidingHistogram(clock, RESPONSE_WINDOW_SECONDS)
        self._answers = SlidingCount(clock, RESPONSE_WINDOW_SECONDS)
        self._server_errors = SlidingCount(clock, RESPONSE_WINDOW_SECONDS)
        self._workflows = SlidingHistogram(clock, WORKFLOW_WINDOW_SECONDS)
        self._outcomes = {outcome: SlidingCount(clock, WORKFLOW_WINDOW_SECONDS) for outcome in Outcome}
        self._interval = Histogram()  # response times since they were last taken
        self.requests = 0  # API requests answered so far

    def responded(self, status: int, seconds: float | None, *, cached: bool) -> None:
        """Count an API answer; `seconds` is None when its time says nothing about the API (a stream, a wait)."""
        self.requests += 1
        self._answers.increase()
        if status >= 500:
            self._server_errors.increase()
        if seconds is not None:
            self._responses.observe(seconds)
            self._interval.observe(seconds)
            if cached:
                self._cached.observe(seconds)

    def finished(self, outcome: Outcome, seconds: float) -> None:
        """Count a workflow that ended."""
        self._workflows.observe(seconds)
        self._outcomes[outcome].increase()

    def rejected(self) -> None:
        """Count a workflow that was refused: an error without a duration, which would lower the average."""
        self._outcomes[Outcome.ERROR].increase()

    def workflows(self) -> WorkflowFigures:
        """The workflows of the window."""
        ended = self._workflows.recent()
        good = self._outcomes[Outcome.SUCCESS].recent()
        outcomes = good + self._outcomes[Outcome.ERROR].recent()
        return WorkflowFigures(
            count=ended.count,
            p95=ended.quantile(0.95),
            average=ended.mean,
            maximum=ended.maximum if ended.count else None,
            outcomes=outcomes,
            success_rate=good / outcomes if outcomes else None,
        )

    def responses(self) -> ResponseFigures:
        """The answers of the window."""
        timed = self._responses.recent()
        cached = self._cached.recent()
        answers = self._answers.recent()
        return ResponseFigures(
            count=timed.count,
            p95=timed.quantile(0.95),
            cached_count=cached.count,
            cached_p95=cached.quantile(0.95),
            error_rate=self._server_errors.recent() / answers if answers else None,
        )

    def take_interval(self) -> Histogram:
        """The response times since the last call, for the one who keeps them (the collector)."""
        taken, self._interval = self._interval, Histogram()
        return taken
