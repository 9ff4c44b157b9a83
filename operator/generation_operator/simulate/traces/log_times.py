"""Time stamps as web servers write them.

Own parsing instead of `strptime`, which depends on the locale and takes most of the time of reading a log; stamps of
the same second come in a row, so each second is worked out once.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
LOCAL: Final = re.compile(r"(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})")
ISO: Final = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d:?\d\d)?")
_LONGEST_IN_MEMORY: Final = 1024


@lru_cache(maxsize=_LONGEST_IN_MEMORY)
def local(text: str) -> float:
    """Seconds since 1970 of `10/Oct/2000:13:55:36 -0700`; ValueError if there is no such moment."""
    month = _MONTHS.get(text[3:6])
    if month is None:
        raise ValueError(f"{text[3:6]!r} is not a month")
    whole = datetime(
        int(text[7:11]), month, int(text[:2]), int(text[12:14]), int(text[15:17]), int(text[18:20]), tzinfo=UTC
    )
    return whole.timestamp() - _offset(text[21:])


def iso(match: re.Match[str]) -> float:
    """Seconds since 1970 of a match of `ISO`; ValueError if there is no such moment. No zone means UTC."""
    whole, fraction, zone = match.groups()
    return _iso_second(whole, zone or "Z") + (float(f"0.{fraction}") if fraction else 0.0)


def number(value: float) -> float:
    """Seconds since 1970 of a number of seconds or milliseconds."""
    return value / 1000.0 if value > 1e11 else value  # 1e11 s is the year 5138, 1e11 ms is 1973


@lru_cache(maxsize=_LONGEST_IN_MEMORY)
def _iso_second(whole: str, zone: str) -> float:
    moment = datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()
    return moment if zone == "Z" else moment - _offset(zone)


def _offset(zone: str) -> float:
    sign = -1 if zone[0] == "-" else 1
    ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return sign * timezone(ahead).utcoffset(None).total_seconds()
