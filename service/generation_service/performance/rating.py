"""A grade from the guide's four scores, made honest where the guide's was not.

The scores and thresholds are the guide's: CPU, memory, response time and hit ratio give 0 to 25 points each; 80 is
excellent, 60 good, 40 fair. Three things differ, because the guide's grade was wrong without them:

- A figure without samples gives no points and takes none away: the score is the share of the points that could be had.
- Nobody is graded on how little they do. While no request was answered and no cache asked, there is no grade at all
  ("no data"): low CPU and memory of an idle pod are no merit.
- Errors gate: when less than 95 % succeeded, the grade is "poor" whatever the points say. Fast failures are not good.

Pure: figures in, a value out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from generation_service.performance.snapshot import Snapshot

SUCCESS_OBJECTIVE: Final = 0.95  # share; what the guide asks of the service
FULL_POINTS: Final = 25


class Grade(StrEnum):
    """How the service does, in one word."""

    EXCELLENT = "excellent"
    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"
    NO_DATA = "no data"


@dataclass(frozen=True, slots=True)
class Criterion:
    """Points for one figure: those of the first bound that it is better than, else 0."""

    name: str  # as in a snapshot
    read: Callable[[Snapshot], float | None]
    bounds: tuple[tuple[float, int], ...]  # (bound, points), best first
    higher_is_better: bool = False
    needs_traffic: bool = False  # known only when somebody asked for something

    def points(self, value: float) -> int:
        """0..25."""
        for bound, points in self.bounds:
            if value > bound if self.higher_is_better else value < bound:
                return points
        return 0


CRITERIA: Final = (
    Criterion("cpu_percent", lambda snapshot: snapshot.cpu_percent, ((50, 25), (75, 15), (90, 5))),
    Criterion("memory_mb", lambda snapshot: snapshot.memory_mb, ((1024, 25), (1536, 15), (2048, 5))),
    Criterion(
        "response_time_p95",
        lambda snapshot: snapshot.response_time_p95,
        ((0.1, 25), (0.5, 15), (1.0, 5)),
        needs_traffic=True,
    ),
    Criterion(
        "cache_hit_ratio",
        lambda snapshot: snapshot.cache_hit_ratio,
        ((0.8, 25), (0.7, 15), (0.5, 5)),
        higher_is_better=True,
        needs_traffic=True,
    ),
)
_GRADES: Final = ((80, Grade.EXCELLENT), (60, Grade.GOOD), (40, Grade.FAIR))


@dataclass(frozen=True, slots=True)
class Rating:
    """The grade and where it comes from."""

    grade: Grade
    score: int | None  # 0..100 of what is known; None: no data
    points: dict[str, int | None]  # by figure; None: no samples
    capped: bool  # errors made it poor


def rate(snapshot: Snapshot | None) -> Rating:
    """Grade a sample.

    | traffic figures known | success known | success < 95 % | grade                 |
    |-----------------------|---------------|----------------|-----------------------|
    | any                   | yes           | yes            | poor                  |
    | no                    | yes           | no             | no data               |
    | no                    | no            | -              | no data               |
    | yes                   | either        | no             | by the score          |
    """
    if snapshot is None:
        return Rating(Grade.NO_DATA, None, {criterion.name: None for criterion in CRITERIA}, capped=False)
    points: dict[str, int | None] = {}
    traffic = False
    for criterion in CRITERIA:
        value = criterion.read(snapshot)
        points[criterion.name] = None if value is None else criterion.points(value)
        traffic = traffic or (criterion.needs_traffic and value is not None)
    known = [count for count in points.values() if count is not None]
    score = round(100 * sum(known) / (FULL_POINTS * len(known))) if traffic else None
    success = succeeded(snapshot)
    if success is not None and success < SUCCESS_OBJECTIVE:
        return Rating(Grade.POOR, score, points, capped=True)
    return Rating(_grade(score), score, points, capped=False)


def succeeded(snapshot: Snapshot) -> float | None:
    """The worse of two shares: workflows that succeeded, and API answers that were not 5xx; None: neither is known."""
    answered = None if snapshot.error_rate is None else 1 - snapshot.error_rate
    return min((share for share in (snapshot.success_rate, answered) if share is not None), default=None)


def _grade(score: int | None) -> Grade:
    if score is None:
        return Grade.NO_DATA
    return next((grade for least, grade in _GRADES if score >= least), Grade.POOR)
