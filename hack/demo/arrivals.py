"""When requests are sent: a rate that changes along straight lines, or the arrivals of a recorded trace.

Everything is decided before and apart from the sending, so slow answers never slow the load down (an open loop), and
the same seed gives the same plan. Nothing here sleeps or sends.
"""

import csv
import gzip
import math
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final, TextIO

# Requests per second; beyond this one Python process measures itself instead of the service.
HIGHEST_RATE: Final = 5000.0
LONGEST_SECONDS: Final = 86_400.0
MOST_TRACE_ROWS: Final = 5_000_000
COLUMN: Final = "arrival_s"
# A trace's height is the rate of its busiest 10 s: shorter bins measure chance, longer ones hide bursts.
PEAK_BIN_SECONDS: Final = 10.0


class LoadError(Exception):
    """The load cannot be sent as asked; the message says why and what to do."""


class Spacing(Enum):
    """How arrivals lie around the rate."""

    POISSON = "poisson"  # independent of each other, as many users are
    EVEN = "even"


@dataclass(frozen=True, slots=True)
class Profile:
    """Requests per second over time, straight lines between `(seconds, rate)` points. Raises `LoadError`."""

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if len(self.points) < 2:
            raise LoadError("a profile needs at least two points, such as 0:10,60:10")
        if self.points[0][0] != 0:
            raise LoadError(f"a profile starts at second 0, not at {self.points[0][0]:g}")
        for number, (seconds, rate) in enumerate(self.points, start=1):
            if not 0 <= seconds <= LONGEST_SECONDS:
                raise LoadError(f"point {number}: {seconds:g} s is outside 0 to {LONGEST_SECONDS:g}")
            if not 0 <= rate <= HIGHEST_RATE:
                raise LoadError(f"point {number}: rate {rate:g} is outside 0 to {HIGHEST_RATE:g} per second")
        for number, ((earlier, _), (later, _)) in enumerate(pairwise(self.points), start=2):
            if later <= earlier:
                raise LoadError(f"point {number}: {later:g} s does not come after {earlier:g} s")
        if self.peak_rate == 0:
            raise LoadError("the rate is 0 at every point; raise at least one of them")

    @classmethod
    def parse(cls, text: str) -> "Profile":
        """Read `seconds:rate,seconds:rate,…`."""
        points = []
        for number, entry in enumerate(text.split(","), start=1):
            seconds, _, rate = entry.partition(":")
            try:
                points.append((float(seconds), float(rate)))
            except ValueError:
                raise LoadError(f"point {number}: {entry!r} is not seconds:rate, such as 30:150") from None
        return cls(tuple(points))

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.points[-1][0]

    @property
    def peak_rate(self) -> float:
        """Its highest rate."""
        return max(rate for _, rate in self.points)


def from_profile(profile: Profile, spacing: Spacing, seed: int) -> Iterator[float]:
    """Arrival times in seconds, ascending.

    Arrivals are laid out on a line where they are one apart on average, and each is mapped back to the moment at which
    the profile has sent that many.
    """
    chance = random.Random(seed)

    def gap() -> float:
        return chance.expovariate(1) if spacing is Spacing.POISSON else 1.0

    due = gap() if spacing is Spacing.POISSON else 0.5
    before = 0.0
    for (start, rate), (end, next_rate) in pairwise(profile.points):
        length = end - start
        count = (rate + next_rate) / 2 * length
        while due <= before + count:
            yield start + min(_moment(due - before, rate, (next_rate - rate) / length), length)
            due += gap()
        before += count


def _moment(count: float, rate: float, slope: float) -> float:
    """Solve `rate·t + slope·t²/2 = count` for t, in the form that is exact for a slope of 0 as well."""
    return 2 * count / (rate + math.sqrt(max(0.0, rate * rate + 2 * slope * count)))


def read_trace(path: Path) -> list[float]:
    """The column `arrival_s` of a CSV file with a header line, plain or `.gz`, sorted by time. Raises `LoadError`."""
    try:
        with _opened(path) as file:
            return _column(path, file)
    except UnicodeDecodeError:
        raise LoadError(f"{path}: is not a text file in UTF-8; name a CSV file, with .gz if it is compressed") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise LoadError(f"{path}: cannot be read ({reason})") from None


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _column(path: Path, file: TextIO) -> list[float]:
    rows = csv.reader(file)
    times: list[float] = []
    try:
        header = [name.strip() for name in next(rows, [])]
        if COLUMN not in header:
            raise LoadError(f"{path}:1: there is no column {COLUMN!r} in the header line; found {header[:10]}")
        column = header.index(COLUMN)
        for row in rows:
            if not row:
                continue
            where = f"{path}:{rows.line_num}"
            if len(times) >= MOST_TRACE_ROWS:
                raise LoadError(f"{where}: more than {MOST_TRACE_ROWS} rows; cut the file")
            if len(row) <= column:
                raise LoadError(f"{where}: the line has {len(row)} columns, {COLUMN!r} is number {column + 1}")
            times.append(_time(where, row[column], times[-1] if times else 0.0))
    except csv.Error as error:
        raise LoadError(f"{path}:{rows.line_num}: is not CSV ({error})") from None
    return times


def _time(where: str, text: str, earliest: float) -> float:
    try:
        time = float(text)
    except ValueError:
        time = math.nan
    if not math.isfinite(time):
        raise LoadError(f"{where}: {COLUMN} {text[:40]!r} is not a number of seconds")
    if time < earliest:
        raise LoadError(f"{where}: {COLUMN} {time:g} comes before {earliest:g}; sort the file by time, starting at 0")
    return time


def from_trace(recorded: Sequence[float], *, seconds: float, peak_rate: float, seed: int) -> Iterator[float]:
    """A trace squeezed or stretched into `seconds`, with `peak_rate` requests per second in its busiest moments.

    Time is scaled first. Then each arrival is kept with some probability, or repeated: the first copy at its own
    moment, the others anywhere in the same second. Its bursts stay as they are, only higher. Raises `LoadError`.
    """
    if len(recorded) < 2 or recorded[-1] <= recorded[0]:
        raise LoadError("a trace needs at least two arrivals at different times")
    first, factor = recorded[0], seconds / (recorded[-1] - recorded[0])
    # The last arrival falls on the end itself; it belongs to the last second.
    times = [min((time - first) * factor, math.nextafter(seconds, 0)) for time in recorded]
    copies = peak_rate / _busiest(times, min(PEAK_BIN_SECONDS, seconds))
    return _repeated(times, copies, seconds, random.Random(seed))


def _busiest(times: Sequence[float], width: float) -> float:
    """The highest rate in any bin."""
    return max(sum(1 for _ in group) for _, group in groupby(times, key=lambda time: int(time / width))) / width


def _repeated(times: Sequence[float], copies: float, seconds: float, chance: random.Random) -> Iterator[float]:
    whole = int(copies)
    for second, group in groupby(times, key=int):
        end = min(second + 1.0, seconds)
        yield from sorted(
            time if copy == 0 else chance.uniform(second, end)
            for time in group
            for copy in range(whole + (chance.random() < copies - whole))
        )
