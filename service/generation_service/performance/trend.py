"""Where the figures are going: average, extremes, slope and change against the time before, not three averages.

The p95 of a period comes from the added histograms of its samples; averages of p95s mean nothing. Pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from generation_service.performance.histogram import merged
from generation_service.performance.snapshot import Snapshot

STEADY_WITHIN: Final = 0.10  # a line that rises or falls by less than this share of the average is steady
_FEWEST: Final = 3  # samples: two always lie on a line


class Direction(StrEnum):
    """What a figure does over a period."""

    RISING = "rising"
    FALLING = "falling"
    STEADY = "steady"
    UNKNOWN = "unknown"  # too few samples


@dataclass(frozen=True, slots=True)
class Movement:
    """One figure over a period; None where there are too few samples."""

    average: float | None
    minimum: float | None
    maximum: float | None
    slope_per_minute: float | None  # of the line through all samples
    change: float | None  # share of the average of the period before; 0.5: half as much again
    direction: Direction


@dataclass(frozen=True, slots=True)
class Trend:
    """All figures over a period. Percentiles cover all answers of the period, not its samples."""

    period_minutes: float
    snapshot_count: int
    figures: dict[str, Movement]
    response_time_p95: float | None
    response_time_change: float | None  # share of the p95 of the period before
    response_time_direction: Direction  # by that change
    response_count: int


FIGURES: Final[dict[str, Callable[[Snapshot], float | None]]] = {
    "cpu_percent": lambda snapshot: snapshot.cpu_percent,
    "memory_mb": lambda snapshot: snapshot.memory_mb,
    "request_rate": lambda snapshot: snapshot.request_rate,
    "queue_length": lambda snapshot: snapshot.queue_length,
    "cache_hit_ratio": lambda snapshot: snapshot.cache_hit_ratio,
    "error_rate": lambda snapshot: snapshot.error_rate,
    "success_rate": lambda snapshot: snapshot.success_rate,
    "workflow_p95": lambda snapshot: snapshot.workflow_p95,
}


def trend(snapshots: Sequence[Snapshot], now: float, minutes: float) -> Trend:
    """Look at the last `minutes`, and at as many before them to compare.

    Args:
        snapshots: oldest first.
        now: on the clock of `Snapshot.at`.
        minutes: length of the period, > 0.
    """
    begin, before = now - 60 * minutes, now - 120 * minutes
    recent = [snapshot for snapshot in snapshots if snapshot.at > begin]
    earlier = [snapshot for snapshot in snapshots if before < snapshot.at <= begin]
    responses = merged(snapshot.responses for snapshot in recent)
    p95 = responses.quantile(0.95)
    change = _change(p95, merged(snapshot.responses for snapshot in earlier).quantile(0.95))
    return Trend(
        period_minutes=minutes,
        snapshot_count=len(recent),
        figures={name: _movement(recent, earlier, read) for name, read in FIGURES.items()},
        response_time_p95=p95,
        response_time_change=change,
        response_time_direction=Direction.UNKNOWN if change is None else _direction(change),
        response_count=responses.count,
    )


def _movement(
    recent: Sequence[Snapshot], earlier: Sequence[Snapshot], read: Callable[[Snapshot], float | None]
) -> Movement:
    points = [(snapshot.at / 60, value) for snapshot in recent if (value := read(snapshot)) is not None]
    values = [value for _, value in points]
    average = _mean(values)
    slope = _slope(points)
    direction = Direction.UNKNOWN
    if slope is not None and average is not None:
        risen = slope * (points[-1][0] - points[0][0])
        direction = _direction(risen / abs(average)) if average else Direction.STEADY
    return Movement(
        average=average,
        minimum=min(values, default=None),
        maximum=max(values, default=None),
        slope_per_minute=slope,
        change=_change(average, _mean([value for snapshot in earlier if (value := read(snapshot)) is not None])),
        direction=direction,
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _slope(points: Sequence[tuple[float, float]]) -> float | None:
    """Of the line with the least squares of distances; None when no line can be told from chance."""
    if len(points) < _FEWEST:
        return None
    middle = sum(minute for minute, _ in points) / len(points)
    level = sum(value for _, value in points) / len(points)
    spread = sum((minute - middle) ** 2 for minute, _ in points)
    if spread == 0:
        return None
    return sum((minute - middle) * (value - level) for minute, value in points) / spread


def _change(now: float | None, before: float | None) -> float | None:
    """Share by which it changed; None without both, and for a start from 0, which no share describes."""
    return (now - before) / abs(before) if now is not None and before else None


def _direction(share: float) -> Direction:
    if share > STEADY_WITHIN:
        return Direction.RISING
    return Direction.FALLING if share < -STEADY_WITHIN else Direction.STEADY
