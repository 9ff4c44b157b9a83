"""The course of the example runs, thinned out for drawing.

A screen shows no more than some hundred points per line; a report with every second of a week would be hundreds of
megabytes. What must not be thinned away is kept: the highest queue of each step, every miss.
"""

import itertools
import math
from typing import Any, Final

import numpy as np

from generation_operator.simulate.outcome import Series
from generation_operator.simulate.result import Ints, Note, Run

MOST_POINTS: Final = 1500  # of a line
MOST_NOTES: Final = 1500  # of a policy
_TRAFFIC_SECONDS: Final = 10.0  # shorter means are noise
_LONGEST_LINE: Final = 400  # characters of a decision's line


def courses(series: tuple[Series, ...]) -> dict[str, Any]:
    """Times in seconds from the beginning of what is scored: the warm-up is before 0."""
    first = series[0].example
    end = float(first.timeline.at[-1]) if len(first.timeline.at) else 0.0
    start = first.requests.scored_from
    marks = _marks(end, 1.0)
    coarse = _marks(end, _TRAFFIC_SECONDS)
    texts: dict[str, int] = {}
    return {
        "from": -round(start, 1),
        "until": round(end - start, 1),
        "at": _rounded(np.array(marks, dtype=np.float64) - start),
        "traffic": {"at": _rounded(np.array(coarse[1:]) - start), "perSecond": _rates(first, coarse)},
        "policies": [_course(one, marks, texts) for one in series],
        "texts": list(texts),
    }


def _marks(end: float, least: float) -> list[int]:
    """Whole seconds, evenly spread: the ends of the steps that are drawn."""
    step = max(least, math.ceil(end / (MOST_POINTS - 1)))
    return [*range(0, int(end), int(step)), int(end)] if end >= 1 else [0]


def _course(series: Series, marks: list[int], texts: dict[str, int]) -> dict[str, Any]:
    run, timeline = series.example, series.example.timeline
    warm = min(int(run.requests.scored_from), len(timeline.at) - 1)
    missed = np.maximum(0, timeline.missed - timeline.missed[warm]) if len(timeline.at) else timeline.missed
    return {
        "name": series.name,
        "replicas": _at(timeline.replicas, marks),
        "ready": _at(timeline.ready, marks),
        "queued": _highest(timeline.queued, marks),
        "missed": _at(missed, marks),
        "decisions": [_decision(note, run.requests.scored_from, texts) for note in _thinned(run.notes)],
    }


def _at(values: Ints, marks: list[int]) -> list[int]:
    return [int(values[mark]) for mark in marks] if len(values) else []


def _highest(values: Ints, marks: list[int]) -> list[int]:
    """Of the time since the mark before."""
    if not len(values):
        return []
    return [int(values[0]), *(int(values[before + 1 : mark + 1].max()) for before, mark in _pairs(marks))]


def _rates(run: Run, marks: list[int]) -> list[float]:
    arrived = run.timeline.arrived
    return [round(float(arrived[mark] - arrived[before]) / (mark - before), 3) for before, mark in _pairs(marks)]


def _pairs(marks: list[int]) -> list[tuple[int, int]]:
    return [(before, mark) for before, mark in itertools.pairwise(marks) if mark > before]


def _thinned(notes: tuple[Note, ...]) -> list[Note]:
    """When there are too many, those that changed the count first, then evenly."""
    kept = list(notes)
    if len(kept) > MOST_NOTES:
        kept = [
            note
            for before, note in zip((None, *kept), kept, strict=False)
            if not before or before.wanted != note.wanted
        ]
    step = math.ceil(len(kept) / MOST_NOTES)
    return kept[:: max(1, step)]


def _decision(note: Note, start: float, texts: dict[str, int]) -> list[Any]:
    """[at, wanted, reason, lines], the texts by their places: most of them repeat."""
    places = [texts.setdefault(text[:_LONGEST_LINE], len(texts)) for text in (note.reason, *note.lines)]
    return [round(note.at - start, 1), note.wanted, places[0], places[1:]]


def _rounded(values: "np.ndarray[Any, np.dtype[np.float64]]") -> list[float]:
    return [round(float(value), 1) for value in values]
