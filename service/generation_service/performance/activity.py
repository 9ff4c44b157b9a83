"""What the service did in the last while, kept small enough to be written on the hot path.

Prometheus gets counters that only grow; the service's own reports, rating and optimizer need "now". This is that now.
It must never be averaged over restarts or replicas, and a figure without samples is None, never 0.
"""

from dataclasses import dataclass, field
from typing import Final

from generation_service.domain.workflow import Outcome
from generation_service.performance.histogram import LONGEST, SHORTEST, Histogram, Sliding, bucket, merged
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


@dataclass(slots=True)
class _Answers:
    """API answers of one slice of time."""

    responses: Histogram = field(default_factory=Histogram)
    cached: Histogram = field(default_factory=Histogram)
    count: int = 0
    server_errors: int = 0


@dataclass(slots=True)
class _Ended:
    """Workflows that ended in one slice of time."""

    durations: Histogram = field(default_factory=Histogram)
    good: int = 0
    bad: int = 0


class Activity:
    """Sliding windows over what ended. Lives on the event loop; an answer costs about 2 us, as it is the hot path."""

    def __init__(self, clock: Clock) -> None:
        self._answers = Sliding(_Answers, clock, RESPONSE_WINDOW_SECONDS)
        self._ended = Sliding(_Ended, clock, WORKFLOW_WINDOW_SECONDS)
        self._interval = Histogram()  # response times since they were last taken
        self.requests = 0  # API requests answered so far

    def responded(self, status: int, seconds: float | None, *, cached: bool) -> None:
        """Count an API answer; `seconds` is None when its time says nothing about the API (a stream, a wait)."""
        self.requests += 1
        answers = self._answers.current()
        answers.count += 1
        if status >= 500:
            answers.server_errors += 1
        if seconds is not None:
            index = bucket(seconds)
            seconds = min(max(SHORTEST, seconds), LONGEST)
            answers.responses.put(index, seconds)
            self._interval.put(index, seconds)
            if cached:
                answers.cached.put(index, seconds)

    def finished(self, outcome: Outcome, seconds: float) -> None:
        """Count a workflow that ended."""
        ended = self._ended.current()
        ended.durations.observe(seconds)
        if outcome is Outcome.SUCCESS:
            ended.good += 1
        else:
            ended.bad += 1

    def rejected(self) -> None:
        """Count a workflow that was refused: an error without a duration, which would lower the average."""
        self._ended.current().bad += 1

    def workflows(self) -> WorkflowFigures:
        """The workflows of the window."""
        parts = self._ended.recent()
        ended = merged(part.durations for part in parts)
        good = sum(part.good for part in parts)
        outcomes = good + sum(part.bad for part in parts)
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
        parts = self._answers.recent()
        timed = merged(part.responses for part in parts)
        cached = merged(part.cached for part in parts)
        answers = sum(part.count for part in parts)
        return ResponseFigures(
            count=timed.count,
            p95=timed.quantile(0.95),
            cached_count=cached.count,
            cached_p95=cached.quantile(0.95),
            error_rate=sum(part.server_errors for part in parts) / answers if answers else None,
        )

    def take_interval(self) -> Histogram:
        """The response times since the last call, for the one who keeps them (the collector)."""
        taken, self._interval = self._interval, Histogram()
        return taken
