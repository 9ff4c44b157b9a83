"""Floors that hold at times the user knows: more replicas on weekday mornings, or for a campaign.

A schedule is active when it started more recently than it ended. Cron and time zones follow Debian's cron: a fixed time
that the change to summer time skips comes right after the gap, one that the change back repeats comes once, the first
time. The floors are exact: no cooldown and no missing metric holds them back, only bounds and the budget do.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from generation_operator.api.timed import Schedule
from generation_operator.decide.draft import Draft
from generation_operator.decide.types import Reason, Seconds, Stage

# Times that a calendar can be asked about: 1970 to 3000, with room for cron to look back 50 years.
_LATEST: Final = 32_503_680_000.0
# The longest jump that any zone's clock makes is an hour (two, once, on a research station); cron looks back from
# beyond it, where wall-clock times are unambiguous again.
_BEYOND_JUMPS: Final = timedelta(hours=3)


def scheduled(draft: Draft, schedules: Sequence[Schedule], now: Seconds) -> Draft:
    """Keep at least the replicas of every active schedule."""
    if not schedules:
        return draft.passed(Stage.SCHEDULES, "no schedules")
    if not 0 <= now < _LATEST:
        return draft.passed(Stage.SCHEDULES, "not judged: the time is not usable")
    minute = int(now // 60)
    active = [entry for entry in schedules if is_active(entry.start, entry.end, entry.time_zone, minute)]
    if not active:
        return draft.passed(Stage.SCHEDULES, "no schedule is active")
    highest = max(active, key=lambda schedule: schedule.min_replicas)
    floor = highest.min_replicas
    message = f"schedule {highest.name} keeps at least {floor}"
    draft = draft.with_floor(floor)
    if draft.desired >= floor:
        return draft.passed(Stage.SCHEDULES, message)
    if floor > draft.current:
        return draft.set_by(Stage.SCHEDULES, floor, Reason.SCHEDULE, message)
    return draft.held_by(Stage.SCHEDULES, floor, Reason.SCHEDULE, f"Held, {message}: {draft.message}")


# 4096: some schedules of many services within one minute. A search takes a tenth of a millisecond.
@lru_cache(maxsize=4096)
def is_active(start: str, end: str, time_zone: str, minute: int) -> bool:
    """Whether the last start is more recent than the last end.

    Args:
        start: cron.
        end: cron.
        time_zone: IANA name.
        minute: minutes since the epoch; cron's times are whole minutes.
    """
    zone = ZoneInfo(time_zone)
    started, ended = _last(start, zone, minute), _last(end, zone, minute)
    return started is not None and (ended is None or started > ended)


def _last(cron: str, zone: ZoneInfo, minute: int) -> datetime | None:
    """The last time of a cron expression at or before a minute; None if there was none in 50 years."""
    at = datetime.fromtimestamp(minute * 60, UTC)
    for found in CronSim(cron, (at + _BEYOND_JUMPS).astimezone(zone), reverse=True):
        utc = found.astimezone(UTC)
        if utc <= at:
            return utc
    return None
