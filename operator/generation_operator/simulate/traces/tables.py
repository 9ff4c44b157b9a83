"""Traces as tables: one row per request, or one row per bin of time; CSV with a header line."""

import csv
import math
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from generation_operator.simulate.trace import Floats
from generation_operator.simulate.traces.source import CountTrace, RequestTrace, TraceError, counts_of, requests_of
from generation_operator.simulate.traces.text import Limits, lines

ARRIVAL: Final = "arrival_s"
TIME: Final = "t_s"
COUNT: Final = "count"
_EXEC: Final = "exec_s"
_TOKENS: Final = ("input_tokens", "output_tokens")
# No time, count or number of tokens comes near; sums of such numbers stay finite.
_LARGEST: Final = 1e15


class _Table:
    """The rows of some columns of a CSV file, each checked."""

    def __init__(self, path: Path, limits: Limits, required: Sequence[str]) -> None:
        self._path = path
        self._limits = limits
        self._lines = lines(path, limits)
        number, self._header = next(self._lines, (1, ""))
        if not self._header:
            raise TraceError(f"{path.name}: is empty; a trace needs a header and at least one row of data")
        self.columns = self._split(number, self._header.lower())
        for name in required:
            if name not in self.columns:
                raise TraceError(
                    f"{path.name}, line {number}: column {name!r} is missing (found: {', '.join(self.columns)[:200]}); "
                    f"start the file with a header line such as {','.join(required)}"
                )
        repeated = {name for name in self.columns if name and self.columns.count(name) > 1}
        if repeated:
            raise TraceError(f"{path.name}, line {number}: column {min(repeated)!r} occurs twice; remove one")
        self.repeated_headers = 0
        self.last_line = number

    def rows(self, names: Sequence[str], *, may_be_empty: str = "") -> Iterator[list[float]]:
        """The numbers of the named columns, row by row; NaN for an empty cell where that is allowed."""
        places = [(self.columns.index(name), name) for name in names]
        width, count = len(self.columns), 0
        for number, line in self._lines:
            cells = line.split(",") if '"' not in line else self._split(number, line)
            if len(cells) != width:
                raise self.error(
                    number, f"has {len(cells)} cells, the header has {width}", "separate cells by single commas"
                )
            count += 1
            if count > self._limits.requests:
                raise self.error(
                    number,
                    f"more than {self._limits.requests:,} rows",
                    "cut the file into parts or count its requests per bin (t_s,count)",
                )
            self.last_line = number
            try:
                values = [float(cells[place]) for place, _ in places]
            except ValueError:
                if line.lower() == self._header.lower():
                    self.repeated_headers += 1
                    continue
                values = [self._number(number, name, cells[place], name == may_be_empty) for place, name in places]
            # NaN compares false with everything and is caught here as well.
            if not all(0.0 <= value <= _LARGEST for value in values):
                values = [self._number(number, name, cells[place], name == may_be_empty) for place, name in places]
            yield values

    def repairs(self) -> tuple[str, ...]:
        """What was skipped."""
        if not self.repeated_headers:
            return ()
        return (f"{self.repeated_headers} repeated header lines skipped",)

    def error(self, number: int, what: str, remedy: str) -> TraceError:
        """A refusal of one line."""
        return TraceError(f"{self._path.name}, line {number}: {what}; {remedy}")

    def _number(self, number: int, name: str, cell: str, may_be_empty: bool) -> float:
        cell = cell.strip()
        if not cell:
            if may_be_empty:
                return math.nan
            raise self.error(number, f"{name} is empty", "fill it in or remove the row")
        try:
            value = float(cell)
        except ValueError:
            raise self.error(
                number, f"{name} is {cell[:40]!r}, not a number", "write numbers with a point and nothing else"
            ) from None
        if not math.isfinite(value):
            raise self.error(number, f"{name} is {cell[:40]}, not a finite number", "remove the row or mend the value")
        if value < 0:
            raise self.error(
                number, f"{name} is {value:g}, below 0", "times count from the start of the trace, nothing is negative"
            )
        if value > _LARGEST:
            raise self.error(number, f"{name} is {value:g}, larger than {_LARGEST:g}", "mend the value")
        return value

    def _split(self, number: int, line: str) -> list[str]:
        try:
            return [cell.strip() for cell in _cells(line)]
        except csv.Error as error:
            raise self.error(number, f"is not CSV ({error})", "close every quotation mark on its own line") from error


def read_requests(path: Path, limits: Limits) -> RequestTrace:
    """`arrival_s[,exec_s][,input_tokens,output_tokens]`, in any order, other columns are ignored."""
    table = _Table(path, limits, [ARRIVAL])
    names = [ARRIVAL, *(name for name in (_EXEC, *_TOKENS) if name in table.columns)]
    if (_TOKENS[0] in names) != (_TOKENS[1] in names):
        given, missing = _TOKENS if _TOKENS[0] in names else reversed(_TOKENS)
        raise TraceError(f"{path.name}, line 1: column {given!r} needs {missing!r} beside it; add it or remove both")
    numbers = array("d")
    for row in table.rows(names, may_be_empty=_EXEC):
        numbers.extend(row)
    by_name = dict(zip(names, _as_columns(numbers, len(names)), strict=True))
    arrivals = by_name[ARRIVAL]
    repairs = [*table.repairs()]
    back = int(np.count_nonzero(np.diff(arrivals) < 0))
    if back:
        repairs.append(f"{back} rows out of order, sorted")
    service = by_name.get(_EXEC)
    if service is not None:
        # A request that took no time never ran (still pending when the trace was taken).
        service = np.where(service > 0, service, np.nan)
        unknown = int(np.count_nonzero(np.isnan(service)))
        if unknown:
            repairs.append(f"{unknown} rows without {_EXEC}, drawn from the others")
    return requests_of(
        path.name,
        arrivals,
        service=service,
        input_tokens=by_name.get(_TOKENS[0]),
        output_tokens=by_name.get(_TOKENS[1]),
        repairs=tuple(repairs),
    )


def read_counts(path: Path, limits: Limits) -> CountTrace:
    """`t_s,count`: requests in the bin that starts at `t_s` and ends where the next one starts."""
    table = _Table(path, limits, [TIME, COUNT])
    numbers = array("d")
    for row in table.rows([TIME, COUNT]):
        numbers.extend(row)
    starts, counts = _as_columns(numbers, 2)
    if len(starts) < 2:
        raise TraceError(f"{path.name}: has {len(starts)} bins; two at least are needed to know how long a bin is")
    repairs = [*table.repairs()]
    back = int(np.count_nonzero(np.diff(starts) < 0))
    if back:
        repairs.append(f"{back} rows out of order, sorted")
        order = np.argsort(starts, kind="stable")
        starts, counts = starts[order], counts[order]
    twice = np.flatnonzero(np.diff(starts) == 0)
    if len(twice):
        raise TraceError(
            f"{path.name}: {TIME} {starts[twice[0]]:g} occurs twice ({len(twice)} such rows); "
            "add the counts of the same bin up, or give parts that follow each other times that do so too"
        )
    return counts_of(path.name, starts, counts, repairs=tuple(repairs))


def _cells(line: str) -> list[str]:
    return next(csv.reader([line], strict=True))


def _as_columns(numbers: "array[float]", width: int) -> list[Floats]:
    return [np.ascontiguousarray(column) for column in np.frombuffer(numbers, dtype=np.float64).reshape(-1, width).T]
