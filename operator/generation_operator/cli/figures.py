"""The outcome of an experiment in figures: a table for people, JSON for programs.

Cost and misses always stand side by side; neither means anything without the other.
"""

import math
import statistics
from collections.abc import Callable
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from generation_operator.simulate.comparison import ATTAINMENT, Comparison, at_equal_cost, pod_hours_at
from generation_operator.simulate.outcome import Outcome, Point, Series
from generation_operator.simulate.scoring import Estimate, Score, estimate
from generation_operator.simulate.verdict import hours, percent, seconds

_LEAST_WIDTH: Final = 120  # of a table that is not shown on a terminal
_NONE: Final = "—"


def show(outcome: Outcome, console: Console, sentence: str) -> None:
    """Print the sentence, the table and what one must know to read it."""
    if not console.is_terminal:
        console.width = max(console.width, _LEAST_WIDTH)
    console.print(sentence, style="bold", highlight=False, markup=False)
    console.print()
    console.print(_table(outcome))
    for note in outcome.notes:
        console.print(f"- {note}", highlight=False, markup=False, style="dim")


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Everything but the course of the example runs. A waiting time of null is endless: never served."""
    return {
        "trace": outcome.trace,
        "notes": list(outcome.notes),
        "slots": outcome.slots,
        "startup": outcome.startup,
        "waitSeconds": outcome.wait_seconds,
        "seeds": outcome.seeds,
        "sweepSeeds": outcome.sweep_seeds,
        "policies": [_policy(series, outcome) for series in outcome.series],
    }


def _table(outcome: Outcome) -> Table:
    first, *rivals = outcome.series
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("policy", no_wrap=True)
    for heading in ("pod-hours", "misses", "worst 5 min", "p95 wait", "turns/h"):
        table.add_column(heading, justify="right", no_wrap=True)
    if outcome.sweep_seeds:
        table.add_column(f"misses at the cost of {first.name}", justify="right")
        table.add_column(f"pod-hours at {ATTAINMENT * 100:.0f} %", justify="right")
    compared = {series.name: at_equal_cost(first, series) for series in rivals}
    for series in outcome.series:
        point = series.headline
        row = [
            series.name,
            _with_margin(point.pod_hours, hours),
            _with_margin(point.miss_ratio, percent),
            percent(_median(point, lambda score: score.worst_miss_ratio)),
            seconds(_median(point, lambda score: score.waits[1])),
            f"{_median(point, lambda score: score.reversals_per_hour):.1f}",
        ]
        if outcome.sweep_seeds:
            row += [_equal_cost(compared.get(series.name)), _attained(pod_hours_at(series))]
        table.add_row(*row)
    return table


def _equal_cost(compared: Comparison | None) -> str:
    if compared is None:
        return _NONE
    if compared.theirs is None:
        return "never so cheap"
    return percent(compared.theirs) + (" (tie)" if compared.is_tie else "")


def _attained(pod_hours: float | None) -> str:
    return "never" if pod_hours is None else hours(pod_hours)


def _with_margin(value: Estimate, shown: Callable[[float], str]) -> str:
    return f"{shown(value.mean)} ± {shown(value.margin)}" if value.margin else shown(value.mean)


def _median(point: Point, figure: Callable[[Score], float]) -> float:
    """Over the seeds; of waits there is no mean, as some are endless."""
    return statistics.median(figure(score) for score in point.scores)


def _policy(series: Series, outcome: Outcome) -> dict[str, Any]:
    described: dict[str, Any] = {"name": series.name, "knob": series.knob, "usual": _point(series.headline)}
    if outcome.sweep_seeds:
        described["sweep"] = [_point(point) for point in series.sweep]
        described[f"podHoursAt{ATTAINMENT * 100:.0f}Percent"] = pod_hours_at(series)
        if series is not outcome.series[0]:
            described["atEqualCost"] = _compared(at_equal_cost(outcome.series[0], series), outcome.series[0].name)
    return described


def _compared(compared: Comparison, ours: str) -> dict[str, Any]:
    """Misses of a rival where it costs what ours costs; null where it is never so cheap."""
    return {
        "with": ours,
        "podHours": compared.pod_hours,
        "itsMissRatio": compared.ours,
        "missRatio": compared.theirs,
        "marginOfDifference": compared.margin,
        "isTie": compared.is_tie,
    }


def _point(point: Point) -> dict[str, Any]:
    return {
        "knob": point.knob,
        "podHours": _estimate(point.pod_hours),
        "missRatio": _estimate(point.miss_ratio),
        "worstMissRatio": _estimate(estimate([score.worst_miss_ratio for score in point.scores])),
        "reversalsPerHour": _estimate(estimate([score.reversals_per_hour for score in point.scores])),
        "runs": [_run(score) for score in point.scores],
    }


def _estimate(value: Estimate) -> dict[str, float]:
    return {"mean": value.mean, "margin": value.margin}


def _run(score: Score) -> dict[str, Any]:
    return {
        "podSeconds": score.pod_seconds,
        "workSeconds": score.work_seconds,
        "requests": score.requests,
        "missed": score.missed,
        "worstMissRatio": score.worst_miss_ratio,
        "reversalsPerHour": score.reversals_per_hour,
        "waitSeconds": _quantiles(score.waits),
        "latencySeconds": _quantiles(score.latencies),
    }


def _quantiles(values: tuple[float, float, float]) -> dict[str, float | None]:
    named = zip(("p50", "p95", "p99"), values, strict=True)
    return {name: value if math.isfinite(value) else None for name, value in named}
