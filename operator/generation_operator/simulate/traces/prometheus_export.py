"""The answer of Prometheus to a range query, saved to a file.

Either a rate of requests per second, or the counter itself: which of the two is told by the metric's name, else by the
numbers, and can be said outright. Series are added up, so that a query need not be.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from generation_operator.simulate.trace import Floats
from generation_operator.simulate.traces.source import LONGEST_SECONDS, CountTrace, TraceError, counts_of
from generation_operator.simulate.traces.text import Limits, document

_COUNTER_NAMES: Final = ("_total", "_count", "_bucket")
_ENOUGH: Final = 10  # samples, before the numbers alone are believed to be a counter's
_LARGEST: Final = 1e15
_REMEDY: Final = "save the JSON that /api/v1/query_range answers"


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    name: str
    times: Floats
    values: Floats


def read_prometheus(path: Path, limits: Limits, *, counter: bool | None) -> CountTrace:
    """A range query's answer as counts.

    Args:
        path: of the file.
        limits: on its size.
        counter: whether it holds a counter or a rate; None: find out.
    """
    series = [
        _series(path.name, where, given)
        for where, given in enumerate(_result(path.name, _parsed(path.name, document(path, limits))))
    ]
    series = [one for one in series if len(one.times)]
    if not series:
        raise TraceError(f"{path.name}: data.result: has no samples; query a time with traffic")
    repairs = (f"{len(series)} series added up",) if len(series) > 1 else ()
    if counter is None:
        counter = all(_is_counter(one) for one in series)
        if counter and not all(one.name for one in series):
            repairs = (*repairs, "taken as a counter, which only rises (say prometheus-rate if it is a rate)")
    times = np.unique(np.concatenate([one.times for one in series]))
    if len(times) < 2:
        raise TraceError(f"{path.name}: data.result: samples of one moment only; query a longer range")
    if times[-1] - times[0] > LONGEST_SECONDS:
        raise TraceError(f"{path.name}: data.result: spans {(times[-1] - times[0]) / 86_400:,.0f} days; cut it")
    if counter:
        return _from_counters(path.name, series, times, repairs)
    return _from_rates(path.name, series, times, repairs)


def _from_rates(name: str, series: Sequence[_Series], times: Floats, repairs: tuple[str, ...]) -> CountTrace:
    total = np.zeros(len(times))
    for where, one in enumerate(series):
        if bool((one.values < 0).any()):
            raise TraceError(f"{name}: data.result[{where}]: a rate below 0; query rate(...) of a counter of requests")
        total[np.searchsorted(times, one.times)] += one.values
    # A sample speaks of the time before it; counted from the first sample the shift of one step makes no difference.
    return counts_of(name, times, total, per_second=True, repairs=repairs)


def _from_counters(name: str, series: Sequence[_Series], times: Floats, repairs: tuple[str, ...]) -> CountTrace:
    counts, resets = np.zeros(len(times) - 1), 0
    for one in series:
        steps = np.diff(one.values)
        # After a restart a counter begins at 0: all it shows by then has come since.
        steps = np.where(steps < 0, one.values[1:], steps)
        resets += int(np.count_nonzero(np.diff(one.values) < 0))
        counts += np.diff(np.interp(times, one.times, np.concatenate(([0.0], np.cumsum(steps)))))
    if resets:
        repairs = (*repairs, f"{resets} counter resets")
    return CountTrace(name, times - times[0], np.maximum(counts, 0.0), repairs)


def _is_counter(one: _Series) -> bool:
    if one.name:
        return one.name.endswith(_COUNTER_NAMES)
    values = one.values
    if len(values) < _ENOUGH or bool((values != np.floor(values)).any()):
        return False
    steps = np.diff(values)
    falls = steps < 0
    # A counter falls only when its process restarts, far down; a rate of whole numbers wobbles.
    restarts = falls & (values[1:] < values[:-1] / 2)
    return bool(
        np.array_equal(falls, restarts)
        and np.count_nonzero(falls) <= len(steps) / _ENOUGH
        and np.count_nonzero(steps > 0) >= len(steps) / 2
    )


def _parsed(name: str, text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TraceError(f"{name}, line {error.lineno}: is not JSON ({error.msg}); {_REMEDY}") from error
    except (RecursionError, ValueError) as error:
        raise TraceError(f"{name}: is not the JSON of a range query ({error}); {_REMEDY}") from error


def _result(name: str, answer: object) -> list[object]:
    if not isinstance(answer, dict):
        raise TraceError(f"{name}: is not a JSON object; {_REMEDY}")
    if answer.get("status", "success") != "success":
        raise TraceError(f"{name}: status: Prometheus refused the query: {str(answer.get('error'))[:200]}; mend it")
    data = answer.get("data", answer)
    kind = data.get("resultType") if isinstance(data, dict) else None
    if kind != "matrix":
        raise TraceError(f"{name}: data.resultType: is {str(kind)[:40]!r}, not 'matrix'; {_REMEDY}")
    result = data.get("result")
    if not isinstance(result, list):
        raise TraceError(f"{name}: data.result: is not a list; {_REMEDY}")
    return result


def _series(name: str, where: int, given: object) -> _Series:
    place = f"{name}: data.result[{where}]"
    if not isinstance(given, dict) or not isinstance(given.get("values"), list):
        raise TraceError(f"{place}.values: is not a list of samples; {_REMEDY}")
    metric = given.get("metric")
    times, values = [], []
    for row, pair in enumerate(given["values"]):
        try:
            at, value = float(pair[0]), float(pair[1])
        except (TypeError, ValueError, IndexError, KeyError, OverflowError):
            raise TraceError(
                f"{place}.values[{row}]: is {str(pair)[:60]}, not a time and a number; {_REMEDY}"
            ) from None
        if math.isnan(value):
            continue  # 0/0 of a time without traffic or samples: nothing is known of it
        if not (math.isfinite(at) and 0 <= at <= _LARGEST and abs(value) <= _LARGEST):
            raise TraceError(f"{place}.values[{row}]: {str(pair)[:60]} is out of range; mend the query")
        times.append(at)
        values.append(value)
    if any(later <= earlier for earlier, later in pairwise(times)):
        raise TraceError(f"{place}.values: times do not rise; {_REMEDY}")
    label = metric.get("__name__") if isinstance(metric, dict) else None
    return _Series(str(label or ""), np.array(times), np.array(values))
