"""The report of an experiment: one HTML file that needs nothing else, not even a network.

Names come from traces and resources that nobody vouches for. They reach the page as escaped text or as JSON that
cannot end its element, the page's own script writes them as text only, and its security policy lets no other script
run.
"""

import base64
import hashlib
import html
import json
import re
import statistics
from collections.abc import Callable
from importlib import resources
from typing import Any, Final

from generation_operator.simulate.comparison import at_equal_cost, pod_hours_at, spots
from generation_operator.simulate.courses import courses
from generation_operator.simulate.outcome import Outcome, Point, Series
from generation_operator.simulate.pareto import front
from generation_operator.simulate.scoring import Estimate, Score
from generation_operator.simulate.verdict import hours, percent, seconds, sentence

_NONE: Final = "–"


def render(outcome: Outcome) -> str:
    """The page."""
    style, script = _part("report.css"), _part("report.js")
    fields = {
        "title": html.escape(f"Simulation of {outcome.trace}"),
        "policy": html.escape(
            f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'", quote=True
        ),
        "style": style,
        "script": script,
        "trace": html.escape(outcome.trace),
        "sentence": html.escape(sentence(outcome)),
        "facts": "".join(f"<li>{html.escape(fact)}</li>" for fact in _facts(outcome)),
        "figures": _figures(outcome),
        "settings": _settings(outcome),
        "notes": "".join(f"<li>{html.escape(note)}</li>" for note in outcome.notes),
        "data": _json(_data(outcome)),
    }
    # In one pass: what is filled in is not looked at again, whatever it contains.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: fields[match[1]], _part("report.html"))


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _json(value: object) -> str:
    """JSON that contains nothing that means something in HTML."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _facts(outcome: Outcome) -> list[str]:
    point = outcome.series[0].headline
    requests = sum(score.requests for score in point.scores) / len(point.scores)
    work = sum(score.work_seconds for score in point.scores) / len(point.scores) / 3600
    seeds = "1 seed" if outcome.seeds == 1 else f"{outcome.seeds} seeds"
    if 0 < outcome.sweep_seeds < outcome.seeds:
        # Or a reader wonders why the sentence and the table differ.
        seeds += f", {outcome.sweep_seeds} of them for comparisons at equal cost"
    return [
        f"{requests:,.0f} requests",
        f"{hours(work)} pod-hours of work",
        f"{outcome.slots} slots per replica",
        f"start-up {outcome.startup}",
        f"waiting over {outcome.wait_seconds:.3g} s is a miss",
        seeds,
    ]


def _data(outcome: Outcome) -> dict[str, Any]:
    return {"courses": courses(outcome.series), "fronts": [_front(series) for series in outcome.series]}


def _front(series: Series) -> dict[str, Any]:
    """Cost in pod-hours, misses in %, each with the half-width of its interval."""
    best = set(front(spots(series)))
    points = []
    for point, spot in zip(series.sweep, spots(series), strict=True):
        cost, misses = point.pod_hours, point.miss_ratio
        points.append(
            {
                "knob": f"{point.knob:g}",
                "cost": [cost.mean, cost.margin],
                "misses": [misses.mean * 100, misses.margin * 100],
                "isBest": spot in best,
                "isUsual": point.knob == series.headline.knob,
            }
        )
    return {"name": series.name, "knob": series.knob, "points": points}


def _figures(outcome: Outcome) -> str:
    """The rows of the table of all policies at their usual settings."""
    first = outcome.series[0]
    rows = []
    for series in outcome.series:
        point = series.headline
        compared = at_equal_cost(first, series)
        theirs = compared.ours if series is first else compared.theirs
        equal = ("never so cheap" if theirs is None else percent(theirs)) if outcome.sweep_seeds else _NONE
        attained = pod_hours_at(series) if outcome.sweep_seeds else None
        cells = [
            f"{point.knob:g}",
            _with_margin(point.pod_hours, hours),
            _with_margin(point.miss_ratio, percent),
            percent(_median(point, lambda score: score.worst_miss_ratio)),
            equal,
            (hours(attained) if attained is not None else "never") if outcome.sweep_seeds else _NONE,
            f"{_median(point, lambda score: score.reversals_per_hour):.1f}",
            *_times([score.waits for score in point.scores]),
            *_times([score.latencies for score in point.scores]),
        ]
        rows.append(_row(series.name, cells, series.knob))
    return "".join(rows)


def _settings(outcome: Outcome) -> str:
    """The rows of the table of all settings."""
    return "".join(
        _row(
            series.name,
            [
                f"{series.knob}: {point.knob:g}",
                _with_margin(point.pod_hours, hours),
                _with_margin(point.miss_ratio, percent),
                percent(_median(point, lambda score: score.worst_miss_ratio)),
            ],
        )
        for series in outcome.series
        for point in series.sweep
    )


def _row(name: str, cells: list[str], hint: str = "") -> str:
    title = f' title="{html.escape(hint)}"' if hint else ""
    return (
        f'<tr><th scope="row"{title}>{html.escape(name)}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>\n"
    )


def _with_margin(value: Estimate, shown: Callable[[float], str]) -> str:
    return f"{shown(value.mean)} ± {shown(value.margin)}" if value.margin else shown(value.mean)


def _times(of_seeds: list[tuple[float, float, float]]) -> list[str]:
    """Each quantile, over the seeds."""
    return [seconds(statistics.median(values)) for values in zip(*of_seeds, strict=True)]


def _median(point: Point, figure: Callable[[Score], float]) -> float:
    """Over the seeds; of waits there is no mean, as some are endless."""
    return statistics.median(figure(score) for score in point.scores)
